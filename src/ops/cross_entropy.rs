//! Cross-entropy between logits and classes or probabilities.
//!
//! Rows are the lines along C of logits `[N, C, ..]`. With logarithms of probabilities
//! `l = log_softmax(logits)`, smoothing ε, class weights w, and t the target (1 at the row's class, else 0, or given
//! probabilities): `loss = -Σ_c w_c·((1 - ε)·t_c + ε/C)·l_c`. Rows whose class is the ignore mark
//! ([`IGNORE_INDEX`](crate::IGNORE_INDEX)) give 0. The mean divides the sum by Σ w of the rows' classes, or with
//! probabilities by the number of rows.
//!
//! | tensor | shape |
//! |---|---|
//! | logits | `[N, C, ..]` |
//! | target | `[N, ..]` (u32), or with [`Target::Probabilities`] `[N, C, ..]` |
//! | weight, with [`Weights::Classes`] | `[C]` |
//! | loss | `[]`, or with [`Reduction::None`] `[N, ..]` |
//!
//! The scalar is ε. Weights are constants: no gradient flows to them. (PyTorch's `cross_entropy`.)

mod totals;

pub(crate) use totals::{total_loss, total_weight};

use crate::kernel::{Bind, Candidate, Dispatch};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Scalar, Tolerance, expected};
use crate::ops::argmax::Lines;
use crate::ops::batch_norm::floats;
use crate::ops::softmax::{TREE, Ways, by_line};
use crate::shape::{DType, Shape, Spec};
use crate::tensor::Tensor;

/// What becomes of the rows' losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Their weighted mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// They are the result.
    None,
}

/// What the target holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Target {
    /// The class of each row.
    #[default]
    Classes,
    /// A probability for each class of each row.
    Probabilities,
}

/// Whether classes have weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Weights {
    /// All count the same.
    #[default]
    None,
    /// The third input.
    Classes,
}

/// Cross-entropy of logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CrossEntropy {
    /// What becomes of the rows' losses.
    pub reduction: Reduction,
    /// What the target holds.
    pub target: Target,
    /// Whether classes have weights.
    pub weights: Weights,
}

/// The mark of rows that do not count.
pub(crate) const IGNORED: f64 = u32::MAX as f64;

impl CrossEntropy {
    fn rows(shape: Shape) -> Lines {
        Lines::new(shape, 1)
    }

    /// The shape of the result on these operands.
    fn output(&self, inputs: &[Spec]) -> Result<Spec, Expected> {
        let operands = if self.weights == Weights::None { 2 } else { 3 };
        let [x, target, ..] = inputs else { return expected("logits and target") };
        if inputs.len() != operands || x.dtype != DType::F32 || x.shape.rank() < 2 || x.shape[1] == 0 {
            return expected(format!("{operands} operands, logits of f32 [N, C, ..]"));
        }
        let dims = x.shape.dims();
        let rows = Shape::new(&[&dims[..1], &dims[2..]].concat());
        let fits = match self.target {
            Target::Classes => Spec::u32(rows),
            Target::Probabilities => *x,
        };
        if *target != fits {
            return expected(format!("a target {fits}"));
        }
        if inputs.get(2).is_some_and(|w| *w != Spec::f32([dims[1]])) {
            return expected(format!("weights of shape [{}]", dims[1]));
        }
        Ok(Spec::f32(if self.reduction == Reduction::None { rows } else { Shape::scalar() }))
    }

    /// `w_c·((1 - ε)·t_c + ε/C)` of class `c` of `row`; zero for rows that do not count.
    fn share(&self, io: &RefIo<'_>, lines: Lines, row: usize, c: usize) -> f64 {
        let (target, smoothing) = (io.inputs[1].data, io.scalars[0]);
        let weight = io.inputs.get(2).filter(|_| self.weights == Weights::Classes).map_or(1.0, |w| w.data[c]);
        let t = match self.target {
            Target::Classes if target[row] == IGNORED => return 0.0,
            // No class: the loss must not look right.
            Target::Classes if target[row] >= lines.d as f64 => return f64::NAN,
            Target::Classes => (target[row] == c as f64) as u8 as f64,
            Target::Probabilities => {
                target[row / lines.inner * lines.d * lines.inner + c * lines.inner + row % lines.inner]
            }
        };
        weight * ((1.0 - smoothing) * t + smoothing / lines.d as f64)
    }

