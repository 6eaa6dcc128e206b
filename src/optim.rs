//! Optimisers over flat arenas.
//!
//! An optimiser keeps, for every arena of trainable parameters, an arena of gradients and one for each kind of state, all
//! with the same layout. A step appends to the trace: the gradients' places, the norm when they are clipped by it, and one
//! update for each run: neighbours in an arena that have a gradient, belong to one group and have made the same number of
//! steps, where the rule depends on it. Then the whole step runs as one program, without waiting.
//!
//! A parameter without a gradient is skipped: neither its value nor its state nor its number of steps changes, as in
//! PyTorch when `grad` is `None`.

mod adam;
mod rmsprop;
mod sgd;

pub use adam::{Adam, AdamConfig, AdamW, AdamWConfig};
pub use rmsprop::{RmsProp, RmsPropConfig};
pub use sgd::{Sgd, SgdConfig};

use crate::caller::{Caller, on_behalf_of};
use crate::checkpoint::{CheckpointError, OPTIMIZER, TensorFile, Tensors};
use crate::error::Result;
use crate::grad::Gradients;
use crate::op::Scalar;
use crate::ops::clip_grad::{Clipping, clip_factor};
use crate::ops::place_gradients::PlaceGradients;
use crate::params::{Arena, Param, Params};
use crate::tensor::Tensor;
use crate::variable::Variable;
use std::collections::HashMap;
use std::fmt;
use std::io::{Read, Seek};
use std::panic::Location;
use std::sync::Arc;

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
}

/// An arena of parameters, with its gradients and states.
struct Flat {
    weights: Arc<Arena>,
    gradients: Arena,
    states: Vec<Arena>,
    members: Vec<Member>,
    runs: HashMap<(u64, u64), Arc<RunVariables>>,
}

struct Member {
    param: Param,
    /// Bytes in the arena, and where the next one begins.
    start: u64,
    end: u64,
    group: usize,
    steps: u64,
}

/// A run's parts of parameters, gradients and states.
struct RunVariables(Vec<Arc<Variable>>);

/// Runs remembered per arena; a program that skips other parameters at every step must not collect them for ever.
const MAX_RUNS: usize = 1024;

/// A run that is to be made: its arena, group, number of steps and variables.
struct Due {
    group: usize,
    steps: u64,
    operands: Vec<Tensor>,
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
    /// Whatever stopped the computation: see [`Error`](crate::Error).
    ///
    /// # Panics
    /// When the gradients are on another device.
    #[track_caller]
    pub fn step(&mut self, gradients: &Gradients) -> Result<()> {
        assert_eq!(gradients.device(), self.params.device(), "gradients and parameters are on one device");
        gradients.check()?;
        self.step_with(|param| param.gradient(gradients))
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
        self.cover()?;
        // Dropped before the run, so its place is free for the new one.
        self.grad_norm = None;
        let mut due = Vec::new();
        let mut stepped = Vec::new();
        for (index, flat) in self.arenas.iter_mut().enumerate() {
            let placed = flat.place(&gradient);
            due.extend(flat.runs(&self.params, &placed, |m| (m.group, self.rule.phase(m.steps))));
            stepped.extend(placed.into_iter().map(|member| (index, member)));
        }
        on_behalf_of(Caller::forward(Location::caller()), || self.append(&due));
        self.params.device().run()?;
        stepped.into_iter().for_each(|(arena, member)| self.arenas[arena].members[member].steps += 1);
        Ok(())
    }

    /// [`step`](Optimizer::step) for callers that must not block: waits, without blocking the thread, while too many steps
    /// are on their way.
    ///
    /// # Errors
    /// As `step`.
    pub async fn step_async(&mut self, gradients: &Gradients) -> Result<()> {
        self.step(gradients)?;
        self.params.device().throttle().await
    }

    /// Appends norm and updates.
    fn append(&mut self, due: &[Due]) {
        if due.is_empty() {
            return;
        }
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
    }

