//! Optimisers over flat arenas.
//!
//! An optimiser keeps, for every arena of trainable parameters, an arena of gradients and one for each kind of state, all
//! with the same layout. A step appends to the trace: the gradients' places, the norm when they are clipped by it, and one
//! update for each run: neighbours in an arena that have a gradient, belong to one group and have made the same number of
//! steps, where the rule depends on it. Then the whole step runs as one program, without waiting.
//!
//! A parameter without a gradient is skipped: neither its value nor its state nor its number of steps changes, as in
//! PyTorch when `grad` is `None`.
//!
//! A [`Guard`] has the same program look for values that are not finite, and undo the steps that have any. Gradients of
//! several batches make one update with [`Optimizer::set_accumulation`]. An [`Ema`] averages weights over many steps.

mod accumulate;
mod adam;
mod ema;
mod flat;
mod guard;
mod rmsprop;
mod sgd;
mod state;

pub use adam::{Adam, AdamConfig, AdamW, AdamWConfig};
pub use ema::Ema;
pub use guard::{Divergence, Guard, Quantity};
pub use rmsprop::{RmsProp, RmsPropConfig};
pub use sgd::{Sgd, SgdConfig};

use crate::caller::{Caller, on_behalf_of};
use crate::error::Result;
use crate::grad::Gradients;
use crate::op::Scalar;
use crate::ops::clip_grad::{Clipping, clip_factor};
use crate::params::{Arena, Param, Params};
use crate::tensor::Tensor;
use accumulate::{Accumulated, Accumulation};
use flat::{Due, Flat, Member};
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;

/// How one optimiser turns gradients into updates: its configuration, and the op that it appends.
pub trait Rule: fmt::Debug {
    /// The optimiser's name, as in a checkpoint.
    const NAME: &'static str;

    /// The learning rate to begin with.
    fn lr(&self) -> f64;

    /// The weight decay of groups that do not set their own.
    fn weight_decay(&self) -> f64;

    /// Names of the states that it keeps for each parameter, PyTorch's.
    fn states(&self) -> &'static [&'static str];

    /// What an update depends on of the number of steps a parameter has made: parameters with the same phase are
    /// updated together.
    fn phase(&self, steps: u64) -> u64;

    /// Appends the update of one run.
    fn update(&self, run: &Run<'_>);
}

/// Neighbouring parameters that are updated together, with all that the update needs.
#[derive(Debug)]
pub struct Run<'a> {
    /// Parameters, gradients, then each state, all `[n]`, and the factor `[]` where gradients are clipped by norm.
    pub operands: Vec<&'a Tensor>,
    /// How gradients are clipped.
    pub clipping: Clipping,
    /// The bound when they are clipped by value.
    pub bound: f64,
    /// The learning rate.
    pub lr: f64,
    /// The weight decay.
    pub weight_decay: f64,
    /// The number of this step, from 1: of these parameters, or of any with the same [`phase`](Rule::phase).
    pub step: u64,
}

impl Run<'_> {
    /// The bound as the ops' first scalar.
    fn bound(&self) -> Scalar {
        Scalar::F(self.bound)
    }
}

/// Parameters with options of their own.
pub struct ParamGroup {
    filter: Box<dyn Fn(&Param) -> bool + Send + Sync>,
    lr_scale: f64,
    weight_decay: Option<f64>,
}

impl ParamGroup {
    /// The parameters for which `filter` holds and that no earlier group has.
    pub fn new(filter: impl Fn(&Param) -> bool + Send + Sync + 'static) -> Self {
        ParamGroup { filter: Box::new(filter), lr_scale: 1.0, weight_decay: None }
    }

    /// Vectors and scalars: biases, and weights of norms.
    pub fn vectors() -> Self {
        ParamGroup::new(|p| p.shape().rank() < 2)
    }

    /// A factor of the optimiser's learning rate, so a schedule moves all groups.
    pub fn lr_scale(mut self, factor: f64) -> Self {
        self.lr_scale = factor;
        self
    }

    /// The group's weight decay.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = Some(weight_decay);
        self
    }
}

impl fmt::Debug for ParamGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParamGroup(lr × {}, weight decay {:?})", self.lr_scale, self.weight_decay)
    }
}

/// How gradients are clipped before the update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clip {
    /// All together, to a norm of at most `max_norm`, as PyTorch's `clip_grad_norm_`.
    Norm {
        /// The largest norm.
        max_norm: f64,
        /// The exponent: 2 for the Euclidean norm, infinity for the largest absolute value.
        norm_type: f64,
    },
    /// Each element, to at most `bound` above or below 0, as PyTorch's `clip_grad_value_`.
    Value {
        /// The largest absolute value.
        bound: f64,
    },
}

