//! RMSprop.

use super::{Optimizer, Rule, Run};
use crate::op::Scalar;
use crate::ops::rmsprop::{self, About, Earlier};
use crate::tensor::Tensor;

/// RMSprop; see [`ops::rmsprop`](crate::ops::rmsprop) for the formula.
pub type RmsProp = Optimizer<RmsPropConfig>;

/// Options of [`RmsProp`], with PyTorch's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct RmsPropConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the second moment (and of the mean).
    pub alpha: f64,
    /// Added to the root.
    pub eps: f64,
    /// L2 penalty: added to the gradient times the parameter.
    pub weight_decay: f64,
    /// How much of the earlier updates stays; 0 keeps no state.
    pub momentum: f64,
    /// Whether the mean gradient is subtracted from the second moment.
    pub centered: bool,
}

impl Default for RmsPropConfig {
    fn default() -> Self {
        RmsPropConfig { lr: 1e-2, alpha: 0.99, eps: 1e-8, weight_decay: 0.0, momentum: 0.0, centered: false }
    }
}

impl Rule for RmsPropConfig {
    const NAME: &'static str = "rmsprop";

    fn lr(&self) -> f64 {
        self.lr
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn states(&self) -> &'static [&'static str] {
        match (self.centered, self.momentum != 0.0) {
            (false, false) => &["square_avg"],
            (true, false) => &["square_avg", "grad_avg"],
            (false, true) => &["square_avg", "momentum_buffer"],
            (true, true) => &["square_avg", "grad_avg", "momentum_buffer"],
        }
    }

    fn phase(&self, _: u64) -> u64 {
        0
    }

    fn update(&self, run: &Run<'_>) {
        let about = if self.centered { About::Mean } else { About::Zero };
        let earlier = if self.momentum != 0.0 { Earlier::Summed } else { Earlier::Forgotten };
        let op = rmsprop::RmsProp { about, earlier, clipping: run.clipping };
        let (share, alpha) = (1.0 - self.alpha, self.alpha);
        let scalars = [run.lr, run.weight_decay, alpha, share, self.eps, self.momentum].map(Scalar::F);
        Tensor::apply(op, &run.operands, &[&[run.bound()], &scalars[..]].concat());
    }
}
