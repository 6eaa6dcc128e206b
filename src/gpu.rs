//! The wgpu engine.

pub mod shader;
