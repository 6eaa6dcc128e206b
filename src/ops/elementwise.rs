//! Element-wise functions with broadcasting: y = f(a, b, ..).
//!
//! | tensor | shape |
//! |---|---|
//! | inputs | any shapes that broadcast together (NumPy's rule), f32 |
//! | outputs | the common broadcast shape |
//!
//! The op is the data itself, a [`Pointwise`]: one instruction when a method makes it, a chain when the fusion pass has
//! joined several. Derivatives at ties and kinks are PyTorch's: maximum and minimum share the gradient evenly, relu and
//! abs have gradient 0 at 0.

mod cases;

pub use cases::cases;

use crate::kernel::{Candidate, Target};
use crate::op::{Cost, Expected, GradIo, Io, Op, RefIo, Scalar, Tolerance, View, expected};
use crate::parallel;
use crate::pointwise::{Arg, Evaluator, Function, Instr, Pointwise, Source, generate, runs};
use crate::shape::{DType, Shape, Spec};
use crate::tensor::Tensor;
use std::f64::consts::FRAC_2_SQRT_PI;

impl Op for Pointwise {
    fn name(&self) -> &'static str {
        let Some(step) = self.only_step() else { return "pointwise" };
        let scalar = step.args.iter().any(|arg| matches!(arg, Arg::Scalar(_)));
        match step.function {
            Function::Add if scalar => "add_scalar",
            Function::Sub if scalar => "sub_scalar",
            Function::Mul if scalar => "mul_scalar",
            Function::Div if scalar => "div_scalar",
            function => function.name(),
        }
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        if inputs.len() != self.inputs {
            return expected(format!("{} operands", self.inputs));
        }
        if inputs.iter().any(|input| input.dtype != DType::F32) {
            return expected("f32 operands");
        }
        match Pointwise::shape(inputs) {
            Some(shape) => Ok(vec![Spec::f32(shape); self.results.len()]),
            None => {
                expected("shapes that broadcast together: aligned at the end, equal or 1 along each axis")
            }
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        for (j, out) in io.outputs.iter_mut().enumerate() {
            evaluate(self, j, &io.inputs, &io.scalars, out.shape, out.data);
        }
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let mut values: Vec<Option<Tensor>> = vec![None; self.steps.len()];
        for (y, &step) in g.outputs.iter().zip(&self.results) {
            values[step] = Some(y.clone());
        }
        for k in 0..self.steps.len() {
            if values[k].is_none() {
                values[k] = Some(call(self.steps[k].function, &operands(&self.steps[k], g, &values)));
            }
        }
        let mut steps: Vec<Option<Tensor>> = vec![None; self.steps.len()];
        for (dy, &step) in g.dy.iter().zip(&self.results) {
            accumulate(&mut steps[step], dy.clone());
        }
        let mut inputs: Vec<Option<Tensor>> = vec![None; self.inputs];
        for (k, step) in self.steps.iter().enumerate().rev() {
            let (Some(dy), Some(y)) = (&steps[k].take(), &values[k]) else { continue };
            let args = operands(step, g, &values);
            for (position, &arg) in step.args.iter().enumerate() {
                match arg {
                    Arg::Input(i) if g.wants[i] => {
                        accumulate(&mut inputs[i], partial(step.function, position, &args, y, dy));
                    }
                    Arg::Step(i) => accumulate(&mut steps[i], partial(step.function, position, &args, y, dy)),
                    _ => {}
                }
            }
        }
        let undo_broadcast = |(dx, input): (Option<Tensor>, &Tensor)| dx.map(|dx| sum_to(&dx, input.shape()));
        inputs.into_iter().zip(g.inputs).map(undo_broadcast).collect()
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        generate::kernels(self, io, target)
    }

    fn pointwise(&self) -> Option<&Pointwise> {
        Some(self)
    }

    /// A chain is held to the sum of its functions' bounds where each only scales the relative errors before it;
    /// otherwise to 2^-22 of the largest result per step.
    fn tolerance(&self, _io: Io<'_>, output: usize) -> Tolerance {
        match self.only_step() {
            Some(step) => single_tolerance(step.function),
            None => match ulps(self, self.results[output]) {
                Some(0.0) => Tolerance::Exact,
                Some(ulps) => Tolerance::Ulp(ulps),
                None => Tolerance::OfMax(self.steps.len() as f64 * 2f64.powi(-22)),
            },
        }
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        let elements = io.outputs.first().map_or(0, Spec::elements);
        Cost { flops: (elements * self.steps.len()) as u64, bytes: io.bytes() }
    }
}

