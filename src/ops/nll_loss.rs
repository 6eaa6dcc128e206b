//! Negative log-likelihood: `loss = -w_t·x_t` for each row of logarithms of probabilities, with t its class and w the
//! classes' weights.
//!
//! Rows are the lines along C of x `[N, C, ..]`. Rows whose class is the ignore mark
//! ([`IGNORE_INDEX`](crate::IGNORE_INDEX)) give 0. The mean divides the sum by Σ w of the rows' classes. (PyTorch's
//! `nll_loss`.)
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[N, C, ..]` |
//! | target (u32) | `[N, ..]` |
//! | weight, with [`Weights::Classes`] | `[C]` |
//! | loss | `[]`, or with [`Reduction::None`] `[N, ..]` |
//!
//! Weights are constants: no gradient flows to them.

use crate::kernel::{Bind, Candidate, Dispatch, Target};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::ops::argmax::Lines;
use crate::ops::batch_norm::floats;
use crate::ops::cross_entropy::{IGNORED, Reduction, Weights, total_loss, total_weight};
use crate::ops::softmax::TREE;
use crate::shape::{DType, Shape, Spec};
use crate::tensor::Tensor;

/// Negative log-likelihood of classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NllLoss {
    /// What becomes of the rows' losses.
    pub reduction: Reduction,
    /// Whether classes have weights.
    pub weights: Weights,
}

impl NllLoss {
    /// The shape of the result on these operands.
    fn output(&self, inputs: &[Spec]) -> Result<Spec, Expected> {
        let operands = if self.weights == Weights::None { 2 } else { 3 };
        let [x, target, ..] = inputs else { return expected("logarithms of probabilities and a target") };
        if inputs.len() != operands || x.dtype != DType::F32 || x.shape.rank() < 2 || x.shape[1] == 0 {
            return expected(format!("{operands} operands, the first of f32 [N, C, ..]"));
        }
        let dims = x.shape.dims();
        let rows = Shape::new(&[&dims[..1], &dims[2..]].concat());
        if *target != Spec::u32(rows) {
            return expected(format!("a target {}", Spec::u32(rows)));
        }
        if inputs.get(2).is_some_and(|w| *w != Spec::f32([dims[1]])) {
            return expected(format!("weights of shape [{}]", dims[1]));
        }
        Ok(Spec::f32(if self.reduction == Reduction::None { rows } else { Shape::scalar() }))
    }

    /// The weight of `class`; 0 for the ignore mark, NaN for what is no class.
    fn weight(&self, io: &RefIo<'_>, classes: usize, class: f64) -> f64 {
        match class {
            IGNORED => 0.0,
            c if c >= classes as f64 => f64::NAN,
            _ if self.weights == Weights::None => 1.0,
            c => io.inputs[2].data[c as usize],
        }
    }

    /// What the sum of all rows' losses is divided by.
    fn divisor(&self, io: &RefIo<'_>, classes: usize) -> f64 {
        match self.reduction {
            Reduction::Mean => io.inputs[1].data.iter().map(|&t| self.weight(io, classes, t)).sum(),
            Reduction::Sum | Reduction::None => 1.0,
        }
    }

    /// The weights' buffer, or another that is not read.
    fn weight_bind(&self) -> Bind {
        Bind::Input(if self.weights == Weights::Classes { 2 } else { 0 })
    }
}

impl Op for NllLoss {
    fn name(&self) -> &'static str {
        "nll_loss"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        Ok(vec![self.output(inputs)?])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let x = io.inputs[0];
        let lines = Lines::new(x.shape, 1);
        let loss = |(row, &class): (usize, &f64)| match self.weight(io, lines.d, class) {
            // A row that does not count must not matter, even at infinity.
            0.0 if class == IGNORED => 0.0,
            weight => match lines.line(row).nth(class as usize) {
                Some(at) => -weight * x.data[at],
                None => f64::NAN,
            },
        };
        let losses: Vec<f64> = io.inputs[1].data.iter().enumerate().map(loss).collect();
        let divisor = self.divisor(io, lines.d);
        match self.reduction {
            Reduction::None => io.outputs[0].data.copy_from_slice(&losses),
            _ => io.outputs[0].data[0] = losses.iter().sum::<f64>() / divisor,
        }
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let mut grads = vec![None; g.inputs.len()];
        if let Some(dy) = &g.dy[0] {
            let inputs: Vec<&Tensor> = g.inputs.iter().chain([dy]).collect();
            grads[0] = Some(Tensor::apply1(NllLossBackward { forward: *self }, &inputs, &[]));
        }
        grads
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let lines = Lines::new(io.inputs[0].shape, 1);
        let count = lines.outer * lines.inner;
        let each = self.reduction == Reduction::None;
        let losses = if each { Bind::Output(0) } else { Bind::Scratch(1) };
        let params = rows::Params { rows: count as u32, c: lines.d as u32, inner: lines.inner as u32 };
        let rows = rows::dispatch(params)
            .constant("WEIGHTED", self.weights == Weights::Classes)
            .bind(&[Bind::Input(0), Bind::Input(1), self.weight_bind(), losses, Bind::Scratch(0)])
            .groups(count.div_ceil(64) as u64);
        let out = Candidate::new("rows").scratch(floats(count.max(1)));
        if each {
            return vec![out.dispatch(rows)];
        }
        let out = out.needs(TREE).scratch(floats(count.max(1))).dispatch(rows);
        vec![total_loss(out, count, self.reduction, Bind::Scratch(1), Bind::Scratch(0))]
    }

    fn tolerance(&self, io: Io<'_>, _: usize) -> Tolerance {
        match self.reduction {
            Reduction::None => Tolerance::Ulp(1.0),
            _ => Tolerance::Sum { n: io.inputs[1].elements() },
        }
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        // Of each row, one element is read.
        Cost { flops: io.inputs[1].elements() as u64, bytes: 2 * io.inputs[1].bytes() }
    }
}

/// The gradient of [`NllLoss`] with respect to x, from its inputs and dy: `-w_t·dy` at the row's class, over the divisor
/// for a mean, else 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NllLossBackward {
    /// The loss.
    pub forward: NllLoss,
}

impl Op for NllLossBackward {
    fn name(&self) -> &'static str {
        "nll_loss_backward"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let Some((dy, inputs)) = inputs.split_last() else { return expected("x, target and dy") };
        let loss = self.forward.output(inputs)?;
        if *dy != loss {
            return expected(format!("dy {loss}"));
        }
        Ok(vec![inputs[0]])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let mut outputs = std::mem::take(&mut io.outputs);
        let (io, forward) = (&*io, &self.forward);
        let (target, dy) = (io.inputs[1].data, io.inputs[io.inputs.len() - 1].data);
        let lines = Lines::new(io.inputs[0].shape, 1);
        let divisor = forward.divisor(io, lines.d);
        lines.each(outputs[0].data, |row, put| {
            let weight = forward.weight(io, lines.d, target[row]);
            let dy = if forward.reduction == Reduction::None { dy[row] } else { dy[0] / divisor };
            for (c, at) in lines.line(row).enumerate() {
                put(at, if weight.is_nan() { f64::NAN } else if target[row] == c as f64 { -weight * dy } else { 0.0 });
            }
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None; g.inputs.len()]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let forward = &self.forward;
        let lines = Lines::new(io.inputs[0].shape, 1);
        let (len, c, inner) = (io.inputs[0].elements(), lines.d as u32, lines.inner as u32);
        let count = lines.outer * lines.inner;
        let mean = forward.reduction == Reduction::Mean;
        let (labels, weight, dy) = (Bind::Input(1), forward.weight_bind(), Bind::Input(io.inputs.len() - 1));
        let weighted = |d: Dispatch| d.constant("WEIGHTED", forward.weights == Weights::Classes);
        let elements = weighted(elements::dispatch(elements::Params { len: len as u32, c, inner }))
            .constant("MEAN", mean)
            .constant("EACH", forward.reduction == Reduction::None)
            .bind(&[labels, weight, dy, if mean { Bind::Scratch(0) } else { dy }, Bind::Output(0)])
            .groups(len.div_ceil(64) as u64);
        let out = Candidate::new("elements");
        if !mean {
            return vec![out.dispatch(elements)];
        }
        let out = out.needs(TREE).scratch(floats(1));
        let rows = [count, lines.d, lines.inner];
        vec![total_weight(out, rows, weighted, labels, weight).dispatch(elements)]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::OfMax(4e-6)
    }
}

impl Tensor {
    /// The mean negative log-likelihood of classes `[N, ..]` (u32; rows with the ignore mark do not count) under these
    /// logarithms of probabilities `[N, C, ..]`. (PyTorch's `nll_loss`.) An uploaded label that is no class is an
    /// [`Error::Label`](crate::Error::Label) of the next call that returns a `Result`; a computed one makes the loss NaN.
    ///
    /// # Panics
    /// When there are fewer than two axes, or the target has another shape.
    #[track_caller]
    pub fn nll_loss(&self, target: &Tensor) -> Tensor {
        self.nll_loss_with(target, None, Reduction::Mean)
    }

    /// Negative log-likelihood with class weights `[C]` or another reduction.
    ///
    /// # Panics
    /// As [`Tensor::nll_loss`], and when there is not a weight per class.
    #[track_caller]
    pub fn nll_loss_with(&self, target: &Tensor, weight: Option<&Tensor>, reduction: Reduction) -> Tensor {
        let weights = if weight.is_some() { Weights::Classes } else { Weights::None };
        let op = NllLoss { reduction, weights };
        let inputs: Vec<&Tensor> = [self, target].into_iter().chain(weight).collect();
        // A kernel has no way to complain about a class that does not exist.
        if self.shape().rank() > 1
            && let Some(error) = target.label_beyond(self.shape()[1])
            && let Ok(loss) = op.output(&inputs.iter().map(|t| t.spec()).collect::<Vec<_>>())
        {
            return Tensor::failed(self.device(), loss, error);
        }
        Tensor::apply1(op, &inputs, &[])
    }
}

crate::kernel! {
    /// A thread per row.
    mod rows = "shaders/nll_loss/rows.wgsl";
    params { rows: u32, c: u32, inner: u32 }
    bind { x: Read, labels: Read, weight: Read, losses: ReadWrite, weights: ReadWrite }
}

crate::kernel! {
    /// A thread per element.
    mod elements = "shaders/nll_loss_backward/elements.wgsl";
    params { len: u32, c: u32, inner: u32 }
    bind { labels: Read, weight: Read, dy: Read, divisor: Read, dx: ReadWrite }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None] {
        for weights in [Weights::None, Weights::Classes] {
            let op = NllLoss { reduction, weights };
            cases.push(forward(op, &[3, 4], 4).with_gradient());
            cases.push(forward(op, &[2, 3, 2], 3).with_gradient());
            for shape in [&[64usize, 10][..], &[1, 1], &[7, 70, 3, 2], &[0, 3]] {
                if reduction == Reduction::Mean && shape[0] == 0 {
                    continue;
                }
                cases.push(forward(op, shape, shape[1]));
                cases.push(backward(op, shape, shape[1]));
            }
        }
    }
    // Classes that do not exist, and more rows than workgroups.
    cases.push(forward(NllLoss { reduction: Reduction::None, ..Default::default() }, &[50, 3], 5));
    cases.push(backward(NllLoss { reduction: Reduction::Sum, ..Default::default() }, &[50, 3], 5));
    cases.push(forward(NllLoss::default(), &[70_001, 3], 3));
    cases.push(backward(NllLoss::default(), &[70_001, 70], 70));
    cases
}

fn forward(op: NllLoss, shape: &[usize], below: usize) -> Case {
    let rows = [&shape[..1], &shape[2..]].concat();
    let c = [shape[1]];
    let weights: &[&[usize]] = if op.weights == Weights::Classes { &[&c] } else { &[] };
    let case = Case::new(op, &[&[shape, &rows], weights].concat())
        .input(0, Spec::f32(shape), Fill::Uniform { low: -12.0, high: -0.1 })
        .input(1, Spec::u32(&rows[..]), Fill::Index { below: below as u32 });
    match op.weights {
        Weights::None => case,
        Weights::Classes => case.input(2, Spec::f32(c), Fill::Uniform { low: 0.5, high: 2.0 }).constant(2),
    }
}

fn backward(op: NllLoss, shape: &[usize], below: usize) -> Case {
    let mut case = forward(op, shape, below);
    let specs: Vec<Spec> = case.inputs.iter().map(|i| i.0).collect();
    let loss = op.output(&specs).expect("operands that fit");
    case.op = std::sync::Arc::new(NllLossBackward { forward: op });
    case.inputs.push((loss, Fill::Uniform { low: 0.5, high: 1.5 }));
    case
}
