#![doc = include_str!("../README.md")]
//!
//! # Map of the crate
//! | what | where |
//! |---|---|
//! | devices, tensors, gradients | [`Device`], [`Tensor`], [`Gradients`], [`no_grad`], [`recompute`](fn@recompute) |
//! | layers and their parameters | [`nn`], [`Params`] |
//! | complete networks | [`models`] |
//! | training | [`optim`], [`schedule`], [`checkpoint`], [`data`] |
//! | every op, with formula and source | [`ops`] |
//! | ops of your own | [`op::Op`], [`kernel!`], [`testing`] |
//! | where the time goes, what runs and why | [`profile`], [`Device::explain`] |
//! | kernels chosen by measurement | [`tune`], [`Device::tune`] |
//! | what goes wrong | [`Error`], [`ShapeError`] |
//!
//! # What you can rely on
//! - Calls on tensors only note what is to be computed. Reading a value, and [`optim`]'s `step`, run it.
//! - Wrong shapes panic where the call was made, with every operand's shape; [`Tensor::try_apply`] returns them as
//!   errors. What depends on the world returns [`Result`].
//! - What you hold is what is kept. A loop that drops its losses and gradients does not grow.
//! - From the second step of a shape on, no GPU object is created.
//! - Same adapter, driver, build and seed (and file, after [`Device::tune`]): the same bits.
#![forbid(unsafe_code)]

mod caller;
pub mod checkpoint;
mod clock;
mod cpu;
pub mod data;
mod device;
mod error;
mod gpu;
mod grad;
pub mod kernel;
pub mod models;
pub mod nn;
pub mod op;
pub mod ops;
pub mod optim;
pub mod parallel;
pub mod params;
pub mod pointwise;
pub mod profile;
mod program;
mod recompute;
pub mod schedule;
mod shape;
mod tensor;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod trace;
#[cfg(not(target_arch = "wasm32"))]
pub mod tune;
mod variable;

pub use device::{Counters, DEVICE_VARIABLE, Device, IGNORE_INDEX, Pick};
pub use error::{Error, Result, ShapeError};
pub use gpu::AdapterEntry;
pub use gpu::adapter::adapters;
pub use gpu::shader;
pub use grad::Gradients;
pub use optim::{
    Adam, AdamConfig, AdamW, AdamWConfig, Clip, Guard, Optimizer, ParamGroup, RmsProp, RmsPropConfig, Sgd,
    SgdConfig,
};
pub use params::{Init, Param, Params, Scope};
pub use recompute::recompute;
pub use shape::{ALIGN, DType, MAX_RANK, Shape, Spec};
pub use tensor::Tensor;
pub use trace::no_grad;
pub use variable::Variable;
