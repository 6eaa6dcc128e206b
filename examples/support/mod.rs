//! What the examples share: the command line, pictures and what is shown in them, digits from PNG files.

pub mod canvas;
pub mod chart;
pub mod classifier;
pub mod colour;
pub mod command;
pub mod digit;
pub mod kernels;
pub mod pictures;
pub mod scene;
