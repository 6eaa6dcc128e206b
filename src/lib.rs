//! Recurve trains and runs convolutional and recurrent neural networks on any GPU through wgpu.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod clock;
mod cpu;
pub mod checkpoint;
pub mod data;
mod device;
mod error;
mod gpu;
mod grad;
pub mod kernel;
pub mod op;
pub mod ops;
pub mod parallel;
pub mod pointwise;
mod program;
pub mod schedule;
mod shape;
mod tensor;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod trace;
mod variable;

pub use device::{Counters, DEVICE_VARIABLE, Device, IGNORE_INDEX, Pick};
pub use error::{Error, Result, ShapeError};
pub use gpu::AdapterEntry;
pub use gpu::adapter::adapters;
pub use gpu::shader;
pub use grad::Gradients;
pub use shape::{ALIGN, DType, MAX_RANK, Shape, Spec};
pub use tensor::Tensor;
pub use trace::no_grad;
pub use variable::Variable;