    /// What the sum of all rows' losses is divided by.
    fn divisor(&self, io: &RefIo<'_>, lines: Lines) -> f64 {
        let rows = lines.outer * lines.inner;
        match (self.reduction, self.target) {
            (Reduction::Sum | Reduction::None, _) => 1.0,
            (Reduction::Mean, Target::Probabilities) => rows as f64,
            (Reduction::Mean, Target::Classes) => {
                let counted = io.inputs[1].data.iter().filter(|&&t| t != IGNORED);
                match self.weights {
                    Weights::None => counted.count() as f64,
                    Weights::Classes => counted.map(|&t| io.inputs[2].data.get(t as usize).copied().unwrap_or(f64::NAN)).sum(),
                }
            }
        }
    }

    fn constants(&self, dispatch: Dispatch) -> Dispatch {
        dispatch
            .constant("SOFT", self.target == Target::Probabilities)
            .constant("WEIGHTED", self.weights == Weights::Classes)
    }

    /// The weights' buffer, or another that is read.
    fn weight_bind(&self) -> Bind {
        Bind::Input(if self.weights == Weights::Classes { 2 } else { 0 })
    }
}

/// Log-softmax of class `c`'s value, given the values of its line.
fn log_softmax(x: &[f64], lines: Lines, row: usize) -> impl Fn(f64) -> f64 {
    let values = lines.line(row).map(|at| x[at]);
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    let rest = values.map(|v| (v - largest).exp()).sum::<f64>().ln();
    move |v| v - largest - rest
}

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        Ok(vec![self.output(inputs)?])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let x = io.inputs[0];
        let lines = Self::rows(x.shape);
        let mut losses = vec![0.0; lines.outer * lines.inner];
        crate::parallel::rows(&mut losses, 1, 30 * lines.d, |row, loss| {
            let log = log_softmax(x.data, lines, row);
            for (c, at) in lines.line(row).enumerate() {
                // A class that does not count must not matter, even at minus infinity.
                match self.share(io, lines, row, c) {
                    0.0 => {}
                    share => loss[0] -= share * log(x.data[at]),
                }
            }
        });
        if self.reduction == Reduction::None {
            return io.outputs[0].data.copy_from_slice(&losses);
        }
        io.outputs[0].data[0] = losses.iter().sum::<f64>() / self.divisor(io, lines);
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let mut grads = vec![None; g.inputs.len()];
        let Some(dy) = &g.dy[0] else { return grads };
        let op = CrossEntropyBackward { forward: *self };
        let inputs: Vec<&Tensor> = g.inputs.iter().chain([dy]).collect();
        grads[0] = Some(Tensor::apply1(op, &inputs, g.scalars));
        if self.target == Target::Probabilities && g.wants[1] {
            grads[1] = Some(self.target_gradient(g, dy));
        }
        grads
    }

    fn kernels(&self, io: Io<'_>, target: &crate::kernel::Target) -> Vec<Candidate> {
        let lines = Self::rows(io.inputs[0].shape);
        let (count, c, inner) = (lines.outer * lines.inner, lines.d as u32, lines.inner as u32);
        let each = self.reduction == Reduction::None;
        let losses = if each { Bind::Output(0) } else { Bind::Scratch(1) };
        let bind = [Bind::Input(0), Bind::Input(1), self.weight_bind(), losses, Bind::Scratch(0)];
        let serial = rows::dispatch(rows::Params { rows: count as u32, c, inner, smoothing: 0.0 })
            .groups(count.div_ceil(64) as u64)
            .trips(2 * lines.d as u64);
        let row = rows_tree::dispatch(rows_tree::Params { rows: count as u32, c, inner, smoothing: 0.0 })
            .groups(count as u64)
            .trips(2 * lines.d.div_ceil(64) as u64 + 24);
        let finish = |variant: &'static str, rows: Dispatch| {
            let rows = self.constants(rows).scalar("smoothing", 0).bind(&bind);
            let out = Candidate::new(variant).needs(TREE).scratch(floats(count.max(1)));
            if each {
                return out.dispatch(rows);
            }
            let out = out.scratch(floats(count.max(1))).dispatch(rows);
            total_loss(out, count, self.reduction, Bind::Scratch(1), Bind::Scratch(0))
        };
        let ways = Ways { serial: finish("rows", serial), row: finish("rows_tree", row), octets: Vec::new() };
        by_line(lines, target, ways)
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::OfMax(4e-6)
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: 6 * io.inputs[0].elements() as u64, bytes: io.bytes() }
    }
}

