//! How far a kernel's results may be from the reference's, and the report when they are farther.

use super::{reference_with, result_specs, with_io};
use crate::op::{Case, Scalar, Tolerance};
use crate::shape::DType;
use std::fmt;

/// Below this, f32 numbers are denormal: some GPUs flush them to zero.
const SMALLEST_NORMAL: f64 = f32::MIN_POSITIVE as f64;

/// Half the distance between 1 and the next f32 below two: the relative error of one rounding.
const UNIT: f64 = 1.0 / (1u64 << 24) as f64;

/// The largest allowed difference for each element of each result of [`run_reference`](super::run_reference),
/// from the op's [`Tolerance`].
pub fn bounds(case: &Case, inputs: &[Vec<f64>], want: &[Vec<f64>]) -> Vec<Vec<f64>> {
    bounds_by(case, want, || Some(magnitude(case, inputs))).expect("the reference has results")
}

/// [`bounds`] with the results on absolute inputs from elsewhere, if they can be had.
pub(crate) fn bounds_by(
    case: &Case,
    want: &[Vec<f64>],
    magnitude: impl Fn() -> Option<Vec<Vec<f64>>>,
) -> Option<Vec<Vec<f64>>> {
    let tolerances: Vec<Tolerance> =
        (0..want.len()).map(|k| with_io(case, |io| case.op.tolerance(io, k))).collect();
    let scaled = |t: &Tolerance| matches!(t, Tolerance::Product { .. } | Tolerance::Sum { .. });
    let sums = if tolerances.iter().any(scaled) { magnitude()? } else { Vec::new() };
    let mut all = Vec::new();
    for (k, (want, tolerance)) in want.iter().zip(tolerances).enumerate() {
        let scaled = |factor: f64| -> Vec<f64> {
            sums[k].iter().map(|s| factor * s.abs() + SMALLEST_NORMAL).collect()
        };
        all.push(match tolerance {
            Tolerance::Exact => vec![0.0; want.len()],
            Tolerance::Ulp(n) => want.iter().map(|&w| n * ulp(w) + SMALLEST_NORMAL).collect(),
            Tolerance::UlpOrAbsolute(n, a) => {
                want.iter().map(|&w| (n * ulp(w)).max(a) + SMALLEST_NORMAL).collect()
            }
            Tolerance::Product { inner } => scaled(inner as f64 * UNIT),
            Tolerance::Sum { n } => scaled(((n.max(1) as f64).log2() + 8.0) * UNIT),
            Tolerance::OfMax(factor) => {
                let max = want.iter().filter(|w| w.is_finite()).fold(0.0, |m: f64, w| m.max(w.abs()));
                vec![factor * max + SMALLEST_NORMAL; want.len()]
            }
            Tolerance::Absolute(a) => vec![a; want.len()],
        });
    }
    Some(all)
}

/// The reference's results on absolute inputs and scalars: the sums of absolute products that rounding errors are
/// measured by.
fn magnitude(case: &Case, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let absolute: Vec<Vec<f64>> = (inputs.iter().zip(&case.inputs))
        .map(|(data, (spec, _))| match spec.dtype {
            DType::F32 => data.iter().map(|v| v.abs()).collect(),
            DType::U32 => data.clone(),
        })
        .collect();
    let scalar = |s: &Scalar| match s {
        Scalar::F(v) => v.abs(),
        Scalar::U(v) => f64::from(*v),
    };
    reference_with(case, &absolute, case.scalars.iter().map(scalar).collect())
}

/// The distance between neighbouring f32 numbers at `x`.
fn ulp(x: f64) -> f64 {
    let x = (x.abs() as f32).min(f32::MAX);
    let exponent = (x.to_bits() >> 23) as i32;
    2f64.powi(exponent.max(1) - 127 - 23)
}

/// The first report of a failed comparison: the element that is farthest outside its bound.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct Mismatch {
    /// What was compared.
    pub what: String,
    /// The worst element.
    pub index: usize,
    /// Its value.
    pub got: f64,
    /// The value it should have.
    pub want: f64,
    /// The difference that is allowed.
    pub bound: f64,
    /// What the inputs were made from.
    pub seed: u64,
    /// How many elements are wrong.
    pub wrong: usize,
    /// How many elements there are.
    pub elements: usize,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { what, index, got, want, bound, seed, wrong, elements } = self;
        let difference = (got - want).abs();
        write!(
            f,
            "{what}: element {index} is {got:e} instead of {want:e}: {difference:.3e} apart, {bound:.3e} allowed \
             ({wrong} of {elements} wrong, seed {seed})"
        )
    }
}

/// Compares element by element. A NaN in only one of two is a difference, whatever the bound.
///
/// # Errors
/// [`Mismatch`] tells the worst element.
pub fn compare(
    what: &str,
    got: &[f64],
    want: &[f64],
    bounds: &[f64],
    seed: u64,
) -> Result<(), Box<Mismatch>> {
    assert_eq!((got.len(), bounds.len()), (want.len(), want.len()), "elements of {what}");
    let mut worst: Option<(f64, usize)> = None;
    let mut wrong = 0;
    for (i, ((&g, &w), &bound)) in got.iter().zip(want).zip(bounds).enumerate() {
        // Exact results of f32 are the reference's, rounded.
        let agree = g == w
            || (bound == 0.0 && g == f64::from(w as f32))
            || (g.is_nan() && w.is_nan())
            || (g - w).abs() <= bound;
        if agree {
            continue;
        }
        wrong += 1;
        let excess = match (g - w).abs() / bound {
            e if e.is_nan() => f64::INFINITY,
            e => e,
        };
        if worst.is_none_or(|(e, _)| excess > e) {
            worst = Some((excess, i));
        }
    }
    let Some((_, index)) = worst else { return Ok(()) };
    Err(Box::new(Mismatch {
        what: what.into(),
        index,
        got: got[index],
        want: want[index],
        bound: bounds[index],
        seed,
        wrong,
        elements: want.len(),
    }))
}

/// Names of the results of a case, for reports.
pub(super) fn result_name(case: &Case, k: usize) -> String {
    let outputs = result_specs(case).len() - case.op.updates().len();
    match k.checked_sub(outputs) {
        None => format!("output {k}"),
        Some(u) => format!("updated input {}", case.op.updates()[u]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_on_one_side_is_a_difference() {
        let far = [f64::INFINITY];
        assert!(compare("x", &[f64::NAN], &[1.0], &far, 0).is_err());
        assert!(compare("x", &[1.0], &[f64::NAN], &far, 0).is_err());
        assert!(compare("x", &[f64::NAN], &[f64::NAN], &[0.0], 0).is_ok());
        assert!(compare("x", &[f64::INFINITY], &[1.0], &[1e9], 0).is_err());
    }

    #[test]
    fn the_worst_element_is_reported() {
        let e = compare("x", &[1.0, 2.5, 3.1], &[1.0, 2.0, 3.0], &[0.1, 0.1, 0.01], 7).unwrap_err();
        assert_eq!((e.index, e.wrong, e.elements, e.seed), (2, 2, 3, 7));
    }

    #[test]
    fn units_in_the_last_place() {
        assert_eq!(ulp(1.0), 2f64.powi(-23));
        assert_eq!(ulp(1.999), 2f64.powi(-23));
        assert_eq!(ulp(-2.0), 2f64.powi(-22));
        assert_eq!(ulp(0.0), 2f64.powi(-149));
    }
}
