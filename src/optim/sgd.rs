//! Stochastic gradient descent.

use super::{Optimizer, Rule, Run};
use crate::op::Scalar;
use crate::ops::sgd::{self, Momentum};
use crate::tensor::Tensor;

/// Stochastic gradient descent with momentum; see [`ops::sgd`](crate::ops::sgd) for the formula.
pub type Sgd = Optimizer<SgdConfig>;

/// Options of [`Sgd`], with PyTorch's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct SgdConfig {
    /// Learning rate.
    pub lr: f64,
    /// How much of the earlier updates stays; 0 keeps no state.
    pub momentum: f64,
    /// How much of a gradient (after the first) does not enter the momentum.
    pub dampening: f64,
    /// L2 penalty: added to the gradient times the parameter.
    pub weight_decay: f64,
    /// Whether updates look one step ahead.
    pub nesterov: bool,
}

impl Default for SgdConfig {
    fn default() -> Self {
        SgdConfig { lr: 1e-3, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false }
    }
}

impl SgdConfig {
    fn kind(&self) -> Momentum {
        match (self.momentum, self.nesterov) {
            (0.0, _) => Momentum::None,
            (_, false) => Momentum::Classic,
            (_, true) => Momentum::Nesterov,
        }
    }
}

impl Rule for SgdConfig {
    const NAME: &'static str = "sgd";

    fn lr(&self) -> f64 {
        self.lr
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn states(&self) -> &'static [&'static str] {
        if self.kind() == Momentum::None { &[] } else { &["momentum_buffer"] }
    }

    /// The first gradient is not dampened.
    fn phase(&self, steps: u64) -> u64 {
        if self.dampening == 0.0 { 0 } else { steps.min(1) }
    }

    fn update(&self, run: &Run<'_>) {
        let share = if run.step == 1 { 1.0 } else { 1.0 - self.dampening };
        let op = sgd::Sgd { momentum: self.kind(), clipping: run.clipping };
        let scalars = [run.lr, run.weight_decay, self.momentum, share].map(Scalar::F);
        Tensor::apply(op, &run.operands, &[&[run.bound()], &scalars[..]].concat());
    }
}
