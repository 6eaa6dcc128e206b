//! What an optimiser does about values that are not finite.
//!
//! After the updates of a step, one pass over what they read and wrote (gradients, parameters, states) finds such values;
//! see [`ops::non_finite`](crate::ops::non_finite). A report on the device keeps the first step that had any. To undo a
//! step, parameters and states are copied before the updates and copied back behind them where something was found. All of
//! it is part of the step's program: nothing is read back for it.

use super::{Due, Flat, Optimizer, Rule};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::op::Scalar;
use crate::ops::copy_if::{CopyIf, Wanted};
use crate::ops::non_finite::{KIND, MAX_TENSORS, NonFinite, NoteNonFinite, REPORT};
use crate::params::{Arena, Params};
use crate::shape::ALIGN;
use crate::tensor::Tensor;
use crate::variable::Variable;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What an optimiser does about a step in which a gradient, a parameter or a state is NaN or infinite.
///
/// A step with such values can be undone, but not unmade on the host: it counts as one where corrections depend on the
/// number of steps ([`Adam`](super::Adam)), and schedules go on. What is not the optimiser's, running statistics of a batch
/// normalisation for instance, keeps what such a step has made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// Makes [`step`](Optimizer::step) return [`Error::Diverged`], with the first such step and parameter. It waits for the
    /// device and looks after every so many steps (0 counts as 1); training goes on with what there is until then.
    Stop {
        /// Steps from one look to the next.
        every: u64,
    },
    /// Leaves parameters and states as they were before such a step, to the bit. Takes memory for another copy of
    /// them, and the time to copy them in each step.
    Skip,
    /// Gives parameters and states back the values that they had some steps before: a copy that is renewed every so many
    /// steps (0 counts as 1), and only holds finite values. Takes memory for that copy.
    RollBack {
        /// Steps from one copy to the next.
        every: u64,
    },
}

/// The first step with a value that is not finite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The step's number, counted from 1 as the optimiser's steps are, those before a checkpoint included.
    pub step: u64,
    /// What was not finite there. Where gradients were not, neither are the parameters made with them.
    pub what: Quantity,
    /// The parameter that it belongs to: of several the one that was registered first, so that the first layer is named.
    pub parameter: String,
    /// How many steps had such values, up to now.
    pub steps: u64,
}

/// What belongs to a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Its gradient.
    Gradient,
    /// Its value after the update.
    Weight,
    /// A state that the optimiser keeps for it, by its name in a checkpoint.
    State(&'static str),
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quantity::Gradient => f.write_str("gradient"),
            Quantity::Weight => f.write_str("value"),
            Quantity::State(name) => write!(f, "state {name}"),
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} of {} is not finite in step {}", self.what, self.parameter, self.step)
    }
}

/// A guard, with what it has seen.
#[derive(Debug)]
pub(super) struct Watch {
    guard: Guard,
    /// Steps under this guard.
    steps: u64,
    /// Made at the first step.
    report: Option<Arc<Variable>>,
}

impl Watch {
    /// Steps from one copy to the next, if there are copies.
    fn copies_every(&self) -> Option<u64> {
        match self.guard {
            Guard::Stop { .. } => None,
            Guard::Skip => Some(1),
            Guard::RollBack { every } => Some(every.max(1)),
        }
    }

    /// Whether `step` is to look at the report now.
    fn is_due(&self) -> bool {
        matches!(self.guard, Guard::Stop { every } if self.steps.is_multiple_of(every.max(1)))
    }
}

/// What a guard keeps for an arena.
#[derive(Default)]
pub(super) struct Guarded {
    /// For each 64 elements the rank of the parameter that lies there.
    ranks: Option<Tensor>,
    /// Copies of parameters and states.
    copies: Vec<Arena>,
    /// Whether the copies have been made.
    copied: bool,
}

