//! Test cases of element-wise functions and of chains of them.

use crate::op::{Case, Fill, Scalar};
use crate::pointwise::{Arg, Function, Instr, Pointwise};

/// Values at which `function` is defined and its bound holds.
fn domain(function: Function) -> Fill {
    use Function::*;
    match function {
        Log | Sqrt | Rsqrt => Fill::Uniform { low: 0.1, high: 4.0 },
        Recip | Div => Fill::Uniform { low: 0.5, high: 2.0 },
        Exp | Expm1 => Fill::Uniform { low: -4.0, high: 4.0 },
        Erf | Erfc => Fill::Uniform { low: -3.0, high: 3.0 },
        Tanh | Sigmoid | Softplus => Fill::Uniform { low: -20.0, high: 20.0 },
        Sign | Step | GreaterEqual | Equal | Share => Fill::Ties,
        _ => Fill::Normal { mean: 0.0, std: 1.0 },
    }
}

/// Shapes of two operands: equal, scalars, rows, columns, channels, and broadcasts between that no single run covers.
const PAIRS: [[&[usize]; 2]; 16] = [
    [&[], &[]],
    [&[0, 3], &[1, 3]],
    [&[1], &[7]],
    [&[17], &[17]],
    [&[5, 8], &[8]],
    [&[5, 7], &[7]],
    [&[6, 16], &[6, 1]],
    [&[6, 13], &[6, 1]],
    [&[9, 1], &[9, 3]],
    [&[2, 3, 4, 5], &[3, 1, 1]],
    [&[2, 5, 7, 7], &[5, 1, 1]],
    [&[4, 1, 8], &[1, 3, 1]],
    [&[3, 1, 5], &[2, 1]],
    [&[2, 1, 3, 1, 2], &[3, 1, 4, 2]],
    [&[1, 64], &[130, 64]],
    [&[2, 3, 1, 4, 1, 5], &[1, 3, 2, 1, 3, 5]],
];

/// Shapes that all functions are tested with.
const SHAPES: [&[usize]; 5] = [&[13], &[4, 6], &[1], &[0], &[1031]];

/// Test cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for function in Function::ALL.into_iter().filter(|&f| f != Function::Dropout) {
        let op = Pointwise::single(function);
        let shapes = |shape: &'static [usize]| vec![shape; function.arity()];
        let smooth = domain(function) != Fill::Ties;
        for shape in SHAPES {
            let case = Case::new(op.clone(), &shapes(shape)).fill(domain(function));
            let small = shape.iter().product::<usize>() <= 100;
            cases.push(if smooth && small { case.with_gradient() } else { case });
        }
        if matches!(function, Function::Max | Function::Min | Function::Relu | Function::Abs) {
            cases.push(Case::new(op, &shapes(&[97])).fill(Fill::Ties));
        }
    }
    for pair in PAIRS {
        for op in [Function::Sub, Function::Mul] {
            cases.push(Case::new(Pointwise::single(op), &pair).with_gradient());
        }
    }
    for function in [Function::Add, Function::Sub, Function::Mul, Function::Div] {
        let a = Pointwise::instr(function, vec![Arg::Input(0), Arg::Scalar(0)]);
        let b = Pointwise::instr(function, vec![Arg::Scalar(0), Arg::Input(0)]);
        for op in [a, b] {
            let case = Case::new(op, &[&[5, 7]]).fill(Fill::Uniform { low: 0.5, high: 2.0 });
            cases.push(case.scalars(&[Scalar::F(-1.25)]).with_gradient());
        }
    }
    cases.extend(chains());
    // More than 65,535 workgroups of the scalar variant.
    cases.push(Case::new(Pointwise::single(Function::Relu), &[&[4_194_305]]));
    cases
}

/// What fusion makes: a bias and an activation; several results; many inputs and scalars.
fn chains() -> Vec<Case> {
    use Arg::{Input, Scalar as S, Step as T};
    let chain = |inputs, scalars, steps: &[(Function, &[Arg])], results: &[usize]| Pointwise {
        inputs,
        scalars,
        steps: steps.iter().map(|&(function, args)| Instr { function, args: args.to_vec() }).collect(),
        results: results.to_vec(),
    };
    let relu_of_sum = chain(2, 0, &[(Function::Add, &[Input(0), Input(1)]), (Function::Relu, &[T(0)])], &[1]);
    let sigmoid_backward = chain(
        2,
        1,
        &[
            (Function::Sub, &[S(0), Input(1)]),
            (Function::Mul, &[T(0), Input(1)]),
            (Function::Mul, &[T(1), Input(0)]),
        ],
        &[2],
    );
    let gates = chain(
        3,
        1,
        &[
            (Function::Sigmoid, &[Input(0)]),
            (Function::Tanh, &[Input(1)]),
            (Function::Mul, &[T(0), T(1)]),
            (Function::Mul, &[Input(2), S(0)]),
            (Function::Add, &[T(2), T(3)]),
        ],
        &[4, 0],
    );
    vec![
        Case::new(relu_of_sum.clone(), &[&[3, 4, 5, 5], &[4, 1, 1]]),
        Case::new(relu_of_sum, &[&[6, 16], &[16]]).with_gradient(),
        Case::new(sigmoid_backward, &[&[2, 21], &[2, 21]]).scalars(&[Scalar::F(1.0)]).with_gradient(),
        Case::new(gates, &[&[5, 6], &[5, 1], &[6]]).scalars(&[Scalar::F(0.5)]).with_gradient(),
    ]
}
