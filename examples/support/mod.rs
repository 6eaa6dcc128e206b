//! What the examples share: the MNIST network, pictures of training, and digits from PNG files.

pub mod digit;
pub mod net;
pub mod pictures;