impl CrossEntropy {
    /// The gradient with respect to given probabilities: `-w_c·(1 - ε)·l_c·dy`, over the number of rows for a mean.
    fn target_gradient(&self, g: &GradIo<'_>, dy: &Tensor) -> Tensor {
        let x = &g.inputs[0];
        let lines = Self::rows(x.shape());
        let by = match self.reduction {
            Reduction::Mean => -1.0 / (lines.outer * lines.inner) as f64,
            Reduction::Sum | Reduction::None => -1.0,
        };
        let dy = match self.reduction {
            Reduction::None => dy.reshape([lines.outer, 1, lines.inner]),
            Reduction::Mean | Reduction::Sum => dy.reshape([1, 1, 1]),
        };
        let log = x.log_softmax(1).reshape([lines.outer, lines.d, lines.inner]);
        let mut d = log.mul(&dy).mul_scalar(by * (1.0 - g.scalars[0].value()));
        if self.weights == Weights::Classes {
            d = d.mul(&g.inputs[2].reshape([1, lines.d, 1]));
        }
        d.reshape(x.shape())
    }
}

/// The gradient of [`CrossEntropy`] with respect to the logits, from its inputs and dy:
/// `dx_c = dy·(softmax_c·Σ share - share_c)`, over the divisor for a mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CrossEntropyBackward {
    /// The loss.
    pub forward: CrossEntropy,
}

impl Op for CrossEntropyBackward {
    fn name(&self) -> &'static str {
        "cross_entropy_backward"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let Some((dy, inputs)) = inputs.split_last() else { return expected("logits, target and dy") };
        let loss = self.forward.output(inputs)?;
        if *dy != loss {
            return expected(format!("dy {loss}"));
        }
        Ok(vec![inputs[0]])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let mut outputs = std::mem::take(&mut io.outputs);
        let (io, forward) = (&*io, &self.forward);
        let (x, dy) = (io.inputs[0], io.inputs[io.inputs.len() - 1].data);
        let lines = CrossEntropy::rows(x.shape);
        let divisor = forward.divisor(io, lines);
        lines.each(outputs[0].data, |row, put| {
            let log = log_softmax(x.data, lines, row);
            let shares: f64 = (0..lines.d).map(|c| forward.share(io, lines, row, c)).sum();
            let dy = match forward.reduction {
                Reduction::None => dy[row],
                // Where no row counts, none gets anything.
                _ if divisor == 0.0 => 0.0,
                _ => dy[0] / divisor,
            };
            for (c, at) in lines.line(row).enumerate() {
                put(at, dy * (log(x.data[at]).exp() * shares - forward.share(io, lines, row, c)));
            }
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None; g.inputs.len()]
    }