    /// Makes gradients and states for arenas that have come since.
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
            self.arenas.push(Flat { weights, gradients, states, members, runs: HashMap::new() });
        }
        Ok(())
    }

    /// States and steps, for a checkpoint.
    pub(crate) async fn collect(&self, tensors: &mut Tensors) -> Result<()> {
        for flat in &self.arenas {
            for (name, state) in self.rule.states().iter().zip(&flat.states) {
                let values = state.flat.tensor().to_vec_async().await?;
                for m in &flat.members {
                    let elements = m.param.shape().elements();
                    let part = &values[m.start as usize / 4..][..elements];
                    tensors.f32(&state_name(name, &m.param), m.param.shape(), part);
                }
            }
            for m in &flat.members {
                tensors.i64(&state_name(STEP, &m.param), m.steps as i64);
            }
        }
        Ok(())
    }

    /// Reads states and steps without changing anything yet. A checkpoint that was written before the first step has
    /// none.
    pub(crate) fn stage<F: Read + Seek>(&mut self, file: &mut TensorFile<F>) -> Result<Staged> {
        self.cover()?;
        let mut staged = Staged::default();
        let (mut missing, mut misshapen, mut known) = (Vec::new(), Vec::new(), 0);
        let any = file.names().any(|n| n.starts_with(OPTIMIZER));
        for (arena, flat) in self.arenas.iter().enumerate().filter(|_| any) {
            for (index, m) in flat.members.iter().enumerate() {
                let shape = m.param.shape();
                for (state, name) in self.rule.states().iter().map(|s| state_name(s, &m.param)).enumerate() {
                    match file.shape(&name) {
                        None => missing.push(name),
                        Some(found) if found != shape.dims() => {
                            misshapen.push(format!("{name} is {found:?} in the file, {shape} in the model"))
                        }
                        Some(_) => staged.states.push((arena, state, m.start, file.f32(&name)?)),
                    }
                    known += 1;
                }
                let name = state_name(STEP, &m.param);
                known += 1;
                match file.shape(&name) {
                    None => missing.push(name),
                    Some(_) => staged.steps.push((arena, index, file.count(&name)?)),
                }
            }
        }
        let there = file.names().filter(|n| n.starts_with(OPTIMIZER)).count();
        if !missing.is_empty() || !misshapen.is_empty() || there != known {
            let mut ours = std::collections::HashSet::new();
            for m in self.arenas.iter().flat_map(|f| &f.members) {
                ours.extend(self.rule.states().iter().chain([&STEP]).map(|s| state_name(s, &m.param)));
            }
            let foreign = file.names().filter(|n| n.starts_with(OPTIMIZER) && !ours.contains(*n));
            let unexpected = foreign.map(str::to_string).collect();
            return Err(CheckpointError::Mismatch { missing, unexpected, misshapen }.into());
        }
        Ok(staged)
    }

    /// Puts staged states in the place of the present ones.
    pub(crate) fn restore(&mut self, staged: Staged) -> Result<()> {
        let device = self.params.device();
        device.run()?;
        for flat in &mut self.arenas {
            flat.members.iter_mut().for_each(|m| m.steps = 0);
            for state in &flat.states {
                state.flat.set(&vec![0.0; state.chunk.bytes() as usize / 4])?;
            }
        }
        for (arena, state, start, values) in &staged.states {
            device.write_chunk(&self.arenas[*arena].states[*state].chunk, *start, values)?;
        }
        for (arena, member, steps) in staged.steps {
            self.arenas[arena].members[member].steps = steps;
        }
        Ok(())
    }
}

/// The name of step counts in a checkpoint.
const STEP: &str = "step";

fn state_name(state: &str, param: &Param) -> String {
    format!("{OPTIMIZER}{state}/{}", param.name())
}

/// States that were read and fit, not yet put in place.
#[derive(Default)]
pub(crate) struct Staged {
    /// Arena, state, byte offset, values.
    states: Vec<(usize, usize, u64, Vec<f32>)>,
    /// Arena, member, steps.
    steps: Vec<(usize, usize, u64)>,
}

impl Flat {
    /// Appends the placing of all gradients, and says which members have one.
    #[track_caller]
    fn place(&self, gradient: &impl Fn(&Param) -> Option<Tensor>) -> Vec<usize> {
        let (mut placed, mut offsets, mut operands) =
            (Vec::new(), Vec::new(), vec![self.gradients.flat.tensor()]);
        for (index, m) in self.members.iter().enumerate() {
            let Some(gradient) = gradient(&m.param) else { continue };
            let (name, shape) = (m.param.name(), m.param.shape());
            assert_eq!(gradient.shape(), shape, "the gradient of {name} has the parameter's shape");
            placed.push(index);
            offsets.push(m.start);
            operands.push(gradient);
        }
        if !placed.is_empty() {
            Tensor::apply(PlaceGradients { offsets }, &operands.iter().collect::<Vec<_>>(), &[]);
        }
        placed
    }

    /// The longest runs of members that are `placed` and have the same key.
    fn runs<K: PartialEq>(
        &mut self,
        params: &Params,
        placed: &[usize],
        key: impl Fn(&Member) -> K,
    ) -> Vec<Due> {
        let members = &self.members;
        let joined = |a: &usize, b: &usize| a + 1 == *b && key(&members[*a]) == key(&members[*b]);
        let mut due = Vec::new();
        for run in placed.chunk_by(joined) {
            let (first, last) = (&members[run[0]], &members[run[run.len() - 1]]);
            if self.runs.len() >= MAX_RUNS {
                self.runs.clear();
            }
            let arenas = [&*self.weights, &self.gradients].into_iter().chain(&self.states);
            let part = |a: &Arena| a.part(params.device(), first.start, last.end);
            let made = || Arc::new(RunVariables(arenas.map(part).collect()));
            let variables = self.runs.entry((first.start, last.end)).or_insert_with(made);
            let operands = variables.0.iter().map(Variable::tensor).collect();
            due.push(Due { group: first.group, steps: first.steps, operands });
        }
        due
    }
}

impl fmt::Debug for Flat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.members.iter().map(|m| (&m.param, m.steps))).finish()
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
