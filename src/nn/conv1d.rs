//! Convolution over rows with its parameters.

use crate::ops::conv1d::Conv1dConfig;
use crate::params::{Init, Param, Scope};
use crate::tensor::Tensor;

/// A convolution of rows. PyTorch's `Conv1d`; [`ops::conv1d`](crate::ops::conv1d) has the formula.
#[derive(Clone, Debug)]
pub struct Conv1d {
    /// `[out_channels, in_channels / groups, kernel_size]`, uniform in ±1/√fan_in.
    pub weight: Param,
    /// `[out_channels]`, from the same distribution.
    pub bias: Option<Param>,
    /// Stride, padding, dilation, groups.
    pub config: Conv1dConfig,
}

impl Conv1d {
    /// Registers `weight` and `bias`.
    ///
    /// # Panics
    /// When a name is taken, or the groups do not divide both numbers of channels.
    #[track_caller]
    pub fn new(
        scope: &Scope,
        in_channels: usize,
        out_channels: usize,
        kernel_size: usize,
        config: Conv1dConfig,
    ) -> Self {
        let mut layer = Conv1d::without_bias(scope, in_channels, out_channels, kernel_size, config);
        let init = Init::default_bias(layer.weight.shape());
        layer.bias = Some(scope.param("bias", [out_channels], init));
        layer
    }

    /// Registers `weight` only: in front of a batch norm, a bias has no effect.
    ///
    /// # Panics
    /// As [`new`](Conv1d::new).
    #[track_caller]
    pub fn without_bias(
        scope: &Scope,
        in_channels: usize,
        out_channels: usize,
        kernel_size: usize,
        config: Conv1dConfig,
    ) -> Self {
        let groups = config.groups;
        assert!(
            groups > 0 && in_channels.is_multiple_of(groups) && out_channels.is_multiple_of(groups),
            "{groups} groups do not divide {in_channels} and {out_channels} channels"
        );
        let shape = [out_channels, in_channels / groups, kernel_size];
        Conv1d { weight: scope.param("weight", shape, Init::default_weight()), bias: None, config }
    }

    /// `[N, in_channels, L]` becomes `[N, out_channels, Q]`.
    ///
    /// # Panics
    /// When `x` has another number of axes or channels, the kernel is longer than the padded row, or
    /// [`Padding1d::Same`](crate::ops::conv1d::Padding1d) meets a stride above 1.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let bias = self.bias.as_ref().map(Param::tensor);
        x.conv1d(&self.weight.tensor(), bias.as_ref(), self.config)
    }
}