    fn kernels(&self, io: Io<'_>, target: &crate::kernel::Target) -> Vec<Candidate> {
        let forward = &self.forward;
        let lines = CrossEntropy::rows(io.inputs[0].shape);
        let (count, c, inner) = (lines.outer * lines.inner, lines.d as u32, lines.inner as u32);
        let mean = forward.reduction == Reduction::Mean;
        let dy = Bind::Input(io.inputs.len() - 1);
        let (weight, labels) = (forward.weight_bind(), Bind::Input(1));
        let divisor = if mean { Bind::Scratch(0) } else { dy };
        let bind = [Bind::Input(0), labels, weight, dy, divisor, Bind::Output(0)];
        let params = rows_backward::Params { rows: count as u32, c, inner, smoothing: 0.0 };
        let serial =
            rows_backward::dispatch(params).groups(count.div_ceil(64) as u64).trips(3 * lines.d as u64);
        let params = rows_tree_backward::Params { rows: count as u32, c, inner, smoothing: 0.0 };
        let row = rows_tree_backward::dispatch(params)
            .groups(count as u64)
            .trips(3 * lines.d.div_ceil(64) as u64 + 18);
        let finish = |variant: &'static str, rows: Dispatch| {
            let rows = forward
                .constants(rows)
                .constant("MEAN", mean)
                .constant("EACH", forward.reduction == Reduction::None)
                .scalar("smoothing", 0)
                .bind(&bind);
            let out = Candidate::new(variant).needs(TREE);
            if !mean {
                return out.dispatch(rows);
            }
            let weigh = |d| forward.constants(d);
            total_weight(out.scratch(floats(1)), [count, lines.d, lines.inner], weigh, labels, weight)
                .dispatch(rows)
        };
        let ways = Ways { serial: finish("rows", serial), row: finish("rows_tree", row), octets: Vec::new() };
        by_line(lines, target, ways)
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::OfMax(4e-6)
    }
}

/// What cross-entropy takes besides logits and target.
#[derive(Clone, Copy, Debug, Default)]
pub struct CrossEntropyConfig<'a> {
    /// A weight per class, `[C]`.
    pub weight: Option<&'a Tensor>,
    /// What becomes of the rows' losses.
    pub reduction: Reduction,
    /// How much of the target is spread evenly over all classes, 0 to 1.
    pub label_smoothing: f64,
}

impl Tensor {
    /// The mean cross-entropy of these logits `[N, C, ..]` and a target: classes `[N, ..]` (u32; rows with the ignore
    /// mark do not count) or probabilities `[N, C, ..]` (f32). (PyTorch's `cross_entropy`.) An uploaded label that is
    /// no class is an [`Error::Label`](crate::Error::Label) of the next call that returns a `Result`; a computed one makes the loss NaN.
    ///
    /// # Panics
    /// When there are fewer than two axes, or the target has another shape.
    #[track_caller]
    pub fn cross_entropy(&self, target: &Tensor) -> Tensor {
        self.cross_entropy_with(target, CrossEntropyConfig::default())
    }

    /// Cross-entropy with class weights, label smoothing, or another reduction.
    ///
    /// # Panics
    /// As [`Tensor::cross_entropy`], and when there is not a weight per class, or the smoothing is not in 0..=1.
    #[track_caller]
    pub fn cross_entropy_with(&self, target: &Tensor, config: CrossEntropyConfig<'_>) -> Tensor {
        let smoothing = config.label_smoothing;
        assert!((0.0..=1.0).contains(&smoothing), "cross_entropy: a label smoothing of {smoothing}");
        let op = CrossEntropy {
            reduction: config.reduction,
            target: match target.spec().dtype {
                DType::U32 => Target::Classes,
                DType::F32 => Target::Probabilities,
            },
            weights: if config.weight.is_some() { Weights::Classes } else { Weights::None },
        };
        let inputs: Vec<&Tensor> = [self, target].into_iter().chain(config.weight).collect();
        // A kernel has no way to complain about a class that does not exist.
        if self.shape().rank() > 1
            && let Some(error) = target.label_beyond(self.shape()[1])
            && let Ok(loss) = op.output(&inputs.iter().map(|t| t.spec()).collect::<Vec<_>>())
        {
            return Tensor::failed(self.device(), loss, error);
        }
        Tensor::apply1(op, &inputs, &[Scalar::F(config.label_smoothing)])
    }
}

