//! Which candidates are right: those that agree with the op's f64 reference on inputs of a bounded size, and with the
//! base variant on the real ones.

use super::shrink::shrink;
use crate::device::Device;
use crate::op::{Case, Fill, Scalar};
use crate::program::choose::Question;
use crate::shape::{DType, Spec};
use crate::testing::{self, bounds, bounds_by, compare};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What inputs are made from.
const SEED: u64 = 5;
/// Where every op has a value, square roots and logarithms among them.
const POSITIVE: Fill = Fill::Uniform { low: 0.1, high: 1.0 };
/// Of both signs.
const MIXED: Fill = Fill::Uniform { low: -2.0, high: 2.0 };

/// Whether each candidate is right, or why that cannot be known.
pub(super) fn check(device: &Device, question: &Question<'_>) -> Result<Vec<bool>, String> {
    let target = device.target().ok_or("the reference has no kernels")?;
    let variants: Vec<&str> = question.candidates.iter().map(|c| c.variant).collect();
    let small = shrink(question.op, question.inputs, &variants, target)
        .ok_or("no smaller shapes are known that the reference could be run on")?;
    let mut right = vec![true; variants.len()];
    for fill in [POSITIVE, MIXED] {
        against_reference(device, &case(question, &small, fill), &variants, &mut right)?;
    }
    against_base(
        device,
        &case(question, question.inputs, POSITIVE),
        variants[question.base],
        &variants,
        &mut right,
    )?;
    Ok(right)
}

/// The op on inputs of these shapes. Indices are 0, which every op takes.
pub(super) fn case(question: &Question<'_>, inputs: &[Spec], fill: Fill) -> Case {
    let filled = |s: &Spec| match s.dtype {
        DType::F32 => (*s, fill),
        DType::U32 => (*s, Fill::Index { below: 1 }),
    };
    Case {
        op: question.op.share(),
        inputs: inputs.iter().map(filled).collect(),
        scalars: question.scalars.clone(),
        gradient: false,
        constants: Vec::new(),
    }
}

/// What a variant computes; `None` when it fails.
fn run(device: &Device, case: &Case, variant: &str, inputs: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let index = testing::variants(device, case).iter().position(|v| *v == variant)?;
    let run = || testing::run_variant(device, case, index, inputs);
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(results)) => Some(results),
        Ok(Err(error)) => {
            log::warn!("{variant} of {} failed: {error}", testing::describe(case));
            None
        }
        Err(_) => None,
    }
}

fn against_reference(
    device: &Device,
    case: &Case,
    variants: &[&str],
    right: &mut [bool],
) -> Result<(), String> {
    let inputs = testing::fill(case, SEED);
    let reference = || {
        let want = testing::run_reference(case, &inputs);
        let bounds = bounds(case, &inputs, &want);
        (want, bounds)
    };
    let (want, bounds) = catch_unwind(AssertUnwindSafe(reference))
        .map_err(|_| "the reference does not take made-up inputs".to_string())?;
    judge(device, case, &inputs, variants, right, &want, &bounds);
    Ok(())
}

/// The base variant has an error of its own, so the bound is twice the op's.
fn against_base(
    device: &Device,
    case: &Case,
    base: &str,
    variants: &[&str],
    right: &mut [bool],
) -> Result<(), String> {
    let none = || "the base variant does not run".to_string();
    let inputs = testing::fill(case, SEED);
    let want = run(device, case, base, &inputs).ok_or_else(none)?;
    let mut absolute = case.clone();
    for scalar in &mut absolute.scalars {
        if let Scalar::F(value) = scalar {
            *value = value.abs();
        }
    }
    // The inputs are positive as they are.
    let mut bounds = bounds_by(case, &want, || run(device, &absolute, base, &inputs)).ok_or_else(none)?;
    bounds.iter_mut().flatten().for_each(|b| *b *= 2.0);
    judge(device, case, &inputs, variants, right, &want, &bounds);
    Ok(())
}

/// Strikes out the variants whose results are not `want`. What has no finite value there is not compared.
fn judge(
    device: &Device,
    case: &Case,
    inputs: &[Vec<f64>],
    variants: &[&str],
    right: &mut [bool],
    want: &[Vec<f64>],
    bounds: &[Vec<f64>],
) {
    for (variant, right) in variants.iter().zip(right).filter(|(_, right)| **right) {
        let Some(mut got) = run(device, case, variant, inputs) else {
            *right = false;
            continue;
        };
        for (k, (got, want)) in got.iter_mut().zip(want).enumerate() {
            for (got, want) in got.iter_mut().zip(want).filter(|(_, want)| !want.is_finite()) {
                *got = *want;
            }
            let what = || format!("result {k} of variant {variant} of {}", testing::describe(case));
            if let Err(mismatch) = compare(&what(), got, want, &bounds[k], SEED) {
                log::warn!("{mismatch}");
                *right = false;
            }
        }
    }
}
