//! For tests of ops, yours too: runs every variant of an op against its reference, and checks gradients.
//!
//! A [`Case`] is an op with inputs to be filled. [`check_variants`] runs each of the op's kernel variants that fit a
//! device and compares them with the op's f64 reference; [`check_gradient`] compares the op's gradient rule with
//! finite differences. Inputs depend on nothing but the seed.
//!
//! Nothing here is needed for training; it exists on native targets only.

mod compare;
mod gradient;
mod run;

pub(crate) use compare::bounds_by;
pub use compare::{Mismatch, bounds, compare};
pub use gradient::{GradientError, check_gradient, is_differentiable};
pub(crate) use run::{POISON, Stopwatch};
pub use run::{
    VariantError, check_variants, execute_node_by_node, explain_for, explanation_for, run_variant, variable,
    variants,
};

use crate::op::{Case, Fill, Io, RefIo, Scalar, View, ViewMut};
use crate::shape::{DType, Spec};
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// Values for the inputs of `case`: exact in f32, the same for the same seed on every machine.
pub fn fill(case: &Case, seed: u64) -> Vec<Vec<f64>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut all: Vec<Vec<f64>> =
        case.inputs.iter().map(|(spec, fill)| values(spec, *fill, &mut rng)).collect();
    if case.op.places().is_some() {
        // An arena's padding is zero, and kernels may write zeros there.
        all[0].fill(0.0);
    }
    all
}

fn values(spec: &Spec, fill: Fill, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let n = spec.elements();
    let exact = |v: f64| match spec.dtype {
        DType::F32 => v as f32 as f64,
        DType::U32 => v.round().max(0.0),
    };
    match fill {
        Fill::Normal { mean, std } => (0..n).map(|_| exact(mean + std * normal(rng))).collect(),
        Fill::Uniform { low, high } => {
            (0..n).map(|_| exact(low + (high - low) * rng.random::<f64>())).collect()
        }
        Fill::Distinct => {
            // A step that f32 holds exactly, so that no two values come closer by rounding.
            const STEP: f64 = 1.0 / 64.0;
            let value = |i: usize| match spec.dtype {
                DType::F32 => exact((i as f64 - (n / 2) as f64) * STEP),
                DType::U32 => i as f64,
            };
            let mut all: Vec<f64> = (0..n).map(value).collect();
            all.shuffle(rng);
            all
        }
        Fill::Ties => (0..n).map(|_| exact(0.5 * (f64::from(rng.random_range(0..5u32)) - 2.0))).collect(),
        Fill::Index { below } => (0..n).map(|_| f64::from(rng.random_range(0..below.max(1)))).collect(),
    }
}

/// A standard normal number (Box and Muller 1958).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// What the op's reference computes, in f64: its outputs, then the inputs that it updates.
///
/// # Panics
/// When the op's shape rule refuses the case.
pub fn run_reference(case: &Case, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    reference_with(case, inputs, case.scalars.iter().map(|s| s.value()).collect())
}

fn reference_with(case: &Case, inputs: &[Vec<f64>], scalars: Vec<f64>) -> Vec<Vec<f64>> {
    let (specs, outputs) = specs(case);
    let updates = case.op.updates();
    // Whatever the reference does not write shows as NaN.
    let mut results: Vec<Vec<f64>> = outputs.iter().map(|o| vec![f64::NAN; o.elements()]).collect();
    let mut updated: Vec<Vec<f64>> = updates.iter().map(|&i| inputs[i].clone()).collect();
    if let Some(offsets) = case.op.places() {
        for (&offset, input) in offsets.iter().zip(&inputs[1..]) {
            updated[0][offset as usize / 4..][..input.len()].copy_from_slice(input);
        }
        return updated;
    }
    let view = |(i, spec): (usize, &Spec)| {
        let data: &[f64] = if updates.contains(&i) { &[] } else { &inputs[i] };
        View { shape: spec.shape, data }
    };
    let mut io = RefIo {
        inputs: specs.iter().enumerate().map(view).collect(),
        outputs: (results.iter_mut().zip(&outputs))
            .map(|(data, spec)| ViewMut { shape: spec.shape, data })
            .collect(),
        updated: (updated.iter_mut().zip(updates))
            .map(|(data, &i)| ViewMut { shape: specs[i].shape, data })
            .collect(),
        scalars,
    };
    case.op.reference(&mut io);
    drop(io);
    results.extend(updated);
    results
}

/// Specs of a case's inputs and outputs.
///
/// # Panics
/// When the op's shape rule refuses the inputs.
pub fn specs(case: &Case) -> (Vec<Spec>, Vec<Spec>) {
    let inputs: Vec<Spec> = case.inputs.iter().map(|i| i.0).collect();
    let outputs = case.op.outputs(&inputs);
    let outputs = outputs.unwrap_or_else(|e| panic!("{:?} of {inputs:?}: expected {}", case.op, e.0));
    (inputs, outputs)
}

/// Specs of what [`run_reference`] returns.
pub fn result_specs(case: &Case) -> Vec<Spec> {
    let (inputs, mut outputs) = specs(case);
    outputs.extend(case.op.updates().iter().map(|&i| inputs[i]));
    outputs
}

/// The case in a line: op with its fields, operands, scalars.
pub fn describe(case: &Case) -> String {
    let operands: Vec<String> = case.inputs.iter().map(|(s, f)| format!("{s} {f:?}")).collect();
    let scalars: Vec<f64> = case.scalars.iter().map(|s| Scalar::value(*s)).collect();
    format!("{} {:?}({}) scalars {scalars:?}", case.op.name(), case.op, operands.join(", "))
}

/// Calls `f` with the op's operands and results by shape.
fn with_io<T>(case: &Case, f: impl FnOnce(Io<'_>) -> T) -> T {
    let (inputs, outputs) = specs(case);
    f(Io { inputs: &inputs, outputs: &outputs })
}
