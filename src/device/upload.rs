//! Values from the host.

use super::{Device, Engine, IGNORE_INDEX, Storage};
use crate::cpu::Precision;
use crate::error::Error;
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;
use crate::trace::Labels;
use std::sync::Arc;

impl Device {
    /// Uploads f32 values. A failure (too large for the device, out of memory) is returned by the next call on the
    /// tensor that returns a `Result`.
    ///
    /// # Panics
    /// When `data` does not have as many values as `shape` has elements.
    #[track_caller]
    pub fn tensor(&self, data: impl AsRef<[f32]>, shape: impl Into<Shape>) -> Tensor {
        let (data, shape) = (data.as_ref(), shape.into());
        assert_eq!(data.len(), shape.elements(), "values for a tensor of shape {shape}");
        let spec = Spec::f32(shape);
        let storage = match &self.0.engine {
            Engine::Cpu(_) => Ok(Storage::Host(Arc::new(data.iter().map(|&v| v as f64).collect()))),
            Engine::Gpu(gpu) => gpu.upload(spec, bytemuck::cast_slice(data)),
            Engine::Plan(planner) => planner.upload(spec),
        };
        Tensor::from_leaf(self, spec, storage, None)
    }

    /// Uploads f64 values: kept as they are by [`cpu_f64`](Device::cpu_f64), rounded to f32 elsewhere.
    ///
    /// # Panics
    /// As [`tensor`](Device::tensor).
    #[track_caller]
    pub fn tensor_f64(&self, data: &[f64], shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        assert_eq!(data.len(), shape.elements(), "values for a tensor of shape {shape}");
        match &self.0.engine {
            Engine::Cpu(Precision::F64) => {
                let storage = Ok(Storage::Host(Arc::new(data.to_vec())));
                Tensor::from_leaf(self, Spec::f32(shape), storage, None)
            }
            _ => self.tensor(data.iter().map(|&v| v as f32).collect::<Vec<_>>(), shape),
        }
    }

    /// Uploads class labels or indices, `[n]`. -100 is the mark that a loss ignores ([`IGNORE_INDEX`]). Other negative
    /// numbers and those above `u32::MAX - 1` are an [`Error::Label`] of the next call that returns a `Result`.
    pub fn labels(&self, labels: impl AsRef<[i64]>) -> Tensor {
        let labels = labels.as_ref();
        self.indices(labels, [labels.len()])
    }

    /// [`labels`](Device::labels) of any shape.
    ///
    /// # Panics
    /// When `labels` does not have as many values as `shape` has elements.
    #[track_caller]
    pub fn indices(&self, labels: &[i64], shape: impl Into<Shape>) -> Tensor {
        self.labels_ignoring(labels, shape, -100)
    }

    /// [`indices`](Device::indices) with another mark than -100 for what a loss ignores (PyTorch's `ignore_index`).
    ///
    /// # Panics
    /// When `labels` does not have as many values as `shape` has elements.
    #[track_caller]
    pub fn labels_ignoring(&self, labels: &[i64], shape: impl Into<Shape>, ignore_index: i64) -> Tensor {
        let shape = shape.into();
        assert_eq!(labels.len(), shape.elements(), "values for a tensor of shape {shape}");
        let spec = Spec::u32(shape);
        let mut kept = Vec::with_capacity(labels.len());
        for (index, &label) in labels.iter().enumerate() {
            match u32::try_from(label) {
                _ if label == ignore_index => kept.push(IGNORE_INDEX),
                Ok(v) if v != IGNORE_INDEX => kept.push(v),
                _ => {
                    let classes = IGNORE_INDEX as u64;
                    return Tensor::failed(self, spec, Error::Label { label, index, classes });
                }
            }
        }
        let classes = kept.iter().enumerate().filter(|(_, v)| **v != IGNORE_INDEX);
        let largest = classes.max_by_key(|(_, v)| **v).map(|(index, &v)| (v, index));
        let seen = Labels { largest, ignored: kept.iter().position(|&v| v == IGNORE_INDEX) };
        let storage = match &self.0.engine {
            Engine::Cpu(_) => Ok(Storage::Host(Arc::new(kept.iter().map(|&v| v as f64).collect()))),
            Engine::Gpu(gpu) => gpu.upload(spec, bytemuck::cast_slice(&kept)),
            Engine::Plan(planner) => planner.upload(spec),
        };
        Tensor::from_leaf(self, spec, storage, Some(seen))
    }

    /// A tensor filled with `value`.
    pub fn full(&self, value: f32, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        self.tensor(vec![value; shape.elements()], shape)
    }
}