/// An optimiser: [`Sgd`], [`Adam`], [`AdamW`], [`RmsProp`], or one with a [`Rule`] of your own.
///
/// ```
/// use recurve::{Adam, AdamConfig, Device, Init, Params};
/// let p = Params::new(&Device::cpu(), 0);
/// let w = p.root().param("w", [3], Init::Ones);
/// let mut opt = Adam::new(&p, AdamConfig { lr: 0.1, ..Default::default() });
/// let loss = w.tensor().mul(&w.tensor()).sum(&[0]);
/// opt.step(&loss.backward())?;
/// assert!((w.tensor().to_vec()?[0] - 0.9).abs() < 1e-6);
/// # Ok::<(), recurve::Error>(())
/// ```
#[derive(Debug)]
pub struct Optimizer<R: Rule> {
    params: Params,
    rule: R,
    lr: f64,
    groups: Vec<ParamGroup>,
    clip: Option<Clip>,
    arenas: Vec<Flat>,
    grad_norm: Option<Tensor>,
    watch: Option<guard::Watch>,
    accumulation: Accumulation,
}

impl<R: Rule> Optimizer<R> {
    /// An optimiser of all trainable parameters, those registered later included. Memory for gradients and states is
    /// taken at the first step, which returns what stands in its way.
    pub fn new(params: &Params, rule: R) -> Self {
        Optimizer::with_groups(params, rule, Vec::new())
    }

    /// An optimiser with parameter groups. A parameter belongs to the first group that takes it; those that none takes
    /// have the rule's own options.
    pub fn with_groups(params: &Params, rule: R, groups: Vec<ParamGroup>) -> Self {
        let lr = rule.lr();
        Optimizer {
            params: params.clone(),
            rule,
            lr,
            groups,
            clip: None,
            arenas: Vec::new(),
            grad_norm: None,
            watch: None,
            accumulation: Accumulation::default(),
        }
    }

    /// The configuration that it was made with.
    pub fn rule(&self) -> &R {
        &self.rule
    }

    /// The present learning rate.
    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// Sets the learning rate of the steps to come: an input of the program, so it makes no new plan.
    pub fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    /// Clips the gradients of the steps to come; the gradients that you hold stay as they are.
    pub fn set_clip(&mut self, clip: Option<Clip>) {
        self.clip = clip;
    }

    /// The norm of all gradients of the last step before clipping, `[]`; `None` unless they were clipped by norm.
    pub fn grad_norm(&self) -> Option<&Tensor> {
        self.grad_norm.as_ref()
    }

    /// Updates every parameter that has a gradient, and runs the step without waiting for it.
    ///
    /// # Errors
    /// [`Error::Diverged`](crate::Error::Diverged) where a [`Guard`] says so, and whatever stopped the computation: see
    /// [`Error`](crate::Error).
    ///
    /// # Panics
    /// When the gradients are on another device.
    #[track_caller]
    pub fn step(&mut self, gradients: &Gradients) -> Result<()> {
        self.check(gradients)?;
        self.step_with(|param| param.gradient(gradients))
    }

    #[track_caller]
    fn check(&self, gradients: &Gradients) -> Result<()> {
        assert_eq!(gradients.device(), self.params.device(), "gradients and parameters are on one device");
        gradients.check()
    }

    /// [`step`](Optimizer::step) with gradients from anywhere: sums of several batches, say.
    ///
    /// # Errors
    /// As `step`.
    ///
    /// # Panics
    /// When a gradient does not have its parameter's shape.
    #[track_caller]
    pub fn step_with(&mut self, gradient: impl Fn(&Param) -> Option<Tensor>) -> Result<()> {
        let updated = self.advance(gradient)?;
        // In a browser nobody may wait here; `step_async` looks there.
        #[cfg(not(target_arch = "wasm32"))]
        if updated {
            pollster::block_on(self.look())?;
        }
        #[cfg(target_arch = "wasm32")]
        let _ = updated;
        Ok(())
    }

