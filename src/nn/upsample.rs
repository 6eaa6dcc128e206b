//! Resampling as a layer.

use crate::ops::upsample::{Interpolation, Resize};
use crate::tensor::Tensor;

/// Resampling to another size. PyTorch's `Upsample` with modes `nearest`, `linear` and `bilinear`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Upsample {
    /// A size, or factors.
    pub to: Resize,
    /// How results between elements are made.
    pub mode: Interpolation,
}

impl Upsample {
    /// A whole number or a pair of them is a size, floating-point numbers are factors.
    pub fn new(to: impl Into<Resize>, mode: Interpolation) -> Self {
        Upsample { to: to.into(), mode }
    }

    /// `[N, C, H, W]` becomes `[N, C, P, Q]`, and `[N, C, L]` becomes `[N, C, Q]`.
    ///
    /// # Panics
    /// When an axis is empty before or after, or a factor is no positive number.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.interpolate(self.to, self.mode)
    }
}
