//! Gradient rules against finite differences, on the reference in f64.

use super::compare::Mismatch;
use super::{compare, fill, run_reference, specs};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::op::Case;
use crate::shape::{DType, Shape};
use crate::tensor::Tensor;
use crate::trace;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use std::panic::Location;

/// Step of the central differences.
const STEP: f64 = 1e-6;
const ABSOLUTE: f64 = 1e-5;
const RELATIVE: f64 = 1e-3;

/// Why a gradient check failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GradientError {
    /// The rule's values are not those of finite differences.
    #[error(transparent)]
    Mismatch(#[from] Box<Mismatch>),
    /// The rule gives no gradient, though the result changes with the input.
    #[error("{what}: no gradient, but finite differences give {slope:e}")]
    Missing {
        /// The case and the input.
        what: String,
        /// The largest slope.
        slope: f64,
    },
    /// The case asks for a check of an op without a floating-point result.
    #[error("{case}: no result has a gradient to check")]
    NoResult {
        /// The case.
        case: String,
    },
    /// The rule gives a gradient of an input that the case calls a constant.
    #[error("{what}: a gradient of a constant")]
    OfConstant {
        /// The case and the input.
        what: String,
    },
    /// The program did not run.
    #[error(transparent)]
    Run(#[from] Error),
}

/// The results of a case's op on `inputs`, traced on `device`.
#[track_caller]
fn apply(device: &Device, case: &Case, inputs: &[Tensor]) -> Vec<Tensor> {
    let (_, outputs) = specs(case);
    let inputs: Vec<&Tensor> = inputs.iter().collect();
    trace::append(device, case.op.clone(), &inputs, &case.scalars, &outputs, Location::caller())
}

fn upload(device: &Device, case: &Case, inputs: &[Vec<f64>]) -> Vec<Tensor> {
    (case.inputs.iter().zip(inputs))
        .map(|((spec, _), data)| match spec.dtype {
            DType::F32 => device.tensor_f64(data, spec.shape).requires_grad(),
            DType::U32 => super::run::upload_indices(device, data, spec.shape),
        })
        .collect()
}

/// Whether the op's rule gives a gradient for any input of `case`. Nothing is computed.
pub fn is_differentiable(case: &Case) -> bool {
    if !case.op.updates().is_empty() {
        return false;
    }
    let device = Device::cpu_f64();
    let zeros: Vec<Vec<f64>> = case.inputs.iter().map(|(s, _)| vec![0.0; s.elements()]).collect();
    let inputs = upload(&device, case, &zeros);
    apply(&device, case, &inputs).iter().filter(|y| y.is_f32()).any(|y| {
        let dy = device.full(1.0, y.shape());
        let gradients = y.backward_with(&dy);
        inputs.iter().any(|x| gradients.wrt(x).is_some())
    })
}

/// Compares the gradient rule of a case's op with central differences of its reference, for a random upstream
/// gradient of all results together, and of each alone: rules must cope with results that nothing flows to.
///
/// # Errors
/// [`GradientError`] names the case, the input and the worst element.
pub fn check_gradient(case: &Case, seed: u64) -> Result<(), GradientError> {
    let inputs = fill(case, seed);
    let (_, outputs) = specs(case);
    let smooth = |j: &usize| outputs[*j].dtype == DType::F32 && !case.kept.contains(j);
    let smooth: Vec<usize> = (0..outputs.len()).filter(smooth).collect();
    if smooth.is_empty() {
        return Err(GradientError::NoResult { case: super::describe(case) });
    }
    check_flow(case, &inputs, &smooth, seed)?;
    if smooth.len() > 1 {
        for &j in &smooth {
            check_flow(case, &inputs, &[j], seed)?;
        }
    }
    Ok(())
}

/// The check with a gradient that flows into `through` only.
fn check_flow(case: &Case, inputs: &[Vec<f64>], through: &[usize], seed: u64) -> Result<(), GradientError> {
    let (_, outputs) = specs(case);
    let mut rng = ChaCha8Rng::seed_from_u64(!seed);
    let upstream: Vec<Vec<f64>> =
        (outputs.iter()).map(|o| (0..o.elements()).map(|_| 0.5 + rng.random::<f64>()).collect()).collect();
    let value = |inputs: &[Vec<f64>]| -> f64 {
        let results = run_reference(case, inputs);
        through.iter().map(|&j| results[j].iter().zip(&upstream[j]).map(|(y, r)| y * r).sum::<f64>()).sum()
    };
    let rules = by_rule(case, inputs, through, &upstream)?;
    for (i, (spec, _)) in case.inputs.iter().enumerate().filter(|(_, (s, _))| s.dtype == DType::F32) {
        let what = format!("gradient of input {i} through results {through:?} of {}", super::describe(case));
        if case.constants.contains(&i) {
            match &rules[i] {
                None => continue,
                Some(_) => return Err(GradientError::OfConstant { what }),
            }
        }
        let mut shifted = inputs.to_vec();
        let mut slope = |at: usize| {
            let mut side = |step: f64| {
                shifted[i][at] = inputs[i][at] + step;
                value(&shifted)
            };
            let slope = (side(STEP) - side(-STEP)) / (2.0 * STEP);
            shifted[i][at] = inputs[i][at];
            slope
        };
        let differences: Vec<f64> = (0..spec.elements()).map(&mut slope).collect();
        match &rules[i] {
            Some(rule) => {
                let bounds: Vec<f64> = differences.iter().map(|d| ABSOLUTE + RELATIVE * d.abs()).collect();
                compare(&what, rule, &differences, &bounds, seed)?;
            }
            None => {
                let slope = differences.iter().fold(0.0, |m: f64, d| m.max(d.abs()));
                if slope > ABSOLUTE {
                    return Err(GradientError::Missing { what, slope });
                }
            }
        }
    }
    Ok(())
}

/// What the gradient rule computes for each input.
fn by_rule(
    case: &Case,
    inputs: &[Vec<f64>],
    through: &[usize],
    upstream: &[Vec<f64>],
) -> Result<Vec<Option<Vec<f64>>>> {
    let device = Device::cpu_f64();
    let leaves = upload(&device, case, inputs);
    let results = apply(&device, case, &leaves);
    let flat = |t: &Tensor| t.reshape(Shape::new(&[t.shape().elements()]));
    let parts: Vec<Tensor> = through.iter().map(|&j| flat(&results[j])).collect();
    let dy: Vec<f64> = through.iter().flat_map(|&j| upstream[j].iter().copied()).collect();
    let joined = match &parts[..] {
        [only] => only.clone(),
        several => Tensor::concat(&several.iter().collect::<Vec<_>>(), 0),
    };
    let gradients = joined.backward_with(&device.tensor_f64(&dy, [dy.len()]));
    gradients.check()?;
    let read = |x: &Tensor| gradients.wrt(x).map(|dx| dx.to_vec_f64()).transpose();
    leaves.iter().map(read).collect()
}