impl Flat {
    /// Parameters and states, each as one vector, with their copies.
    fn with_copies(&self) -> impl Iterator<Item = (Tensor, Tensor)> {
        let own = std::iter::once(&*self.weights).chain(&self.states);
        own.zip(&self.guarded.copies).map(|(own, copy)| (own.flat.tensor(), copy.flat.tensor()))
    }

    /// Makes what `watch` needs and there is not yet.
    fn cover(&mut self, device: &Device, watch: &Watch, ranks: &HashMap<String, usize>) -> Result<()> {
        if self.guarded.ranks.is_none() {
            let mut units = vec![0; self.weights.chunk.bytes() as usize / ALIGN as usize];
            for m in &self.members {
                let rank = ranks.get(m.param.name()).map_or(0, |&rank| rank.min(KIND as usize - 1) as i64);
                units[(m.start / ALIGN) as usize..(m.end / ALIGN) as usize].fill(rank);
            }
            self.guarded.ranks = Some(device.indices(&units, [units.len()]));
        }
        if watch.copies_every().is_some() && self.guarded.copies.is_empty() {
            let copy = |_| Arena::new(device, self.weights.chunk.bytes(), "copies");
            self.guarded.copies = (0..=self.states.len()).map(copy).collect::<Result<_>>()?;
        }
        Ok(())
    }
}

impl<R: Rule> Optimizer<R> {
    /// Watches gradients, parameters and states from the next step on, or not any more. What was seen before is forgotten.
    ///
    /// ```
    /// use recurve::optim::{Guard, Quantity};
    /// use recurve::{Device, Init, Params, Sgd, SgdConfig};
    /// let p = Params::new(&Device::cpu(), 0);
    /// let w = p.root().param("w", [2], Init::Ones);
    /// let mut opt = Sgd::new(&p, SgdConfig { lr: 0.5, ..Default::default() });
    /// opt.set_guard(Some(Guard::Skip));
    /// for x in [1.0, f32::NAN, 1.0] {
    ///     opt.step_with(|_| Some(p.device().full(x, [2])))?;
    /// }
    /// assert_eq!(w.tensor().to_vec()?, [0.0, 0.0]);
    /// let seen = opt.divergence()?.expect("one step was skipped");
    /// assert_eq!((seen.step, seen.steps, seen.what), (2, 1, Quantity::Gradient));
    /// # Ok::<(), recurve::Error>(())
    /// ```
    pub fn set_guard(&mut self, guard: Option<Guard>) {
        self.watch = guard.map(|guard| Watch { guard, steps: 0, report: None });
        self.arenas.iter_mut().for_each(|flat| flat.guarded = Guarded::default());
    }

    /// The guard, if there is one.
    pub fn guard(&self) -> Option<Guard> {
        self.watch.as_ref().map(|w| w.guard)
    }

