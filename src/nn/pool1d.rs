//! Pooling along one axis, as layers.

use crate::ops::avg_pool1d::AvgPool1dConfig;
use crate::ops::max_pool1d::MaxPool1dConfig;
use crate::tensor::Tensor;

/// The largest element of each window. PyTorch's `MaxPool1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool1d {
    /// Size of a window.
    pub kernel_size: usize,
    /// Stride (a window's size by default), padding, dilation, rounding.
    pub config: MaxPool1dConfig,
}

impl MaxPool1d {
    /// Windows of `kernel_size`.
    pub fn new(kernel_size: usize, config: MaxPool1dConfig) -> Self {
        MaxPool1d { kernel_size, config }
    }

    /// `[N, C, L]` becomes `[N, C, P]`.
    ///
    /// # Panics
    /// When the windows do not fit, or padding exceeds half a window.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.max_pool1d_with(self.kernel_size, self.config)
    }
}

/// The mean of each window. PyTorch's `AvgPool1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool1d {
    /// Size of a window.
    pub kernel_size: usize,
    /// Stride (a window's size by default), padding, rounding, divisor.
    pub config: AvgPool1dConfig,
}

impl AvgPool1d {
    /// Windows of `kernel_size`.
    pub fn new(kernel_size: usize, config: AvgPool1dConfig) -> Self {
        AvgPool1d { kernel_size, config }
    }

    /// `[N, C, L]` becomes `[N, C, P]`.
    ///
    /// # Panics
    /// When the windows do not fit, or padding exceeds half a window.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.avg_pool1d_with(self.kernel_size, self.config)
    }
}
