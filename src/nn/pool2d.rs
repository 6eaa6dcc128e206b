//! Pooling as layers.

use super::Size2d;
use crate::ops::avg_pool2d::AvgPool2dConfig;
use crate::ops::max_pool2d::MaxPool2dConfig;
use crate::tensor::Tensor;

/// The largest element of each window. PyTorch's `MaxPool2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2d {
    /// Size of a window.
    pub kernel_size: Size2d,
    /// Stride (a window's size by default), padding, dilation, rounding.
    pub config: MaxPool2dConfig,
}

impl MaxPool2d {
    /// Windows of `kernel_size`.
    pub fn new(kernel_size: impl Into<Size2d>, config: MaxPool2dConfig) -> Self {
        MaxPool2d { kernel_size: kernel_size.into(), config }
    }

    /// `[N, C, H, W]` becomes `[N, C, P, Q]`.
    ///
    /// # Panics
    /// When the windows do not fit the image, or padding exceeds half a window.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.max_pool2d_with(self.kernel_size.into(), self.config)
    }
}

/// The mean of each window. PyTorch's `AvgPool2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool2d {
    /// Size of a window.
    pub kernel_size: Size2d,
    /// Stride (a window's size by default), padding, rounding, divisor.
    pub config: AvgPool2dConfig,
}

impl AvgPool2d {
    /// Windows of `kernel_size`.
    pub fn new(kernel_size: impl Into<Size2d>, config: AvgPool2dConfig) -> Self {
        AvgPool2d { kernel_size: kernel_size.into(), config }
    }

    /// `[N, C, H, W]` becomes `[N, C, P, Q]`.
    ///
    /// # Panics
    /// When the windows do not fit the image, or padding exceeds half a window.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.avg_pool2d_with(self.kernel_size.into(), self.config)
    }
}
