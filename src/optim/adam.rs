//! Adam and AdamW.

use super::{Optimizer, Rule, Run};
use crate::op::Scalar;
use crate::ops::adam::{self, SecondMoment};
use crate::tensor::Tensor;

/// Adam; see [`ops::adam`](crate::ops::adam) for the formula.
pub type Adam = Optimizer<AdamConfig>;

/// Adam with decoupled weight decay; see [`ops::adam`](crate::ops::adam) for the formula.
pub type AdamW = Optimizer<AdamWConfig>;

/// Options of [`Adam`], with PyTorch's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first and second moment.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// L2 penalty: added to the gradient times the parameter.
    pub weight_decay: f64,
    /// Whether the largest second moment so far is used.
    pub amsgrad: bool,
}

impl Default for AdamConfig {
    fn default() -> Self {
        AdamConfig { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, amsgrad: false }
    }
}

/// Options of [`AdamW`], with PyTorch's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamWConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first and second moment.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Taken off the parameter, times the learning rate and the parameter.
    pub weight_decay: f64,
    /// Whether the largest second moment so far is used.
    pub amsgrad: bool,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        AdamWConfig { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 1e-2, amsgrad: false }
    }
}

fn states(amsgrad: bool) -> &'static [&'static str] {
    if amsgrad { &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"] } else { &["exp_avg", "exp_avg_sq"] }
}

/// Appends the update; `l2` goes into the gradient, `decay` off the parameter.
fn update(run: &Run<'_>, betas: (f64, f64), eps: f64, amsgrad: bool, l2: f64, decay: f64) {
    let (beta1, beta2) = betas;
    let second_moment = if amsgrad { SecondMoment::Largest } else { SecondMoment::Present };
    let t = run.step as f64;
    let step_size = run.lr / (1.0 - beta1.powf(t));
    let correction2 = 1.0 / (1.0 - beta2.powf(t)).sqrt();
    let scalars = [step_size, eps, 1.0 - beta1, beta2, 1.0 - beta2, correction2, l2, decay].map(Scalar::F);
    let op = adam::Adam { second_moment, clipping: run.clipping };
    Tensor::apply(op, &run.operands, &[&[run.bound()], &scalars[..]].concat());
}

impl Rule for AdamConfig {
    const NAME: &'static str = "adam";

    fn lr(&self) -> f64 {
        self.lr
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn states(&self) -> &'static [&'static str] {
        states(self.amsgrad)
    }

    fn phase(&self, steps: u64) -> u64 {
        steps
    }

    fn update(&self, run: &Run<'_>) {
        update(run, self.betas, self.eps, self.amsgrad, run.weight_decay, 0.0);
    }
}

impl Rule for AdamWConfig {
    const NAME: &'static str = "adamw";

    fn lr(&self) -> f64 {
        self.lr
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn states(&self) -> &'static [&'static str] {
        states(self.amsgrad)
    }

    fn phase(&self, steps: u64) -> u64 {
        steps
    }

    fn update(&self, run: &Run<'_>) {
        update(run, self.betas, self.eps, self.amsgrad, 0.0, run.lr * run.weight_decay);
    }
}