    /// The first step under the present guard with a value that is not finite, if there was any. Runs what is pending and
    /// waits.
    ///
    /// # Errors
    /// Whatever stopped the computation: see [`Error`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn divergence(&self) -> Result<Option<Divergence>> {
        pollster::block_on(self.divergence_async())
    }

    /// [`divergence`](Optimizer::divergence), without blocking the thread.
    ///
    /// # Errors
    /// As `divergence`.
    pub async fn divergence_async(&self) -> Result<Option<Divergence>> {
        let Some(report) = self.watch.as_ref().and_then(|w| w.report.as_ref()) else { return Ok(None) };
        let values = report.tensor().to_vec_async().await?;
        let [steps, key, low, high] = [0, 1, 2, 3].map(|i| values[i] as u64);
        if steps == 0 {
            return Ok(None);
        }
        let (kind, rank) = (key / u64::from(KIND), (key % u64::from(KIND)) as usize);
        let what = match kind {
            0 => Quantity::Gradient,
            1 => Quantity::Weight,
            state => {
                Quantity::State(self.rule.states().get(state as usize - 2).copied().unwrap_or("unknown"))
            }
        };
        let parameter = self.params.named().get(rank).map(|p| p.name().to_string()).unwrap_or_default();
        Ok(Some(Divergence { step: low + (high << 16), what, parameter, steps }))
    }

    /// Makes what the guard needs.
    pub(super) fn cover_guard(&mut self) -> Result<()> {
        let Some(watch) = &mut self.watch else { return Ok(()) };
        let device = self.params.device();
        if watch.report.is_none() {
            watch.report = Some(Arena::new(device, ALIGN, "report")?.part(device, 0, 4 * REPORT as u64));
        }
        let new = self.arenas.iter().any(|flat| flat.guarded.ranks.is_none());
        let ranks = if new { ranks(&self.params) } else { HashMap::new() };
        self.arenas.iter_mut().try_for_each(|flat| flat.cover(device, watch, &ranks))
    }

    /// Forgets what was seen, where parameters and states come from elsewhere now.
    pub(super) fn restart_guard(&mut self) -> Result<()> {
        let Some(watch) = &mut self.watch else { return Ok(()) };
        watch.steps = 0;
        self.arenas.iter_mut().for_each(|flat| flat.guarded.copied = false);
        watch.report.as_ref().map_or(Ok(()), |report| report.set(&[0.0; REPORT]))
    }

    /// Appends the copies from before the updates.
    pub(super) fn append_copies(&mut self) {
        let Some(watch) = &self.watch else { return };
        let Some(every) = watch.copies_every() else { return };
        for flat in &mut self.arenas {
            let wanted = !flat.guarded.copied || watch.steps.is_multiple_of(every);
            for (own, copy) in flat.with_copies() {
                let op = CopyIf { wanted: Wanted::Scalar };
                Tensor::apply(op, &[&own, &copy], &[Scalar::U(u32::from(wanted))]);
            }
            flat.guarded.copied = true;
        }
    }

    /// Appends the search behind the updates `due`, and what undoes them.
    pub(super) fn append_watch(&mut self, due: &[Due]) {
        let Some(watch) = &mut self.watch else { return };
        let Some(report) = &watch.report else { return };
        watch.steps += 1;
        let mut keys = Vec::new();
        for d in due {
            let Some(ranks) = &self.arenas[d.arena].guarded.ranks else { continue };
            // Gradients count before the parameters that are made with them.
            let mut tensors: Vec<&Tensor> = d.operands.iter().collect();
            tensors.swap(0, 1);
            for (at, tensors) in tensors.chunks(MAX_TENSORS).enumerate() {
                let op = NonFinite { first: d.start as usize / ALIGN as usize };
                let kind = Scalar::U((at * MAX_TENSORS) as u32);
                keys.push(Tensor::apply1(op, &[tensors, &[ranks]].concat(), &[kind]));
            }
        }
        let keys = match &keys[..] {
            [one] => one.clone(),
            many => Tensor::concat(&many.iter().collect::<Vec<_>>(), 0),
        };
        let members = self.arenas.iter().flat_map(|flat| &flat.members);
        let step = members.map(|m| m.steps).max().unwrap_or(0) + 1;
        let found = Tensor::apply1(NoteNonFinite, &[&keys, &report.tensor()], &[Scalar::U(step as u32)]);
        for (own, copy) in self.arenas.iter().flat_map(Flat::with_copies) {
            Tensor::apply(CopyIf { wanted: Wanted::Tensor }, &[&copy, &own, &found], &[]);
        }
    }

    /// Returns what the guard stops at, when it is time to look.
    pub(super) async fn look(&self) -> Result<()> {
        if !self.watch.as_ref().is_some_and(Watch::is_due) {
            return Ok(());
        }
        match self.divergence_async().await {
            Ok(Some(divergence)) => Err(Error::Diverged(divergence)),
            // A plan never diverges.
            Ok(None) | Err(Error::PlanOnly) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Where each parameter stands in the order of registration.
fn ranks(params: &Params) -> HashMap<String, usize> {
    params.named().iter().enumerate().map(|(rank, p)| (p.name().to_string(), rank)).collect()
}