    /// The step itself; says whether it was an update.
    #[track_caller]
    fn advance(&mut self, gradient: impl Fn(&Param) -> Option<Tensor>) -> Result<bool> {
        self.cover()?;
        // Dropped before the run, so its place is free for the new one.
        self.grad_norm = None;
        let mut due = Vec::new();
        let mut stepped = Vec::new();
        let (device, accumulation) = (self.params.device(), self.accumulation);
        for (index, flat) in self.arenas.iter_mut().enumerate() {
            let placed = match accumulation.batches {
                1 => flat.place(&gradient),
                _ => flat.accumulate(device, &gradient, accumulation)?,
            };
            due.extend(flat.runs(&self.params, index, &placed, |m| (m.group, self.rule.phase(m.steps))));
            stepped.extend(placed.into_iter().map(|member| (index, member)));
        }
        on_behalf_of(Caller::forward(Location::caller()), || self.append(&due));
        self.params.device().run()?;
        stepped.into_iter().for_each(|(arena, member)| self.arenas[arena].members[member].steps += 1);
        let updated = accumulation.is_last();
        self.accumulation.taken = if updated { 0 } else { accumulation.taken + 1 };
        Ok(updated)
    }

    /// [`step`](Optimizer::step) for callers that must not block: waits, without blocking the thread, while too many steps
    /// are on their way.
    ///
    /// # Errors
    /// As `step`.
    pub async fn step_async(&mut self, gradients: &Gradients) -> Result<()> {
        self.check(gradients)?;
        if self.advance(|param| param.gradient(gradients))? {
            self.look().await?;
        }
        self.params.device().throttle().await
    }

    /// Appends norm and updates, and what watches over them.
    fn append(&mut self, due: &[Due]) {
        if due.is_empty() {
            return;
        }
        self.append_copies();
        let (clipping, bound, factor) = match self.clip {
            None => (Clipping::None, 0.0, None),
            Some(Clip::Value { bound }) => (Clipping::Value, bound, None),
            Some(Clip::Norm { max_norm, norm_type }) => {
                let gradients: Vec<Tensor> = due.iter().map(|d| d.operands[1].clone()).collect();
                let (norm, factor) = clip_factor(&gradients, max_norm, norm_type);
                self.grad_norm = Some(norm);
                (Clipping::Factor, 0.0, Some(factor))
            }
        };
        for d in due {
            let group = self.groups.get(d.group);
            self.rule.update(&Run {
                operands: d.operands.iter().chain(&factor).collect(),
                clipping,
                bound,
                lr: self.lr * group.map_or(1.0, |g| g.lr_scale),
                weight_decay: group.and_then(|g| g.weight_decay).unwrap_or(self.rule.weight_decay()),
                step: d.steps + 1,
            });
        }
        self.append_watch(due);
    }

    /// Makes gradients and states for arenas that have come since, and what a guard needs.
    fn cover(&mut self) -> Result<()> {
        let device = self.params.device();
        for (weights, params) in self.params.trainable_arenas()?.into_iter().skip(self.arenas.len()) {
            let bytes = weights.chunk.bytes();
            let gradients = Arena::new(device, bytes, "gradients")?;
            let states = self
                .rule
                .states()
                .iter()
                .map(|name| Arena::new(device, bytes, name))
                .collect::<Result<_>>()?;
            let starts: Vec<u64> =
                params.iter().map(|p| Ok(p.variable()?.offset())).collect::<Result<_>>()?;
            let ends = starts.iter().skip(1).copied().chain([bytes]);
            let member = |((param, &start), end): ((Param, &u64), u64)| {
                let group = self.groups.iter().position(|g| (g.filter)(&param)).unwrap_or(self.groups.len());
                Member { param, start, end, group, steps: 0 }
            };
            let members = params.into_iter().zip(&starts).zip(ends).map(member).collect();
            let (runs, guarded) = (HashMap::new(), guard::Guarded::default());
            let accumulated = Accumulated::default();
            self.arenas.push(Flat { weights, gradients, states, members, runs, guarded, accumulated });
        }
        self.cover_guard()
    }
}

/// The gradients, each multiplied so that their norm together is at most `max_norm`, and the norm that they had, `[]`:
/// PyTorch's `clip_grad_norm_`, as values. Optimisers do the same without another pass: [`Optimizer::set_clip`].
///
/// # Panics
/// When there are no gradients.
#[track_caller]
pub fn clip_grad_norm(gradients: &[Tensor], max_norm: f64, norm_type: f64) -> (Vec<Tensor>, Tensor) {
    on_behalf_of(Caller::forward(Location::caller()), || {
        let (norm, factor) = clip_factor(gradients, max_norm, norm_type);
        (gradients.iter().map(|g| g.mul(&factor)).collect(), norm)
    })
}
