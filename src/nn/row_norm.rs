//! Layer, group and instance normalisation with their parameters.

use crate::params::{Init, Param, Scope};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Options of [`LayerNorm`] and [`GroupNorm`], with PyTorch's defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormConfig {
    /// Added to the variance.
    pub eps: f64,
    /// Whether the result is multiplied by `weight` and `bias` is added. (PyTorch's `elementwise_affine` or `affine`.)
    pub affine: bool,
}

impl Default for NormConfig {
    fn default() -> Self {
        NormConfig { eps: 1e-5, affine: true }
    }
}

/// `weight` (ones) and `bias` (zeros) of this shape, if `config` has them.
#[track_caller]
fn register(scope: &Scope, shape: Shape, config: NormConfig) -> Option<(Param, Param)> {
    config.affine.then(|| {
        let weight = scope.param("weight", shape, Init::Ones);
        (weight, scope.param("bias", shape, Init::Zeros))
    })
}

/// Calls `f` with the values of `affine`.
fn with_values(
    affine: &Option<(Param, Param)>,
    f: impl FnOnce(Option<(&Tensor, &Tensor)>) -> Tensor,
) -> Tensor {
    match affine {
        None => f(None),
        Some((weight, bias)) => f(Some((&weight.tensor(), &bias.tensor()))),
    }
}

/// Normalisation over the last axes. PyTorch's `LayerNorm`; [`ops::row_norm`](crate::ops::row_norm) has the formula.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// `weight` (ones) and `bias` (zeros), each of the shape that is normalised.
    pub affine: Option<(Param, Param)>,
    /// Sizes of the axes that are normalised together.
    pub normalized_shape: Shape,
    /// Options.
    pub config: NormConfig,
}

impl LayerNorm {
    /// Registers `weight` and `bias`, if `config` has them.
    ///
    /// # Panics
    /// When a name is taken, or there is no axis to normalise.
    #[track_caller]
    pub fn new(scope: &Scope, normalized_shape: impl Into<Shape>, config: NormConfig) -> Self {
        let normalized_shape = normalized_shape.into();
        assert!(normalized_shape.rank() > 0, "layer normalisation needs an axis to normalise");
        LayerNorm { affine: register(scope, normalized_shape, config), normalized_shape, config }
    }

    /// Normalises a tensor whose last axes are those of the layer.
    ///
    /// # Panics
    /// When they are not.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (shape, axes) = (x.shape(), self.normalized_shape.rank());
        assert!(
            shape.dims().ends_with(self.normalized_shape.dims()),
            "LayerNorm takes tensors that end with {}, not one of shape {shape}",
            self.normalized_shape
        );
        with_values(&self.affine, |affine| x.layer_norm(axes, affine, self.config.eps))
    }
}

/// Normalisation of groups of channels of each sample. PyTorch's `GroupNorm`; [`ops::row_norm`](crate::ops::row_norm)
/// has the formula.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    /// `weight` (ones) and `bias` (zeros), each `[C]`.
    pub affine: Option<(Param, Param)>,
    /// Number of groups.
    pub num_groups: usize,
    /// Number of channels.
    pub num_channels: usize,
    /// Options.
    pub config: NormConfig,
}

impl GroupNorm {
    /// Registers `weight` and `bias`, if `config` has them.
    ///
    /// # Panics
    /// When a name is taken, or the groups do not divide the channels.
    #[track_caller]
    pub fn new(scope: &Scope, num_groups: usize, num_channels: usize, config: NormConfig) -> Self {
        assert!(
            num_groups > 0 && num_channels.is_multiple_of(num_groups),
            "{num_groups} groups do not divide {num_channels} channels"
        );
        let affine = register(scope, Shape::new(&[num_channels]), config);
        GroupNorm { affine, num_groups, num_channels, config }
    }

    /// Normalises `[N, C, ..]`.
    ///
    /// # Panics
    /// When `x` has fewer than two axes, or another number of channels.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let shape = x.shape();
        assert!(
            shape.rank() >= 2 && shape[1] == self.num_channels,
            "GroupNorm takes [N, {}, ..], not a tensor of shape {shape}",
            self.num_channels
        );
        with_values(&self.affine, |affine| x.group_norm(self.num_groups, affine, self.config.eps))
    }
}

/// Normalisation of each channel of each sample. PyTorch's `InstanceNorm1d` and `InstanceNorm2d` without running
/// statistics, which is their default; theirs has no `affine` by default.
#[derive(Clone, Debug)]
pub struct InstanceNorm(GroupNorm);

impl InstanceNorm {
    /// Registers `weight` and `bias`, if `config` has them.
    ///
    /// # Panics
    /// When a name is taken, or there is no channel.
    #[track_caller]
    pub fn new(scope: &Scope, num_features: usize, config: NormConfig) -> Self {
        InstanceNorm(GroupNorm::new(scope, num_features, num_features, config))
    }

    /// `weight` (ones) and `bias` (zeros), each `[C]`.
    pub fn affine(&self) -> Option<&(Param, Param)> {
        self.0.affine.as_ref()
    }

    /// Normalises `[N, C, ..]`.
    ///
    /// # Panics
    /// When `x` has another number of channels, or only one value per channel of a sample.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let shape = x.shape();
        let values = shape.span(shape.rank().min(2), shape.rank());
        assert!(values != 1, "InstanceNorm: the statistics of {shape} are of one value per channel");
        self.0.forward(x)
    }
}
