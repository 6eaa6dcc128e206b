//! Chooses kernels: for each step the first of its op's candidates that fits the target. The rule is deterministic,
//! so the same adapter, driver and build always compute the same bits.

use super::{Origin, Program, Step};
use crate::error::{Error, Result};
use crate::kernel::{Bind, Candidate, Misfit, Target};
use crate::op::Io;
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
        let chosen = choose(step, &inputs, &outputs, target)?;
        p.steps[i].kernels = Some(chosen);
    }
    Ok(())
}

/// Every candidate of `step`'s op that fits the target, best first.
pub(crate) fn fitting(
    op: &dyn crate::op::Op,
    inputs: &[Spec],
    outputs: &[Spec],
    target: &Target,
) -> (Vec<Candidate>, Option<Misfit>) {
    let mut misfit = None;
    let mut candidates = op.kernels(Io { inputs, outputs }, target);
    candidates.retain(|c| {
        let size = |b: Bind| match b {
            Bind::Input(i) => inputs[i].padded_bytes(),
            Bind::Output(i) => outputs[i].padded_bytes(),
            Bind::Scratch(i) => c.scratch[i],
        };
        let reason = c.misfit(target, size);
        misfit = reason.or(misfit);
        reason.is_none()
    });
    (candidates, misfit)
}

/// Replaces what was chosen by the fitting candidate with index `variant`.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn force(p: &mut Program, target: &Target, variant: usize) -> Result<()> {
    for i in 0..p.steps.len() {
        if p.steps[i].kernels.is_none() {
            continue;
        }
        let (inputs, outputs) = p.specs(&p.steps[i]);
        let (candidates, misfit) = fitting(&*p.steps[i].op, &inputs, &outputs, target);
        let chosen = candidates.into_iter().nth(variant);
        p.steps[i].kernels = Some(chosen.ok_or_else(|| no_kernel(&p.steps[i], &inputs, misfit))?);
    }
    Ok(())
}

fn no_kernel(step: &Step, inputs: &[Spec], misfit: Option<Misfit>) -> Error {
    let shapes: Vec<String> = inputs.iter().map(Spec::to_string).collect();
    let misfit = misfit.unwrap_or(Misfit::StorageBuffers);
    Error::NoKernel { op: step.op.name(), shapes: shapes.join(", "), misfit }
}

fn choose(step: &Step, inputs: &[Spec], outputs: &[Spec], target: &Target) -> Result<Candidate> {
    let (mut candidates, misfit) = fitting(&*step.op, inputs, outputs, target);
    if candidates.is_empty() {
        return Err(no_kernel(step, inputs, misfit));
    }
    Ok(candidates.swap_remove(0))
}

/// Chooses kernels for the values that did not come to lie where a step places them.
pub(crate) fn choose_copies(p: &mut Program, target: Option<&Target>) -> Result<()> {
    let Some(target) = target else { return Ok(()) };
    for step in &mut p.steps {
        for copy in step.unplaced.iter_mut().filter(|c| p.values[c.value].spec.elements() > 0) {
            // As a row: how the value is shaped does not matter to a copy.
            let row = [Spec::f32([p.values[copy.value].spec.elements()])];
            let (candidates, misfit) = fitting(&Pointwise::single(Function::Copy), &row, &row, target);
            let Some(chosen) = candidates.into_iter().next() else {
                let misfit = misfit.unwrap_or(Misfit::StorageBuffers);
                return Err(Error::NoKernel { op: step.op.name(), shapes: row[0].to_string(), misfit });
            };
            copy.dispatches = chosen.dispatches;
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
