//! Adaptive pooling as layers.

use super::Size2d;
use crate::tensor::Tensor;

/// The means of a given number of parts of about equal size. PyTorch's `AdaptiveAvgPool1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveAvgPool1d {
    /// Size of the result.
    pub output_size: usize,
}

impl AdaptiveAvgPool1d {
    /// Results of `output_size`.
    pub fn new(output_size: usize) -> Self {
        AdaptiveAvgPool1d { output_size }
    }

    /// `[N, C, L]` becomes `[N, C, P]`.
    ///
    /// # Panics
    /// When L or the output size is 0.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.adaptive_avg_pool1d(self.output_size)
    }
}

/// The means of a given number of parts of about equal size. PyTorch's `AdaptiveAvgPool2d`. An output size of 1 is global pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveAvgPool2d {
    /// Size of the result.
    pub output_size: Size2d,
}

impl AdaptiveAvgPool2d {
    /// Results of `output_size`.
    pub fn new(output_size: impl Into<Size2d>) -> Self {
        AdaptiveAvgPool2d { output_size: output_size.into() }
    }

    /// `[N, C, H, W]` becomes `[N, C, P, Q]`.
    ///
    /// # Panics
    /// When H, W or an output size is 0.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.adaptive_avg_pool2d(self.output_size.into())
    }
}

/// The largest elements of a given number of parts of about equal size. PyTorch's `AdaptiveMaxPool1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveMaxPool1d {
    /// Size of the result.
    pub output_size: usize,
}

impl AdaptiveMaxPool1d {
    /// Results of `output_size`.
    pub fn new(output_size: usize) -> Self {
        AdaptiveMaxPool1d { output_size }
    }

    /// `[N, C, L]` becomes `[N, C, P]`.
    ///
    /// # Panics
    /// When L or the output size is 0.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.adaptive_max_pool1d(self.output_size)
    }
}

/// The largest elements of a given number of parts of about equal size. PyTorch's `AdaptiveMaxPool2d`. An output size of 1 is global pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveMaxPool2d {
    /// Size of the result.
    pub output_size: Size2d,
}

impl AdaptiveMaxPool2d {
    /// Results of `output_size`.
    pub fn new(output_size: impl Into<Size2d>) -> Self {
        AdaptiveMaxPool2d { output_size: output_size.into() }
    }

    /// `[N, C, H, W]` becomes `[N, C, P, Q]`.
    ///
    /// # Panics
    /// When H, W or an output size is 0.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.adaptive_max_pool2d(self.output_size.into())
    }
}