/// Result `which` of a chain, which has the shape `shape`.
pub(crate) fn evaluate(
    chain: &Pointwise,
    which: usize,
    inputs: &[View<'_>],
    scalars: &[f64],
    shape: Shape,
    out: &mut [f64],
) {
    /// Elements that one thread takes at a time.
    const ROW: usize = 4096;
    let (chain, read) = chain.only(which);
    let source = |&i: &usize| -> Source<'_> {
        (inputs[i].data, runs(inputs[i].shape, shape).expect("the shape rule was checked"))
    };
    let sources: Vec<Source<'_>> = read.iter().map(source).collect();
    parallel::rows(out, ROW, ROW * 4 * chain.steps.len(), |row, values| {
        Evaluator::new(&chain, &sources, scalars).run(row * ROW, values);
    });
}

/// The exponential's bound grows with |x|; the test cases keep to |x| ≤ 4.
fn single_tolerance(function: Function) -> Tolerance {
    use Function::*;
    match function {
        Exp => Tolerance::Ulp(11.0),
        Log => Tolerance::UlpOrAbsolute(3.0, 2f64.powi(-21)),
        Sigmoid => Tolerance::UlpOrAbsolute(40.0, 1.2e-7),
        Softplus => Tolerance::UlpOrAbsolute(40.0, 2e-7),
        Expm1 => Tolerance::UlpOrAbsolute(12.0, 2e-7),
        Erf => Tolerance::Ulp(6.0),
        Erfc => Tolerance::Ulp(40.0),
        Tanh => Tolerance::Absolute(3e-7),
        _ => match own_ulps(function) {
            Some(0.0) => Tolerance::Exact,
            Some(ulps) => Tolerance::Ulp(ulps),
            None => Tolerance::Exact,
        },
    }
}

/// The error that a function adds, in units of the last place of its result.
fn own_ulps(function: Function) -> Option<f64> {
    use Function::*;
    match function {
        Add | Sub | Mul | Square => Some(1.0),
        Div | Recip | Rsqrt => Some(3.0),
        // A difference and a quotient.
        Dropout => Some(4.0),
        Sqrt => Some(5.0),
        Neg | Abs | Max | Min | Relu | Copy | Sign | Step | GreaterEqual | Equal | Share | Where => Some(0.0),
        Exp | Log | Tanh | Sigmoid | Expm1 | Softplus | Erf | Erfc => None,
    }
}

/// A bound of the relative error of step `k`, if there is one that does not depend on the values.
fn ulps(chain: &Pointwise, k: usize) -> Option<f64> {
    use Function::*;
    let step = &chain.steps[k];
    let mut errors = Vec::new();
    for arg in &step.args {
        errors.push(if let Arg::Step(i) = *arg { ulps(chain, i)? } else { 0.0 });
    }
    let own = own_ulps(step.function)?;
    let sum: f64 = errors.iter().sum();
    match step.function {
        Max | Min => errors.iter().copied().reduce(f64::max),
        Where if errors[0] == 0.0 => Some(errors[1].max(errors[2])),
        Mul | Div | Neg | Abs | Recip | Relu | Copy | Dropout => Some(sum + own),
        Square => Some(2.0 * sum + own),
        Sqrt | Rsqrt => Some(0.5 * sum + own),
        _ => (sum == 0.0).then_some(own),
    }
}

/// An operand of [`call`].
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Tensor(Tensor),
    Scalar(Scalar),
}

impl From<&Tensor> for Operand {
    fn from(tensor: &Tensor) -> Self {
        Operand::Tensor(tensor.clone())
    }
}

impl From<Tensor> for Operand {
    fn from(tensor: Tensor) -> Self {
        Operand::Tensor(tensor)
    }
}

impl From<f64> for Operand {
    fn from(value: f64) -> Self {
        Operand::Scalar(Scalar::F(value))
    }
}