crate::kernel! {
    /// A thread per row.
    mod rows = "shaders/cross_entropy/rows.wgsl";
    params { rows: u32, c: u32, inner: u32, smoothing: f32 }
    bind { x: Read, labels: Read, weight: Read, losses: ReadWrite, weights: ReadWrite }
}

crate::kernel! {
    /// A workgroup per row.
    mod rows_tree = "shaders/cross_entropy/rows_tree.wgsl";
    params { rows: u32, c: u32, inner: u32, smoothing: f32 }
    bind { x: Read, labels: Read, weight: Read, losses: ReadWrite, weights: ReadWrite }
}

crate::kernel! {
    /// A thread per row.
    mod rows_backward = "shaders/cross_entropy_backward/rows.wgsl";
    params { rows: u32, c: u32, inner: u32, smoothing: f32 }
    bind { x: Read, labels: Read, weight: Read, dy: Read, divisor: Read, dx: ReadWrite }
}

crate::kernel! {
    /// A workgroup per row.
    mod rows_tree_backward = "shaders/cross_entropy_backward/rows_tree.wgsl";
    params { rows: u32, c: u32, inner: u32, smoothing: f32 }
    bind { x: Read, labels: Read, weight: Read, dy: Read, divisor: Read, dx: ReadWrite }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None] {
        for target in [Target::Classes, Target::Probabilities] {
            for weights in [Weights::None, Weights::Classes] {
                let op = CrossEntropy { reduction, target, weights };
                cases.push(forward(op, &[3, 4], 0.0).with_gradient());
                cases.push(forward(op, &[2, 3, 2], 0.1).with_gradient());
                for shape in [&[64usize, 10][..], &[1, 1], &[7, 70, 3, 2], &[300, 11], &[3, 5001], &[0, 3]] {
                    if reduction == Reduction::Mean && shape[0] == 0 {
                        continue;
                    }
                    cases.push(forward(op, shape, 0.1));
                    cases.push(backward(op, shape, 0.1));
                }
            }
        }
    }
    let plain = CrossEntropy::default();
    let weighted = CrossEntropy { weights: Weights::Classes, ..plain };
    for op in [plain, weighted] {
        cases.push(forward(op, &[70_001, 3], 0.0));
        cases.push(backward(op, &[70_001, 3], 0.0));
    }
    cases.push(forward(plain, &[2, 70_001], 0.0));
    cases.push(backward(plain, &[2, 70_001], 0.0));
    cases
}

fn forward(op: CrossEntropy, shape: &[usize], smoothing: f64) -> Case {
    let c = shape[1];
    let rows = [&shape[..1], &shape[2..]].concat();
    let target = match op.target {
        Target::Classes => (Spec::u32(&rows[..]), Fill::Index { below: c as u32 }),
        Target::Probabilities => (Spec::f32(shape), Fill::Uniform { low: 0.0, high: 2.0 / c as f64 }),
    };
    let weights: &[&[usize]] = if op.weights == Weights::Classes { &[&[c]] } else { &[] };
    let mut case = Case::new(op, &[&[shape, shape], weights].concat())
        .scalars(&[Scalar::F(smoothing)])
        .input(1, target.0, target.1);
    if op.weights == Weights::Classes {
        case = case.input(2, Spec::f32([c]), Fill::Uniform { low: 0.5, high: 2.0 }).constant(2);
    }
    case
}

fn backward(op: CrossEntropy, shape: &[usize], smoothing: f64) -> Case {
    let mut case = forward(op, shape, smoothing);
    let specs: Vec<Spec> = case.inputs.iter().map(|i| i.0).collect();
    let loss = op.output(&specs).expect("operands that fit");
    case.op = std::sync::Arc::new(CrossEntropyBackward { forward: op });
    case.inputs.push((loss, Fill::Uniform { low: 0.5, high: 1.5 }));
    case
}
