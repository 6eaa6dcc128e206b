//! What the examples share: the command line, files, pictures and what is shown in them, digits from PNG files, music.

pub mod canvas;
pub mod chart;
pub mod classifier;
pub mod colour;
pub mod command;
pub mod compressed;
pub mod digit;
pub mod kernels;
pub mod loss_log;
pub mod midi;
pub mod piano_roll;
pub mod pictures;
pub mod sampling;
pub mod scene;
