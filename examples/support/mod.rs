//! What the examples share: pictures of training, and digits from PNG files.

pub mod digit;
pub mod pictures;
