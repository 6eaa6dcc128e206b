//! Recurve trains convolutional and recurrent networks by WGSL compute shaders.
#![forbid(unsafe_code)]

pub mod gpu;
