//! Chooses kernels: for each step the first of its op's candidates that fits the target. The rule is deterministic,
//! so the same adapter, driver and build always compute the same bits.

use super::{Origin, PassedOver, Program, Step, Why};
use crate::error::{Error, Result};
use crate::kernel::{Bind, Candidate, Misfit, Target};
use crate::op::{Io, Op};
use crate::pointwise::{Function, Pointwise};
use crate::shape::Spec;

/// Chooses for every step that has something to compute.
pub(crate) fn choose_kernels(p: &mut Program, target: &Target) -> Result<()> {
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
        choose(&mut p.steps[i], &inputs, &outputs, target, 0)?;
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

    /// The one with index `variant` of those that fit, and what becomes of the others.
    fn take(mut self, variant: usize) -> Option<(Candidate, Vec<PassedOver>)> {
        let fits = |&(_, (_, misfit)): &(usize, &(_, Option<Misfit>))| misfit.is_none();
        let (at, _) = self.0.iter().enumerate().filter(fits).nth(variant)?;
        let (taken, _) = self.0.remove(at);
        let mut passed_over: Vec<PassedOver> = Vec::new();
        for (candidate, misfit) in &self.0 {
            // A base variant may stand in two places.
            let known = candidate.variant == taken.variant
                || passed_over.iter().any(|p| p.variant == candidate.variant);
            if !known {
                let why = misfit.map_or(Why::Later, Why::Misfit);
                passed_over.push(PassedOver { variant: candidate.variant, why });
            }
        }
        Some((taken, passed_over))
    }

    /// [`take`](Candidates::take), or what the last candidate lacks.
    fn taken(self, op: &dyn Op, inputs: &[Spec], variant: usize) -> Result<(Candidate, Vec<PassedOver>)> {
        let misfit = self.0.iter().rev().find_map(|(_, misfit)| *misfit).unwrap_or(Misfit::StorageBuffers);
        self.take(variant).ok_or_else(|| {
            let shapes: Vec<String> = inputs.iter().map(Spec::to_string).collect();
            Error::NoKernel { op: op.name(), shapes: shapes.join(", "), misfit }
        })
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
        choose(&mut p.steps[i], &inputs, &outputs, target, variant)?;
    }
    Ok(())
}

/// Gives `step` the fitting candidate with index `variant`.
fn choose(step: &mut Step, inputs: &[Spec], outputs: &[Spec], target: &Target, variant: usize) -> Result<()> {
    let candidates = Candidates::of(&*step.op, inputs, outputs, target);
    let (taken, passed_over) = candidates.taken(&*step.op, inputs, variant)?;
    (step.kernels, step.passed_over) = (Some(taken), passed_over);
    Ok(())
}

/// Chooses kernels for the values that did not come to lie where a step places them.
pub(crate) fn choose_copies(p: &mut Program, target: Option<&Target>) -> Result<()> {
    let Some(target) = target else { return Ok(()) };
    for step in &mut p.steps {
        for copy in step.unplaced.iter_mut().filter(|c| p.values[c.value].spec.elements() > 0) {
            // As a row: how the value is shaped does not matter to a copy.
            let row = [Spec::f32([p.values[copy.value].spec.elements()])];
            let candidates = Candidates::of(&Pointwise::single(Function::Copy), &row, &row, target);
            copy.dispatches = candidates.taken(&*step.op, &row, 0)?.0.dispatches;
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