/// Appends one instruction.
#[track_caller]
pub(crate) fn call(function: Function, operands: &[Operand]) -> Tensor {
    let (mut tensors, mut scalars, mut args) = (Vec::new(), Vec::new(), Vec::new());
    for operand in operands {
        match operand {
            Operand::Tensor(tensor) => {
                args.push(Arg::Input(tensors.len()));
                tensors.push(tensor);
            }
            Operand::Scalar(scalar) => {
                args.push(Arg::Scalar(scalars.len()));
                scalars.push(*scalar);
            }
        }
    }
    Tensor::apply1(Pointwise::instr(function, args), &tensors, &scalars)
}

#[track_caller]
fn unary(function: Function, a: &Tensor) -> Tensor {
    call(function, &[a.into()])
}

#[track_caller]
fn binary(function: Function, a: impl Into<Operand>, b: impl Into<Operand>) -> Tensor {
    call(function, &[a.into(), b.into()])
}

/// The operands of `step` as tensors and scalars.
fn operands(step: &Instr, g: &GradIo<'_>, values: &[Option<Tensor>]) -> Vec<Operand> {
    let operand = |arg: &Arg| match *arg {
        Arg::Input(i) => Operand::from(&g.inputs[i]),
        Arg::Scalar(i) => Operand::Scalar(g.scalars[i]),
        Arg::Step(i) => Operand::from(values[i].as_ref().expect("steps refer to earlier ones")),
    };
    step.args.iter().map(operand).collect()
}

fn accumulate(sum: &mut Option<Tensor>, term: Option<Tensor>) {
    *sum = match (sum.take(), term) {
        (Some(a), Some(b)) => Some(a.add(&b)),
        (a, b) => a.or(b),
    };
}

/// The gradient with respect to operand `position` of y = function(args), before broadcasting is undone.
fn partial(function: Function, position: usize, args: &[Operand], y: &Tensor, dy: &Tensor) -> Option<Tensor> {
    use Function::*;
    let a = || args[0].clone();
    let b = || args[1].clone();
    let first = position == 0;
    Some(match function {
        Add | Copy => dy.clone(),
        Sub if first => dy.clone(),
        Sub | Neg => dy.neg(),
        Mul => binary(Mul, dy, if first { b() } else { a() }),
        Div if first => binary(Div, dy, b()),
        Div => binary(Div, dy.mul(y), b()).neg(),
        Max | Min => {
            let larger = (function == Max) == first;
            dy.mul(&if larger { binary(Share, a(), b()) } else { binary(Share, b(), a()) })
        }
        Abs => dy.mul(&call(Sign, &[a()])),
        Exp => dy.mul(y),
        Log => binary(Div, dy, a()),
        Sqrt => dy.mul_scalar(0.5).div(y),
        Rsqrt => dy.mul(y).mul(&y.square()).mul_scalar(-0.5),
        Recip => dy.mul(&y.square()).neg(),
        Square => binary(Mul, dy, a()).mul_scalar(2.0),
        Tanh => dy.mul(&binary(Sub, 1.0, y.square())),
        Sigmoid => dy.mul(&y.mul(&binary(Sub, 1.0, y))),
        Relu => dy.mul(&unary(Step, y)),
        Expm1 => dy.mul(&y.add_scalar(1.0)),
        Softplus => dy.mul(&call(Sigmoid, &[a()])),
        Erf | Erfc => {
            let slope = call(Exp, &[call(Neg, &[call(Square, &[a()]).into()]).into()]);
            dy.mul(&slope).mul_scalar(if function == Erf { FRAC_2_SQRT_PI } else { -FRAC_2_SQRT_PI })
        }
        Where if first => return None,
        Where if position == 1 => call(Where, &[a(), dy.into(), 0.0.into()]),
        Where => call(Where, &[a(), 0.0.into(), dy.into()]),
        Dropout if first => call(Dropout, &[dy.into(), args[1].clone(), args[2].clone(), args[3].clone()]),
        Sign | Step | GreaterEqual | Equal | Share | Dropout => return None,
    })
}

/// Sums `t` over the axes along which a tensor of shape `shape` was broadcast.
fn sum_to(t: &Tensor, shape: Shape) -> Tensor {
    let from = t.shape();
    if from == shape {
        return t.clone();
    }
    let lead = from.rank() - shape.rank();
    let axes: Vec<usize> =
        (0..from.rank()).filter(|&a| a < lead || (shape[a - lead] == 1 && from[a] != 1)).collect();
    if axes.is_empty() { t.reshape(shape) } else { t.sum(&axes).reshape(shape) }
}

