//! The sum or the mean of all elements of a chain of element-wise functions, in one pass over its inputs. Losses become
//! this op when the program is fused: nothing is written but the sums of stretches.
//!
//! | tensor | shape |
//! |---|---|
//! | inputs | any shapes that broadcast together, f32 |
//! | y | `[]` |

use crate::kernel::{Candidate, Target};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Scalar, Tolerance, expected};
use crate::ops::elementwise::evaluate;
use crate::ops::reduce::{Reduction, add_up};
use crate::pointwise::{Arg, Function, Instr, Pointwise, generate};
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;

/// The sum or mean of the only result of a chain. Made by fusion alone, so it has no gradient rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SumOfChain {
    /// What is summed.
    pub chain: Pointwise,
    /// Sum or mean.
    pub reduction: Reduction,
}

impl SumOfChain {
    fn divisor(&self, elements: usize) -> f64 {
        if self.reduction == Reduction::Mean { elements as f64 } else { 1.0 }
    }
}

impl Op for SumOfChain {
    fn name(&self) -> &'static str {
        match self.reduction {
            Reduction::Mean => "pointwise_mean",
            _ => "pointwise_sum",
        }
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let results = Op::outputs(&self.chain, inputs)?;
        match results.as_slice() {
            [_] if self.reduction == Reduction::Sum => Ok(vec![Spec::f32(Shape::scalar())]),
            [y] if self.reduction == Reduction::Mean && y.elements() > 0 => Ok(vec![Spec::f32(Shape::scalar())]),
            _ => expected("a chain with one result, and for a mean with an element"),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let specs: Vec<Spec> = io.inputs.iter().map(|i| Spec::f32(i.shape)).collect();
        let shape = Pointwise::shape(&specs).expect("the shape rule was checked");
        let mut values = vec![0.0; shape.elements()];
        evaluate(&self.chain, 0, &io.inputs, &io.scalars, shape, &mut values);
        io.outputs[0].data[0] = values.iter().sum::<f64>() / self.divisor(values.len());
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None; g.inputs.len()]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let elements = Pointwise::shape(io.inputs).map_or(0, |shape| shape.elements());
        let divisor = self.divisor(elements) as f32;
        generate::sums(&self.chain, io, target, divisor, |out, from, parts| add_up(out, from, parts, divisor))
    }

    /// The cases' elements are positive, so that the sum's error is a share of the sum.
    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::OfMax(2e-6)
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        let elements = Pointwise::shape(io.inputs).map_or(0, |shape| shape.elements());
        Cost { flops: (elements * (self.chain.steps.len() + 1)) as u64, bytes: io.bytes() }
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let square = Pointwise::single(Function::Square);
    let steps = [
        (Function::Sub, vec![Arg::Input(0), Arg::Input(1)]),
        (Function::Abs, vec![Arg::Step(0)]),
        (Function::Mul, vec![Arg::Step(1), Arg::Scalar(0)]),
    ];
    let distance = Pointwise {
        inputs: 2,
        scalars: 1,
        steps: steps.into_iter().map(|(function, args)| Instr { function, args }).collect(),
        results: vec![2],
    };
    let mut cases = Vec::new();
    for reduction in [Reduction::Sum, Reduction::Mean] {
        let of = |chain: &Pointwise, shapes: &[&[usize]]| {
            Case::new(SumOfChain { chain: chain.clone(), reduction }, shapes)
        };
        for shape in [&[][..], &[1], &[7], &[64, 10], &[257, 3], &[3, 5, 7, 11], &[1_100_003]] {
            cases.push(of(&square, &[shape]));
        }
        for shapes in [[&[6usize, 13][..], &[13]], [&[5, 1, 9], &[4, 1]], [&[70, 64], &[70, 1]]] {
            cases.push(of(&distance, &shapes).scalars(&[Scalar::F(0.5)]));
        }
        let far = of(&square, &[&[300_000]]).fill(Fill::Normal { mean: 100.0, std: 1.0 });
        cases.push(far);
    }
    cases.push(Case::new(SumOfChain { chain: square, reduction: Reduction::Sum }, &[&[0, 3]]));
    cases
}
