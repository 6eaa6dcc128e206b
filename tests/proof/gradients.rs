//! Every gradient rule against central differences in f64, and proof that the check can fail.

use recurve::kernel::{Candidate, Target};
use recurve::op::{Case, Expected, GradIo, Io, Op, RefIo, Tolerance, expected};
use recurve::testing::{GradientError, check_gradient, is_differentiable};
use recurve::{Device, Spec, Tensor};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn every_gradient_agrees_with_finite_differences() {
    let mut checked: BTreeMap<&str, usize> = BTreeMap::new();
    let mut failures = Vec::new();
    for (_, case) in crate::cases().iter().filter(|(_, c)| c.gradient) {
        match check_gradient(case, 3) {
            Ok(()) => *checked.entry(case.op.name()).or_default() += 1,
            Err(error) => failures.push(error.to_string()),
        }
    }
    println!("gradients checked: {checked:?}");
    failures.iter().for_each(|f| println!("FAILED {f}"));
    assert!(failures.is_empty(), "{} gradients are wrong, see above", failures.len());
}

#[test]
fn every_differentiable_op_has_a_gradient_case() {
    let cases = crate::cases();
    let checked: BTreeSet<&str> =
        cases.iter().filter(|(_, c)| c.gradient).map(|(_, c)| c.op.name()).collect();
    let missing: BTreeSet<&str> = (cases.iter())
        .filter(|(_, c)| !checked.contains(c.op.name()) && is_differentiable(c))
        .map(|(_, c)| c.op.name())
        .collect();
    assert!(missing.is_empty(), "differentiable, but no case checks the gradient: {missing:?}");
}

/// Squares, with a gradient rule that is right, wrong or absent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Square {
    rule: Rule,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Rule {
    Right,
    /// Off by half.
    Wrong,
    /// Off by one part in five hundred.
    SlightlyWrong,
    Absent,
}

impl Op for Square {
    fn name(&self) -> &'static str {
        "square"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        match inputs {
            [x] => Ok(vec![*x]),
            _ => expected("one operand"),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let x = io.inputs[0].data;
        io.outputs[0].data.iter_mut().zip(x).for_each(|(y, x)| *y = x * x);
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let factor = match self.rule {
            Rule::Right => 2.0,
            Rule::Wrong => 3.0,
            Rule::SlightlyWrong => 2.004,
            Rule::Absent => return vec![None],
        };
        vec![g.dy[0].as_ref().map(|dy| dy.mul(&g.inputs[0]).mul_scalar(factor))]
    }

    fn kernels(&self, _io: Io<'_>, _target: &Target) -> Vec<Candidate> {
        Vec::new()
    }

    fn tolerance(&self, _io: Io<'_>, _output: usize) -> Tolerance {
        Tolerance::Ulp(1.0)
    }
}

#[test]
fn a_wrong_gradient_fails_the_check() {
    let check = |rule| check_gradient(&Case::new(Square { rule }, &[&[3, 4]]), 3);
    assert!(check(Rule::Right).is_ok());
    assert!(matches!(check(Rule::Wrong), Err(GradientError::Mismatch(_))));
    assert!(matches!(check(Rule::SlightlyWrong), Err(GradientError::Mismatch(_))));
    assert!(matches!(check(Rule::Absent), Err(GradientError::Missing { .. })));
}

#[test]
fn gradients_flow_to_marked_tensors_and_no_further() {
    let device = Device::cpu();
    let x = device.tensor([1.0, 2.0], [2]).requires_grad();
    let cut = x.mul_scalar(3.0).detach().requires_grad();
    let both = cut.mul(&cut).add(&x).sum(&[0]);
    let gradients = both.backward();
    assert_eq!(gradients.wrt(&cut).unwrap().to_vec().unwrap(), [6.0, 12.0]);
    assert_eq!(gradients.wrt(&x).unwrap().to_vec().unwrap(), [1.0, 1.0]);
    assert!(cut.detach().mul(&x.detach()).sum(&[0]).backward().wrt(&x).is_none());
}
