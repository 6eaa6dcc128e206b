//! y = x·Wᵀ + b.

use crate::params::{Init, Param, Scope};
use crate::tensor::Tensor;

/// A dense layer: y = x·Wᵀ + b. PyTorch's `Linear`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[out_features, in_features]`, uniform in ±1/√in_features.
    pub weight: Param,
    /// `[out_features]`, from the same distribution.
    pub bias: Option<Param>,
}

impl Linear {
    /// Registers `weight` and `bias`.
    ///
    /// # Panics
    /// When a name is taken.
    #[track_caller]
    pub fn new(scope: &Scope, in_features: usize, out_features: usize) -> Self {
        let mut layer = Linear::without_bias(scope, in_features, out_features);
        let init = Init::default_bias(layer.weight.shape());
        layer.bias = Some(scope.param("bias", [out_features], init));
        layer
    }

    /// Registers `weight` only.
    ///
    /// # Panics
    /// When a name is taken.
    #[track_caller]
    pub fn without_bias(scope: &Scope, in_features: usize, out_features: usize) -> Self {
        let weight = scope.param("weight", [out_features, in_features], Init::default_weight());
        Linear { weight, bias: None }
    }

    /// `[.., in_features]` becomes `[.., out_features]`.
    ///
    /// # Panics
    /// When `x` has fewer than two axes, or its last one is not in_features long.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight.tensor(), self.bias.as_ref().map(Param::tensor).as_ref())
    }
}
