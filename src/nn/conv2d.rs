//! Convolution with its parameters.

use super::Size2d;
use crate::ops::conv2d::Conv2dConfig;
use crate::params::{Init, Param, Scope};
use crate::tensor::Tensor;

/// A convolution of images. PyTorch's `Conv2d`; [`ops::conv2d`](crate::ops::conv2d) has the formula.
#[derive(Clone, Debug)]
pub struct Conv2d {
    /// `[out_channels, in_channels / groups, height, width]`, uniform in ±1/√fan_in.
    pub weight: Param,
    /// `[out_channels]`, from the same distribution.
    pub bias: Option<Param>,
    /// Stride, padding, dilation, groups.
    pub config: Conv2dConfig,
}

impl Conv2d {
    /// Registers `weight` and `bias`.
    ///
    /// # Panics
    /// When a name is taken, or the groups do not divide both numbers of channels.
    #[track_caller]
    pub fn new(
        scope: &Scope,
        in_channels: usize,
        out_channels: usize,
        kernel_size: impl Into<Size2d>,
        config: Conv2dConfig,
    ) -> Self {
        let mut layer = Conv2d::without_bias(scope, in_channels, out_channels, kernel_size, config);
        let init = Init::default_bias(layer.weight.shape());
        layer.bias = Some(scope.param("bias", [out_channels], init));
        layer
    }

    /// Registers `weight` only: in front of a batch norm, a bias has no effect.
    ///
    /// # Panics
    /// As [`new`](Conv2d::new).
    #[track_caller]
    pub fn without_bias(
        scope: &Scope,
        in_channels: usize,
        out_channels: usize,
        kernel_size: impl Into<Size2d>,
        config: Conv2dConfig,
    ) -> Self {
        Conv2d::with_init(scope, in_channels, out_channels, kernel_size, Init::default_weight(), config)
    }

    /// As [`without_bias`](Conv2d::without_bias), with a choice of how the weight starts.
    ///
    /// # Panics
    /// As [`new`](Conv2d::new).
    #[track_caller]
    pub fn with_init(
        scope: &Scope,
        in_channels: usize,
        out_channels: usize,
        kernel_size: impl Into<Size2d>,
        init: Init,
        config: Conv2dConfig,
    ) -> Self {
        let (Size2d { height, width }, groups) = (kernel_size.into(), config.groups);
        assert!(
            groups > 0 && in_channels.is_multiple_of(groups) && out_channels.is_multiple_of(groups),
            "{groups} groups do not divide {in_channels} and {out_channels} channels"
        );
        let shape = [out_channels, in_channels / groups, height, width];
        Conv2d { weight: scope.param("weight", shape, init), bias: None, config }
    }

    /// `[N, in_channels, H, W]` becomes `[N, out_channels, P, Q]`.
    ///
    /// # Panics
    /// When `x` has another number of axes or channels, the kernel is larger than the padded image, or
    /// [`Padding::Same`](crate::ops::conv2d::Padding) meets a stride above 1.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let bias = self.bias.as_ref().map(Param::tensor);
        x.conv2d(&self.weight.tensor(), bias.as_ref(), self.config)
    }
}
