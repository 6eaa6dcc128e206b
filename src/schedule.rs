//! Learning-rate schedules: pure functions from the step to the learning rate.
//!
//! A schedule has no state, so there is nothing to save: after a resume, [`Schedule::at`] of the same step
//! is the same number. A "step" is whatever the caller counts: optimiser steps or epochs. Names and values
//! are PyTorch's (`torch.optim.lr_scheduler`), in the closed form where PyTorch iterates.
//!
//! ```
//! use recurve::schedule::{OneCycle, Schedule};
//!
//! let schedule = Schedule::WarmupCosine { lr: 1e-3, warmup_steps: 100, total_steps: 2814, eta_min: 0.0 };
//! assert_eq!(schedule.at(99), 1e-3);
//! assert!(schedule.at(2000) < 1e-3);
//!
//! let schedule = Schedule::OneCycle(OneCycle { pct_start: 0.2, ..OneCycle::new(0.01, 2814) });
//! assert!((schedule.at(0) - 0.01 / 25.0).abs() < 1e-12);
//! ```

use std::f64::consts::PI;

/// A learning-rate schedule; [`at`](Schedule::at) evaluates it.
///
/// In the formulas t is the step, counted from 0. Lengths and periods are numbers of steps; one of 0 is
/// treated as 1.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Schedule {
    /// lr, always.
    Constant {
        /// The learning rate.
        lr: f64,
    },
    /// lr · gamma^⌊t / step_size⌋. PyTorch: `StepLR`.
    Step {
        /// The learning rate at the start.
        lr: f64,
        /// Steps between two drops.
        step_size: u64,
        /// The factor at each drop.
        gamma: f64,
    },
    /// lr · gamma^(number of milestones ≤ t). PyTorch: `MultiStepLR`.
    MultiStep {
        /// The learning rate at the start.
        lr: f64,
        /// The steps at which it drops, in any order; twice the same drops twice.
        milestones: Vec<u64>,
        /// The factor at each drop.
        gamma: f64,
    },
    /// lr · gamma^t. PyTorch: `ExponentialLR`.
    Exponential {
        /// The learning rate at the start.
        lr: f64,
        /// The factor at each step.
        gamma: f64,
    },
    /// lr · (1 − min(t, total_iters) / total_iters)^power. PyTorch: `PolynomialLR`.
    Polynomial {
        /// The learning rate at the start.
        lr: f64,
        /// Steps until it is 0.
        total_iters: u64,
        /// The exponent; 1 is a straight line.
        power: f64,
    },
    /// eta_min + (lr − eta_min) · (1 + cos(π t / t_max)) / 2; rises again after t_max. PyTorch:
    /// `CosineAnnealingLR`.
    Cosine {
        /// The learning rate at the start.
        lr: f64,
        /// Steps until it is `eta_min`: half a period.
        t_max: u64,
        /// The lowest learning rate.
        eta_min: f64,
    },
    /// As [`Cosine`](Schedule::Cosine), but jumps back to lr after t_0 steps, then after t_0 · t_mult,
    /// t_0 · t_mult², … more. I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm
    /// Restarts", 2017. PyTorch: `CosineAnnealingWarmRestarts`.
    CosineRestarts {
        /// The learning rate after each restart.
        lr: f64,
        /// Steps until the first restart.
        t_0: u64,
        /// How many times longer each period is than the one before.
        t_mult: u64,
        /// The learning rate that each period falls to.
        eta_min: f64,
    },
    /// Up, then down below where it started.
    OneCycle(OneCycle),
    /// lr · (start_factor + (1 − start_factor) · min(t, total_iters) / total_iters). PyTorch: `LinearLR`.
    LinearWarmup {
        /// The learning rate at the end.
        lr: f64,
        /// What fraction of `lr` the first step has.
        start_factor: f64,
        /// Steps until it is `lr`.
        total_iters: u64,
    },
    /// lr · (t + 1) / warmup_steps at first, then half a cosine from lr down to eta_min at total_steps,
    /// where it stays.
    WarmupCosine {
        /// The highest learning rate.
        lr: f64,
        /// Steps of the linear rise; 0 starts with the cosine.
        warmup_steps: u64,
        /// Steps of rise and fall together.
        total_steps: u64,
        /// The learning rate at the end.
        eta_min: f64,
    },
    /// `first` at the steps before `milestone`; from there on `then`, which counts its steps from the
    /// milestone. PyTorch: `SequentialLR`.
    Sequence {
        /// The schedule at the start.
        first: Box<Schedule>,
        /// The first step of the other schedule.
        milestone: u64,
        /// The schedule afterwards.
        then: Box<Schedule>,
    },
}

/// The one-cycle policy: from `max_lr / div_factor` up to `max_lr` and down to
/// `max_lr / (div_factor · final_div_factor)`, where it stays. PyTorch: `OneCycleLR`.
///
/// L. N. Smith, N. Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning
/// Rates", 2017.
#[derive(Clone, Debug, PartialEq)]
pub struct OneCycle {
    /// The highest learning rate.
    pub max_lr: f64,
    /// Steps of the whole cycle.
    pub total_steps: u64,
    /// The fraction of the cycle in which the learning rate rises.
    pub pct_start: f64,
    /// The form of rise and fall.
    pub anneal_strategy: Anneal,
    /// How many times smaller the first learning rate is than `max_lr`.
    pub div_factor: f64,
    /// How many times smaller the last learning rate is than the first.
    pub final_div_factor: f64,
    /// Whether the fall has two parts: one as long as the rise, back to the first learning rate, then one
    /// down to the last.
    pub three_phase: bool,
}

