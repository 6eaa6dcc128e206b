//! Whether a candidate is right: it agrees with the op's f64 reference on inputs of a bounded size, and with the base
//! variant on the real ones.

use super::shrink::shrink;
use crate::device::Device;
use crate::op::{Case, Fill, Scalar};
use crate::program::choose::Question;
use crate::shape::{DType, Spec};
use crate::testing::{self, bounds, bounds_by, compare};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What inputs are made from.
const SEED: u64 = 5;
/// Of both signs, as in the ops' own cases: this is where their tolerances hold.
const MIXED: Fill = Fill::Uniform { low: -2.0, high: 2.0 };
/// Where every op has a value, square roots and logarithms among them.
pub(super) const POSITIVE: Fill = Fill::Uniform { low: 0.1, high: 1.0 };

/// Inputs, and what must come of them.
struct Trial {
    case: Case,
    inputs: Vec<Vec<f64>>,
    want: Vec<Vec<f64>>,
    bounds: Vec<Vec<f64>>,
}

/// Judges the candidates of one op.
pub(super) struct Judge<'a> {
    device: &'a Device,
    trials: Vec<Trial>,
}

impl<'a> Judge<'a> {
    /// Runs the reference and the base variant; says why, if there is nothing to judge by.
    pub fn new(device: &'a Device, question: &Question<'_>) -> Result<Self, String> {
        let target = device.target().ok_or("the reference has no kernels")?;
        let variants: Vec<&str> = question.candidates.iter().map(|c| c.variant).collect();
        let small = shrink(question.op, question.inputs, &variants, target)
            .ok_or("no smaller shapes are known that the reference could be run on")?;
        let trial = Trial::by_reference(question, &small)?;
        let real: Vec<_> =
            question.inputs.iter().zip(&trial.case.inputs).map(|(s, (_, f))| (*s, *f)).collect();
        let mut judge = Judge { device, trials: vec![trial] };
        let base = variants[question.base];
        if !judge.agrees(base) {
            return Err(format!("the base variant {base} does not agree with the reference"));
        }
        let real = Trial::by_base(device, case(question, real), base);
        judge.trials.push(real.ok_or("the base variant does not run")?);
        Ok(judge)
    }

    /// Whether a variant's results are what they must be. What has no finite value is not compared.
    pub fn agrees(&self, variant: &str) -> bool {
        self.trials.iter().all(|trial| {
            let Some(mut got) = run(self.device, &trial.case, variant, &trial.inputs) else { return false };
            for (k, (got, want)) in got.iter_mut().zip(&trial.want).enumerate() {
                for (got, want) in got.iter_mut().zip(want).filter(|(_, want)| !want.is_finite()) {
                    *got = *want;
                }
                let what = format!("result {k} of variant {variant} of {}", testing::describe(&trial.case));
                if let Err(mismatch) = compare(&what, got, want, &trial.bounds[k], SEED) {
                    log::warn!("{mismatch}");
                    return false;
                }
            }
            true
        })
    }
}

impl Trial {
    /// Inputs of both signs, unless some results have no finite value then: a variance or a second moment wants to be
    /// positive, alone if that is enough.
    fn by_reference(question: &Question<'_>, shapes: &[Spec]) -> Result<Trial, String> {
        let filled = |positive: &dyn Fn(usize) -> bool| {
            let fill = |(i, s): (usize, &Spec)| (*s, if positive(i) { POSITIVE } else { MIXED });
            case(question, shapes.iter().enumerate().map(fill).collect())
        };
        let mixed = Trial::of_reference(filled(&|_| false))?;
        let is_finite = |t: &Trial| t.want.iter().flatten().all(|v| v.is_finite());
        if is_finite(&mixed) {
            return Ok(mixed);
        }
        let one = (0..shapes.len()).map(|only| filled(&|i| i == only));
        for case in one.chain([filled(&|_| true)]) {
            let trial = Trial::of_reference(case)?;
            if is_finite(&trial) {
                return Ok(trial);
            }
        }
        Ok(mixed)
    }

    fn of_reference(case: Case) -> Result<Trial, String> {
        let inputs = testing::fill(&case, SEED);
        let reference = || {
            let want = testing::run_reference(&case, &inputs);
            let bounds = bounds(&case, &inputs, &want);
            (want, bounds)
        };
        let (want, bounds) = catch_unwind(AssertUnwindSafe(reference))
            .map_err(|_| "the reference does not take made-up inputs".to_string())?;
        Ok(Trial { case, inputs, want, bounds })
    }

    /// The base variant has an error of its own, so the bound is twice the op's.
    fn by_base(device: &Device, case: Case, base: &str) -> Option<Trial> {
        let inputs = testing::fill(&case, SEED);
        let want = run(device, &case, base, &inputs)?;
        let magnitude = || {
            let mut absolute = case.clone();
            for scalar in &mut absolute.scalars {
                if let Scalar::F(value) = scalar {
                    *value = value.abs();
                }
            }
            let inputs: Vec<Vec<f64>> =
                inputs.iter().map(|data| data.iter().map(|v| v.abs()).collect()).collect();
            run(device, &absolute, base, &inputs)
        };
        let mut bounds = bounds_by(&case, &want, magnitude)?;
        bounds.iter_mut().flatten().for_each(|b| *b *= 2.0);
        Some(Trial { case, inputs, want, bounds })
    }
}

/// The op on these inputs. Indices are 0, which every op takes.
pub(super) fn case(question: &Question<'_>, mut inputs: Vec<(Spec, Fill)>) -> Case {
    for (spec, fill) in &mut inputs {
        if spec.dtype == DType::U32 {
            *fill = Fill::Index { below: 1 };
        }
    }
    Case {
        op: question.op.share(),
        inputs,
        scalars: question.scalars.clone(),
        gradient: false,
        constants: Vec::new(),
        kept: Vec::new(),
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
