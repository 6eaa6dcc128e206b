//! Transposed convolution with its parameters.

use super::Size2d;
use crate::ops::conv_transpose2d::ConvTranspose2dConfig;
use crate::params::{Init, Param, Scope};
use crate::tensor::Tensor;

/// A transposed convolution of images. PyTorch's `ConvTranspose2d`;
/// [`ops::conv_transpose2d`](crate::ops::conv_transpose2d) has the formula.
#[derive(Clone, Debug)]
pub struct ConvTranspose2d {
    /// `[in_channels, out_channels / groups, height, width]`, uniform in ±1/√fan_in, where PyTorch's fan_in of a
    /// transposed weight is `out_channels / groups · height · width`.
    pub weight: Param,
    /// `[out_channels]`, from the same distribution.
    pub bias: Option<Param>,
    /// Stride, padding, output padding, dilation, groups.
    pub config: ConvTranspose2dConfig,
}

impl ConvTranspose2d {
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
        config: ConvTranspose2dConfig,
    ) -> Self {
        let mut layer = ConvTranspose2d::without_bias(scope, in_channels, out_channels, kernel_size, config);
        let init = Init::default_bias(layer.weight.shape());
        layer.bias = Some(scope.param("bias", [out_channels], init));
        layer
    }

    /// Registers `weight` only: in front of a batch norm, a bias has no effect.
    ///
    /// # Panics
    /// As [`new`](ConvTranspose2d::new).
    #[track_caller]
    pub fn without_bias(
        scope: &Scope,
        in_channels: usize,
        out_channels: usize,
        kernel_size: impl Into<Size2d>,
        config: ConvTranspose2dConfig,
    ) -> Self {
        let (Size2d { height, width }, groups) = (kernel_size.into(), config.groups);
        assert!(
            groups > 0 && in_channels.is_multiple_of(groups) && out_channels.is_multiple_of(groups),
            "{groups} groups do not divide {in_channels} and {out_channels} channels"
        );
        let shape = [in_channels, out_channels / groups, height, width];
        ConvTranspose2d { weight: scope.param("weight", shape, Init::default_weight()), bias: None, config }
    }

    /// `[N, in_channels, P, Q]` becomes `[N, out_channels, H, W]`.
    ///
    /// # Panics
    /// When `x` has another number of axes or channels, `output_padding` is not below stride or dilation, or the
    /// padding cuts off everything.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let bias = self.bias.as_ref().map(Param::tensor);
        x.conv_transpose2d(&self.weight.tensor(), bias.as_ref(), self.config)
    }
}