/// The form of the way from one learning rate to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Anneal {
    /// Half a cosine.
    Cos,
    /// A straight line.
    Linear,
}

impl Schedule {
    /// The learning rate at `step`, counted from 0. Defined for every step.
    pub fn at(&self, step: u64) -> f64 {
        let t = step as f64;
        match *self {
            Schedule::Constant { lr } => lr,
            Schedule::Step { lr, step_size, gamma } => lr * gamma.powf((step / step_size.max(1)) as f64),
            Schedule::MultiStep { lr, ref milestones, gamma } => {
                lr * gamma.powf(milestones.iter().filter(|&&milestone| milestone <= step).count() as f64)
            }
            Schedule::Exponential { lr, gamma } => lr * gamma.powf(t),
            Schedule::Polynomial { lr, total_iters, power } => {
                lr * (1.0 - done(step, total_iters)).powf(power)
            }
            Schedule::Cosine { lr, t_max, eta_min } => {
                // Whole periods change nothing, and the cosine of a small angle is more exact.
                let period = t_max.max(1).saturating_mul(2);
                Anneal::Cos.between(lr, eta_min, (step % period) as f64 / t_max.max(1) as f64)
            }
            Schedule::CosineRestarts { lr, t_0, t_mult, eta_min } => {
                let (since, period) = since_restart(step, t_0.max(1), t_mult.max(1));
                Anneal::Cos.between(lr, eta_min, since as f64 / period as f64)
            }
            Schedule::OneCycle(ref cycle) => cycle.at(step),
            Schedule::LinearWarmup { lr, start_factor, total_iters } => {
                lr * Anneal::Linear.between(start_factor, 1.0, done(step, total_iters))
            }
            Schedule::WarmupCosine { lr, warmup_steps, .. } if step < warmup_steps => {
                lr * (t + 1.0) / warmup_steps as f64
            }
            Schedule::WarmupCosine { lr, warmup_steps, total_steps, eta_min } => {
                let fall = total_steps.saturating_sub(warmup_steps);
                Anneal::Cos.between(lr, eta_min, done(step - warmup_steps, fall))
            }
            Schedule::Sequence { ref first, milestone, .. } if step < milestone => first.at(step),
            Schedule::Sequence { milestone, ref then, .. } => then.at(step - milestone),
        }
    }
}

impl OneCycle {
    /// A cycle with PyTorch's defaults: cosines, 30 % of the steps upwards, from 1/25 of `max_lr` down to
    /// 1/250,000 of it.
    pub fn new(max_lr: f64, total_steps: u64) -> OneCycle {
        OneCycle {
            max_lr,
            total_steps,
            pct_start: 0.3,
            anneal_strategy: Anneal::Cos,
            div_factor: 25.0,
            final_div_factor: 1e4,
            three_phase: false,
        }
    }

    fn at(&self, step: u64) -> f64 {
        let first = self.max_lr / self.div_factor;
        let last = first / self.final_div_factor;
        let total = self.total_steps.max(1) as f64;
        let top = self.pct_start * total - 1.0;
        // Where each phase ends and which learning rate it leads to. Ends need not be whole steps.
        let two = [(top, self.max_lr), (total - 1.0, last)];
        let three = [(top, self.max_lr), (2.0 * top, first), (total - 1.0, last)];
        let phases = if self.three_phase { &three[..] } else { &two[..] };

        let t = step as f64;
        let (mut start, mut from) = (0.0, first);
        for &(end, to) in phases {
            if t <= end {
                let fraction = if end > start { (t - start) / (end - start) } else { 1.0 };
                return self.anneal_strategy.between(from, to, fraction);
            }
            (start, from) = (end, to);
        }
        last
    }
}

impl Anneal {
    /// The value at `fraction` of the way: `from` at 0, `to` at 1.
    fn between(self, from: f64, to: f64, fraction: f64) -> f64 {
        match self {
            Anneal::Cos => to + (from - to) / 2.0 * (1.0 + (PI * fraction).cos()),
            Anneal::Linear => from + (to - from) * fraction,
        }
    }
}

/// What fraction of `total` steps is done; 1 from there on.
fn done(step: u64, total: u64) -> f64 {
    let total = total.max(1);
    step.min(total) as f64 / total as f64
}

/// Steps since the last restart, and from there to the next one, when the first period is `t_0` long and
/// each later one `t_mult` times longer.
fn since_restart(step: u64, t_0: u64, t_mult: u64) -> (u64, u64) {
    if t_mult == 1 {
        return (step % t_0, t_0);
    }
    let (mut since, mut period) = (step, t_0);
    while since >= period {
        since -= period;
        period = period.saturating_mul(t_mult);
    }
    (since, period)
}