macro_rules! unary_methods {
    ($($(#[$doc:meta])* $name:ident = $function:ident;)*) => {
        impl Tensor {
            $($(#[$doc])*
            #[doc = "\n\n# Panics\nWhen the tensor is not f32."]
            #[track_caller]
            pub fn $name(&self) -> Tensor {
                unary(Function::$function, self)
            })*
        }
    };
}

unary_methods! {
    /// -x
    neg = Neg;
    /// |x|; its gradient at 0 is 0.
    abs = Abs;
    /// 1, 0 or -1; no gradient flows.
    sign = Sign;
    /// exp(x)
    exp = Exp;
    /// The natural logarithm.
    log = Log;
    /// √x
    sqrt = Sqrt;
    /// 1 / √x
    rsqrt = Rsqrt;
    /// 1 / x
    recip = Recip;
    /// x²
    square = Square;
    /// max(x, 0); its gradient at 0 is 0. A NaN may become 0.
    relu = Relu;
    /// 1 / (1 + exp(-x)), without overflow.
    sigmoid = Sigmoid;
    /// tanh(x), without overflow.
    tanh = Tanh;
    /// exp(x) - 1, exact near 0.
    expm1 = Expm1;
    /// The error function: 2/√π times the integral of exp(-t²) from 0 to x.
    erf = Erf;
    /// 1 - erf(x), exact where it is small.
    erfc = Erfc;
}

macro_rules! binary_methods {
    ($($(#[$doc:meta])* $name:ident = $function:ident;)*) => {
        impl Tensor {
            $($(#[$doc])*
            #[doc = "\n\nThe result has the common broadcast shape.\n\n# Panics"]
            #[doc = "When the shapes do not broadcast together, or a tensor is not f32."]
            #[track_caller]
            pub fn $name(&self, other: &Tensor) -> Tensor {
                binary(Function::$function, self, other)
            })*
        }
    };
}

binary_methods! {
    /// self + other
    add = Add;
    /// self - other
    sub = Sub;
    /// self · other, element by element.
    mul = Mul;
    /// self / other
    div = Div;
    /// The larger of the two; equal elements share the gradient evenly.
    maximum = Max;
    /// The smaller of the two; equal elements share the gradient evenly.
    minimum = Min;
    /// 1 where self ≥ other, else 0; no gradient flows.
    greater_equal = GreaterEqual;
    /// 1 where self = other, else 0; no gradient flows.
    equal = Equal;
}

impl Tensor {
    /// x + value. The number is an input of the program: another one makes no new plan.
    ///
    /// # Panics
    /// When the tensor is not f32.
    #[track_caller]
    pub fn add_scalar(&self, value: f64) -> Tensor {
        binary(Function::Add, self, value)
    }

    /// x · value. The number is an input of the program: another one makes no new plan.
    ///
    /// # Panics
    /// When the tensor is not f32.
    #[track_caller]
    pub fn mul_scalar(&self, value: f64) -> Tensor {
        binary(Function::Mul, self, value)
    }
}

macro_rules! operators {
    ($($Trait:ident $method:ident;)*) => {$(
        operators!(@ $Trait $method Tensor, Tensor);
        operators!(@ $Trait $method Tensor, &Tensor);
        operators!(@ $Trait $method &Tensor, Tensor);
        operators!(@ $Trait $method &Tensor, &Tensor);
        operators!(@ $Trait $method Tensor, f64);
        operators!(@ $Trait $method &Tensor, f64);
        operators!(@ $Trait $method f64, Tensor);
        operators!(@ $Trait $method f64, &Tensor);
    )*};
    (@ $Trait:ident $method:ident $A:ty, $B:ty) => {
        impl std::ops::$Trait<$B> for $A {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: $B) -> Tensor {
                binary(Function::$Trait, self, other)
            }
        }
    };
}

operators! {
    Add add;
    Sub sub;
    Mul mul;
    Div div;
}

impl std::ops::Neg for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        unary(Function::Neg, self)
    }
}

impl std::ops::Neg for Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        unary(Function::Neg, &self)
    }
}
