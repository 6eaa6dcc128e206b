//! Chooses kernels: for each step the first of its op's candidates that fits the target. The rule is deterministic,
//! so the same adapter, driver and build always compute the same bits. Who is asked to [`Choose`] may know better.

use super::choose::{Choose, Found, Question};
use super::{Origin, PassedOver, Program, Step, Why};
use crate::error::{Error, Result};
use crate::kernel::{Bind, Candidate, Misfit, Target};
use crate::op::{Io, Op, Scalar};
use crate::pointwise::{Function, Pointwise};
use crate::shape::Spec;

/// Chooses for every step that has something to compute. `wise` is asked with the run's scalars.
pub(crate) fn choose_kernels(
    p: &mut Program,
    target: &Target,
    wise: Option<(&dyn Choose, &[Scalar])>,
) -> Result<()> {
    for i in 0..p.steps.len() {
        let (inputs, outputs) = p.specs(&p.steps[i]);
        for (k, spec) in inputs.iter().chain(&outputs).enumerate() {
            // A flat arena is bound in parts by ops that update it, so only what a kernel binds whole is checked.
            let whole = k >= inputs.len() || p.steps[i].op.places().is_none();
            if whole && spec.padded_bytes() > target.max_binding {
                let bytes = spec.padded_bytes();
                return Err(Error::TensorTooLarge { spec: *spec, bytes, limit: target.max_binding });
            }
        }
        let step = &p.steps[i];
        let updated = step.op.updates().iter().map(|&u| &inputs[u]);
        if step.op.places().is_some() || outputs.iter().chain(updated).all(|s| s.elements() == 0) {
            continue;
        }
        let candidates = Candidates::of(&*step.op, &inputs, &outputs, target);
        let known = wise.and_then(|(wise, scalars)| candidates.ask(wise, step, &inputs, scalars));
        p.steps[i].give(candidates, &inputs, 0, known.unwrap_or_default())?;
    }
    Ok(())
}

/// The candidates of an op, in its order, and why they cannot run on the target.
pub(crate) struct Candidates(Vec<(Candidate, Option<Misfit>)>);

impl Candidates {
    /// What `op` offers for `target`.
    pub fn of(op: &dyn Op, inputs: &[Spec], outputs: &[Spec], target: &Target) -> Self {
        let misfit = |c: &Candidate| {
            c.misfit(target, |bind| match bind {
                Bind::Input(i) => inputs[i].padded_bytes(),
                Bind::Output(i) => outputs[i].padded_bytes(),
                Bind::Scratch(i) => c.scratch[i],
            })
        };
        let all = op.kernels(Io { inputs, outputs }, target).into_iter();
        Candidates(all.map(|c| (misfit(&c), c)).map(|(misfit, c)| (c, misfit)).collect())
    }

    /// Those that fit, best first.
    pub fn fitting(&self) -> impl Iterator<Item = &Candidate> {
        self.0.iter().filter(|(_, misfit)| misfit.is_none()).map(|(candidate, _)| candidate)
    }

    /// What `wise` knows about those that fit, the one to take first; `None` when it leaves the choice to the rule.
    fn ask(&self, wise: &dyn Choose, step: &Step, inputs: &[Spec], scalars: &[Scalar]) -> Option<Known> {
        let mut distinct: Vec<&Candidate> = Vec::new();
        for candidate in self.fitting() {
            // A base variant may stand in two places.
            if distinct.iter().all(|c| c.variant != candidate.variant) {
                distinct.push(candidate);
            }
        }
        if distinct.len() < 2 {
            return None;
        }
        let base = self.fitting().last()?.variant;
        let question = Question {
            op: &*step.op,
            inputs,
            scalars: step.scalars.iter().map(|&s| scalars[s]).collect(),
            base: distinct.iter().position(|c| c.variant == base)?,
            candidates: distinct,
        };
        let choice = wise.choose(&question)?;
        let mut known: Known = question.candidates.iter().map(|c| c.variant).zip(choice.found).collect();
        known.swap(0, choice.taken);
        Some(known)
    }

    /// Why there is none: what the last one lacks.
    fn none(&self, op: &dyn Op, inputs: &[Spec]) -> Error {
        let shapes: Vec<String> = inputs.iter().map(Spec::to_string).collect();
        let misfit = self.0.iter().rev().find_map(|(_, misfit)| *misfit).unwrap_or(Misfit::StorageBuffers);
        Error::NoKernel { op: op.name(), shapes: shapes.join(", "), misfit }
    }
}

/// Replaces what was chosen by the fitting candidate with index `variant`.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn force(p: &mut Program, target: &Target, variant: usize) -> Result<()> {
    for i in 0..p.steps.len() {
        if p.steps[i].kernels.is_none() {
            continue;
        }
        let (inputs, outputs) = p.specs(&p.steps[i]);
        let candidates = Candidates::of(&*p.steps[i].op, &inputs, &outputs, target);
        p.steps[i].give(candidates, &inputs, variant, Vec::new())?;
    }
    Ok(())
}

/// What was found out about candidates, by variant.
type Known = Vec<(&'static str, Found)>;

impl Step {
    /// Gives the step the first variant of which something is known, or the fitting candidate with index `rule`.
    fn give(&mut self, candidates: Candidates, inputs: &[Spec], rule: usize, known: Known) -> Result<()> {
        let mut fitting = candidates.fitting();
        let taken = match known.first() {
            Some((variant, _)) => fitting.find(|c| c.variant == *variant),
            None => fitting.nth(rule),
        };
        let taken = taken.ok_or_else(|| candidates.none(&*self.op, inputs))?.clone();
        drop(fitting);
        self.passed_over.clear();
        for (candidate, misfit) in &candidates.0 {
            let variant = candidate.variant;
            if variant == taken.variant || self.passed_over.iter().any(|p| p.variant == variant) {
                continue;
            }
            let found = known.iter().find(|(v, _)| *v == variant).map(|(_, found)| *found);
            let why = match (misfit, found) {
                (Some(misfit), _) => Why::Misfit(*misfit),
                (None, Some(found)) => Why::Found(found),
                (None, None) => Why::Later,
            };
            self.passed_over.push(PassedOver { variant, why });
        }
        self.found = known.first().map(|(_, found)| *found);
        self.kernels = Some(taken);
        Ok(())
    }
}

/// Chooses kernels for the values that did not come to lie where a step places them.
pub(crate) fn choose_copies(p: &mut Program, target: Option<&Target>) -> Result<()> {
    let Some(target) = target else { return Ok(()) };
    for step in &mut p.steps {
        for copy in step.unplaced.iter_mut().filter(|c| p.values[c.value].spec.elements() > 0) {
            // As a row: how the value is shaped does not matter to a copy.
            let row = [Spec::f32([p.values[copy.value].spec.elements()])];
            let candidates = Candidates::of(&Pointwise::single(Function::Copy), &row, &row, target);
            let taken = candidates.fitting().next().ok_or_else(|| candidates.none(&*step.op, &row))?;
            copy.dispatches = taken.dispatches.clone();
        }
    }
    Ok(())
}

impl Program {
    /// Whether value `id` is a variable.
    pub(crate) fn is_variable(&self, id: usize) -> bool {
        matches!(self.values[self.root(id)].origin, Origin::Variable(_))
    }
}
