//! Sum, mean and maximum over axes.
//!
//! `y[k] = Σ_r x[r, k]`, `1/n·Σ_r x[r, k]` or `max_r x[r, k]`, where r runs over the reduced axes and k over the
//! others.
//!
//! | tensor | shape |
//! |---|---|
//! | x | any |
//! | y | the shape of x without the reduced axes |
//!
//! The order of the additions depends on the shape alone: several short chains per thread, then a tree, and a second
//! pass over what the first one left where there is much to add.

use crate::kernel::{Bind, Candidate, Dispatch, Needs, Target};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::ops::argmax::Lines;
use crate::ops::sum_of_chain::SumOfChain;
use crate::pointwise::Pointwise;
use crate::shape::{ALIGN, DType, Shape, Spec};
use crate::tensor::Tensor;
use std::sync::Arc;

/// What becomes of the elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Σ x
    Sum,
    /// Σ x / n
    Mean,
    /// max x. The axes must be adjacent.
    Max,
}

/// A reduction over axes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reduce {
    /// What becomes of the elements.
    pub reduction: Reduction,
    /// The axes that are reduced and removed, ascending.
    pub axes: Vec<usize>,
}

impl Reduce {
    fn kept(&self, shape: Shape) -> Shape {
        let kept: Vec<usize> =
            (0..shape.rank()).filter(|a| !self.axes.contains(a)).map(|a| shape[a]).collect();
        Shape::new(&kept)
    }

    fn count(&self, shape: Shape) -> usize {
        self.axes.iter().map(|&a| shape[a]).product()
    }
}

impl Op for Reduce {
    fn name(&self) -> &'static str {
        match self.reduction {
            Reduction::Sum => "sum",
            Reduction::Mean => "mean",
            Reduction::Max => "max",
        }
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let [x] = inputs else { return expected("one operand") };
        let ascending = self.axes.windows(2).all(|w| w[0] < w[1]);
        if x.dtype != DType::F32 || !ascending || self.axes.last().is_some_and(|&a| a >= x.shape.rank()) {
            return expected(format!("an operand of f32 with axes {:?}", self.axes));
        }
        if self.reduction != Reduction::Sum && self.count(x.shape) == 0 {
            return expected("at least one element to reduce");
        }
        if self.reduction == Reduction::Max && self.axes.windows(2).any(|w| w[0] + 1 != w[1]) {
            return expected("adjacent axes");
        }
        Ok(vec![Spec::f32(self.kept(x.shape))])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let x = io.inputs[0];
        let (strides, kept) = (x.shape.strides(), self.kept(x.shape));
        let axes: Vec<usize> = (0..x.shape.rank()).filter(|a| !self.axes.contains(a)).collect();
        let n = self.count(x.shape);
        crate::parallel::rows(io.outputs[0].data, 1, n, |i, y| {
            let start = offset(i, kept.dims(), axes.iter().map(|&a| strides[a]));
            let sizes: Vec<usize> = self.axes.iter().map(|&a| x.shape[a]).collect();
            let value = |r| x.data[start + offset(r, &sizes, self.axes.iter().map(|&a| strides[a]))];
            y[0] = match self.reduction {
                Reduction::Sum => (0..n).map(value).sum(),
                Reduction::Mean => (0..n).map(value).sum::<f64>() / n as f64,
                Reduction::Max => (0..n).map(value).fold(f64::NEG_INFINITY, f64::max),
            };
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let x = &g.inputs[0];
        let Some(dy) = &g.dy[0] else { return vec![None] };
        let keep = self.axes.iter().fold(x.shape(), |s, &a| s.with(a, 1));
        let spread = |dy: &Tensor| dy.reshape(keep).expand(x.shape());
        vec![Some(match self.reduction {
            Reduction::Sum => spread(dy),
            Reduction::Mean => spread(&dy.mul_scalar(1.0 / self.count(x.shape()) as f64)),
            Reduction::Max => Tensor::apply1(MaxBackward { axes: self.axes.clone() }, &[x, dy], &[]),
        })]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let shape = io.inputs[0].shape;
        let divisor = if self.reduction == Reduction::Mean { self.count(shape) as f32 } else { 1.0 };
        let plan =
            Plan { groups: Groups::new(shape, &self.axes), divisor, max: self.reduction == Reduction::Max };
        let base = plan.strided();
        match plan.subgroup8().or_else(|| plan.columns_octets()) {
            Some(c) if target.software_subgroup8() && io.inputs[0].elements() >= 1 << 15 => vec![c, base],
            Some(c) => vec![base.clone(), c, base],
            None => vec![base],
        }
    }

    fn draw_in(&self, chain: &Pointwise, inputs: &[Spec]) -> Option<Arc<dyn Op>> {
        let everything = self.axes.len() == Pointwise::shape(inputs)?.rank();
        let summed = everything && self.reduction != Reduction::Max && chain.fits();
        summed.then(|| Arc::new(SumOfChain { chain: chain.clone(), reduction: self.reduction }) as Arc<dyn Op>)
    }

    fn tolerance(&self, io: Io<'_>, _output: usize) -> Tolerance {
        match self.reduction {
            Reduction::Max => Tolerance::Exact,
            _ => Tolerance::Sum { n: self.count(io.inputs[0].shape) },
        }
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: io.inputs[0].elements() as u64, bytes: io.bytes() }
    }
}

/// The offset of element `i` of a tensor of these sizes and strides.
fn offset(mut i: usize, sizes: &[usize], strides: impl DoubleEndedIterator<Item = usize>) -> usize {
    let mut at = 0;
    for (&size, stride) in sizes.iter().rev().zip(strides.rev()) {
        at += i % size * stride;
        i /= size;
    }
    at
}

/// The gradient of a maximum over adjacent axes: `dx = dy` at the first maximum, else 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MaxBackward {
    /// The axes of the maximum.
    pub axes: Vec<usize>,
}

impl MaxBackward {
    fn lines(&self, x: Shape) -> Lines {
        let (first, end) = match self.axes.as_slice() {
            [] => (0, 0),
            axes => (axes[0], axes[axes.len() - 1] + 1),
        };
        Lines { outer: x.span(0, first), d: x.span(first, end), inner: x.span(end, x.rank()) }
    }
}

impl Op for MaxBackward {
    fn name(&self) -> &'static str {
        "max_backward"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let [x, dy] = inputs else { return expected("x and dy") };
        let y = Reduce { reduction: Reduction::Max, axes: self.axes.clone() }.outputs(&inputs[..1])?;
        if y[0] != *dy {
            return expected(format!("dy of shape {}", y[0].shape));
        }
        Ok(vec![*x])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (x, dy) = (io.inputs[0], io.inputs[1]);
        let lines = self.lines(x.shape);
        io.outputs[0].data.fill(0.0);
        for (at, &dy) in dy.data.iter().enumerate() {
            let d = lines.first_maximum(x.data, at);
            let (o, i) = (at / lines.inner, at % lines.inner);
            io.outputs[0].data[(o * lines.d + d) * lines.inner + i] = dy;
        }
    }

    fn grad(&self, _: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None, None]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let lines = self.lines(io.inputs[0].shape);
        let len = io.inputs[0].elements();
        let found = (4 * lines.outer * lines.inner) as u64;
        let out = Candidate::new("strided").scratch(found.next_multiple_of(ALIGN));
        let params = max_backward::Params { len: len as u32, d: lines.d as u32, inner: lines.inner as u32 };
        let dispatch = max_backward::dispatch(params)
            .bind(&[Bind::Input(1), Bind::Scratch(0), Bind::Output(0)])
            .groups(len.div_ceil(64) as u64);
        vec![lines.argmax(out, 0, Bind::Scratch(0)).dispatch(dispatch)]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Exact
    }
}

impl Tensor {
    /// The sum over `axes`, which are removed; without axes the tensor itself.
    /// (PyTorch's `sum(dim)`.)
    ///
    /// # Panics
    /// When there is no such axis, or one is named twice.
    #[track_caller]
    pub fn sum(&self, axes: &[usize]) -> Tensor {
        self.reduce(Reduction::Sum, axes)
    }

    /// The sum over `axes`, which stay with size 1. (PyTorch's `sum(dim, keepdim=True)`.)
    ///
    /// # Panics
    /// As [`Tensor::sum`].
    #[track_caller]
    pub fn sum_keep(&self, axes: &[usize]) -> Tensor {
        self.sum(axes).reshape(axes.iter().fold(self.shape(), |s, &a| s.with(a, 1)))
    }

    /// The mean over `axes`, which are removed. (PyTorch's `mean(dim)`.)
    ///
    /// # Panics
    /// As [`Tensor::sum`], and when there is nothing to average.
    #[track_caller]
    pub fn mean(&self, axes: &[usize]) -> Tensor {
        self.reduce(Reduction::Mean, axes)
    }

    /// The largest element over `axes`, which are removed. Its gradient goes to the first maximum, searched along
    /// the last stretch of adjacent axes first. (PyTorch's `max`.)
    ///
    /// # Panics
    /// As [`Tensor::sum`], and when there is nothing to compare.
    #[track_caller]
    pub fn max(&self, axes: &[usize]) -> Tensor {
        let mut left = axes.to_vec();
        left.sort_unstable();
        let mut x = self.clone();
        while !left.is_empty() {
            // The last stretch of adjacent axes; removing it does not renumber those before it.
            let first = (1..left.len()).rev().find(|&i| left[i - 1] + 1 != left[i]).unwrap_or(0);
            x = x.reduce(Reduction::Max, &left.split_off(first));
        }
        x
    }

    #[track_caller]
    fn reduce(&self, reduction: Reduction, axes: &[usize]) -> Tensor {
        if axes.is_empty() {
            return self.clone();
        }
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        Tensor::apply1(Reduce { reduction, axes }, &[self], &[])
    }
}

crate::kernel! {
    /// One thread per segment of a result.
    mod strided = "shaders/reduce/strided.wgsl";
    params {
        r1: u32, k: u32, r2: u32, inner: u32, segments: u32, step_r1: u32, step_r2: u32, trips: u32, divisor: f32,
    }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One 8-lane subgroup per part of a result.
    mod subgroup8 = "shaders/reduce/subgroup8.wgsl";
    params { r1: u32, k: u32, r2: u32, piece: u32, pieces: u32, per_group: u32, groups: u32, divisor: f32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One 8-lane subgroup per part of 64 columns.
    mod columns_octets = "shaders/reduce/columns_octets.wgsl";
    params { r: u32, k8: u32, per_part: u32, parts: u32, divisor: f32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per element of dx.
    mod max_backward = "shaders/reduce/max_backward.wgsl";
    params { len: u32, d: u32, inner: u32 }
    bind { dy: Read, found: Read, dx: ReadWrite }
}

/// Adjacent axes merged: sizes, and whether they are reduced; kinds alternate.
#[derive(Clone, Debug)]
struct Groups(Vec<(usize, bool)>);

impl Groups {
    fn new(shape: Shape, axes: &[usize]) -> Self {
        let mut groups: Vec<(usize, bool)> = Vec::new();
        for (axis, &size) in shape.dims().iter().enumerate().filter(|(_, s)| **s != 1) {
            let reduced = axes.contains(&axis);
            match groups.last_mut() {
                Some((n, r)) if *r == reduced => *n *= size,
                _ => groups.push((size, reduced)),
            }
        }
        Groups(groups)
    }

    /// As [R1, K, R2, I], if that is enough.
    fn four(&self) -> Option<Four> {
        let g = |i: usize| self.0.get(i).map_or(1, |g| g.0);
        let (first, n) = (self.0.first().is_none_or(|g| g.1), self.0.len());
        match (first, n) {
            (true, 0..=4) if n > 1 => Some(Four { r1: g(0), k: g(1), r2: g(2), inner: g(3) }),
            (true, _) if n <= 1 => Some(Four { r1: 1, k: 1, r2: g(0), inner: 1 }),
            (false, 1..=3) => Some(Four { r1: 1, k: g(0), r2: g(1), inner: g(2) }),
            _ => None,
        }
    }

    /// Takes off the last reduced group: what is left, and the reduction that does it.
    fn peel(&self) -> (Groups, Four) {
        let at = self.0.iter().rposition(|g| g.1).expect("more than four groups hold reduced ones");
        let size = |g: &[(usize, bool)]| g.iter().map(|g| g.0).product();
        let four = Four { r1: 1, k: size(&self.0[..at]), r2: self.0[at].0, inner: size(&self.0[at + 1..]) };
        let mut left = self.0.clone();
        left.remove(at);
        if at > 0 && at < left.len() {
            left[at - 1].0 *= left.remove(at).0;
        }
        (Groups(left), four)
    }
}

/// A tensor as [R1, K, R2, I], reduced over R1 and R2.
#[derive(Clone, Copy, Debug)]
struct Four {
    r1: usize,
    k: usize,
    r2: usize,
    inner: usize,
}

impl Four {
    fn reduced(self) -> usize {
        self.r1 * self.r2
    }

    fn results(self) -> usize {
        self.k * self.inner
    }
}

/// Appends what adds up the `parts` numbers in `from` and divides the sum.
pub(crate) fn add_up(out: Candidate, from: Bind, parts: usize, divisor: f32) -> Candidate {
    let plan = Plan { groups: Groups(Vec::new()), divisor, max: false };
    plan.passes(out, Four { r1: 1, k: 1, r2: parts, inner: 1 }, from, true).0
}

struct Plan {
    groups: Groups,
    divisor: f32,
    max: bool,
}

/// Elements that one thread adds up in its eight chains.
const PER_THREAD: usize = 256;

/// Rows that a subgroup adds up in its four chains.
const COLUMN_ROWS: usize = 128;

impl Plan {
    fn strided(&self) -> Candidate {
        let mut out = Candidate::new("strided");
        let (mut groups, mut from) = (self.groups.clone(), Bind::Input(0));
        loop {
            let (four, rest) = match groups.four() {
                Some(four) => (four, None),
                None => {
                    let (rest, four) = groups.peel();
                    (four, Some(rest))
                }
            };
            (out, from) = self.passes(out, four, from, rest.is_none());
            match rest {
                Some(rest) => groups = rest,
                None => return out,
            }
        }
    }

    /// Appends the passes that reduce `four`; the last one of all writes the output.
    fn passes(&self, mut out: Candidate, mut four: Four, mut from: Bind, last: bool) -> (Candidate, Bind) {
        loop {
            let n = four.reduced();
            let mut left = n.div_ceil(PER_THREAD);
            if left > PER_THREAD {
                // Another pass will follow: parts of about equal length.
                left = left.next_multiple_of(PER_THREAD);
            }
            let segments = left.max(1);
            let end = last && segments == 1;
            let to = if end { Bind::Output(0) } else { Bind::Scratch(out.scratch.len()) };
            if !end {
                let bytes = (4 * four.results() * segments) as u64;
                out = out.scratch(bytes.next_multiple_of(ALIGN));
            }
            let divisor = if end { self.divisor } else { 1.0 };
            out = out.dispatch(self.pass(four, segments, divisor).bind(&[from, to]));
            if segments == 1 {
                return (out, to);
            }
            (four, from) = (Four { r1: 1, k: four.k, r2: segments, inner: four.inner }, to);
        }
    }

    fn pass(&self, four: Four, segments: usize, divisor: f32) -> Dispatch {
        let trips = four.reduced().div_ceil(segments).div_ceil(8);
        let params = strided::Params {
            r1: if four.reduced() == 0 { 0 } else { four.r1 as u32 },
            k: four.k as u32,
            r2: four.r2 as u32,
            inner: four.inner as u32,
            segments: segments as u32,
            step_r1: (segments / four.r2.max(1)) as u32,
            step_r2: (segments % four.r2.max(1)) as u32,
            trips: trips as u32,
            divisor,
        };
        strided::dispatch(params)
            .constant("MAXIMUM", self.max)
            .groups((four.results() * segments).div_ceil(64) as u64)
            .trips(trips as u64)
    }

    /// Sums of columns whose rows are whole octets.
    fn columns_octets(&self) -> Option<Candidate> {
        let whole = |f: &Four| f.r2 == 1 && f.inner == 1 && f.k.is_multiple_of(8) && f.k >= 64 && f.r1 > 0;
        let four = self.groups.four().filter(|f| !self.max && whole(f))?;
        let parts = four.r1.div_ceil(COLUMN_ROWS);
        let params = columns_octets::Params {
            r: four.r1 as u32,
            k8: (four.k / 8) as u32,
            per_part: COLUMN_ROWS as u32,
            parts: parts as u32,
            divisor: if parts == 1 { self.divisor } else { 1.0 },
        };
        let dispatch = columns_octets::dispatch(params)
            .groups((four.k.div_ceil(64) * parts) as u64)
            .trips((COLUMN_ROWS / 4) as u64);
        let out = Candidate::new("columns_octets").needs(Needs::SUBGROUP8);
        if parts == 1 {
            return Some(out.dispatch(dispatch.bind(&[Bind::Input(0), Bind::Output(0)])));
        }
        let bytes = (4 * four.k * parts) as u64;
        let out = out
            .scratch(bytes.next_multiple_of(ALIGN))
            .dispatch(dispatch.bind(&[Bind::Input(0), Bind::Scratch(0)]));
        let rest = Four { r1: parts, k: four.k, r2: 1, inner: 1 };
        Some(self.passes(out, rest, Bind::Scratch(0), true).0)
    }

    /// Octet loads need the reduced elements side by side.
    fn subgroup8(&self) -> Option<Candidate> {
        let four =
            self.groups.four().filter(|f| !self.max && f.inner == 1 && f.r2 >= 16 && f.reduced() > 0)?;
        let piece = four.r2.min(512);
        let pieces = four.r2.div_ceil(piece);
        let all = four.r1 * pieces;
        // A piece takes up to piece / 64 + 1 trips; 64 trips per subgroup keep the chains short.
        let per_group = (64 / (piece.div_ceil(64) + 1)).max(1);
        let groups = all.div_ceil(per_group);
        let params = subgroup8::Params {
            r1: four.r1 as u32,
            k: four.k as u32,
            r2: four.r2 as u32,
            piece: piece as u32,
            pieces: pieces as u32,
            per_group: per_group as u32,
            groups: groups as u32,
            divisor: if groups == 1 { self.divisor } else { 1.0 },
        };
        let dispatch = subgroup8::dispatch(params).groups((four.k * groups) as u64).trips(128);
        let out = Candidate::new("subgroup8").needs(Needs::SUBGROUP8);
        if groups == 1 {
            return Some(out.dispatch(dispatch.bind(&[Bind::Input(0), Bind::Output(0)])));
        }
        let bytes = (4 * four.k * groups) as u64;
        let out = out
            .scratch(bytes.next_multiple_of(ALIGN))
            .dispatch(dispatch.bind(&[Bind::Input(0), Bind::Scratch(0)]));
        let rest = Four { r1: 1, k: four.k, r2: groups, inner: 1 };
        Some(self.passes(out, rest, Bind::Scratch(0), true).0)
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    use Reduction::{Max, Mean, Sum};
    let of = |reduction, axes: &[usize], shape: &[usize]| {
        Case::new(Reduce { reduction, axes: axes.to_vec() }, &[shape])
    };
    let mut cases = Vec::new();
    for kind in [Sum, Mean, Max] {
        for (axes, shape) in [
            (&[0usize][..], &[5usize][..]),
            (&[1], &[3, 4]),
            (&[0], &[3, 4]),
            (&[0, 1], &[3, 4]),
            (&[1, 2], &[2, 3, 4, 2]),
        ] {
            cases.push(of(kind, axes, shape).fill(Fill::Distinct).with_gradient());
        }
        for (axes, shape) in [
            (&[1usize][..], &[7usize, 1][..]),
            (&[0], &[1]),
            (&[1], &[5, 257]),
            (&[1], &[3, 2049, 5]),
            (&[0], &[300, 77]),
            (&[0], &[301, 120]),
            (&[0], &[90, 400]),
            (&[0], &[70_001]),
            (&[0], &[1_050_001]),
            (&[1], &[70_000, 64]),
            (&[1, 2], &[3, 100, 33]),
            (&[1], &[4, 16, 1]),
        ] {
            cases.push(of(kind, axes, shape));
        }
    }
    for kind in [Sum, Mean] {
        for (axes, shape) in [
            (&[0usize, 2][..], &[3usize, 4, 2][..]),
            (&[1, 3], &[2, 3, 2, 3]),
            (&[0, 2, 4], &[2, 3, 2, 2, 2, 3]),
        ] {
            cases.push(of(kind, axes, shape).with_gradient());
        }
        for (axes, shape) in [
            (&[0usize, 2, 3][..], &[16usize, 8, 14, 14][..]),
            (&[0, 2, 3], &[5, 3, 7, 11]),
            (&[0, 2, 3], &[64, 32, 28, 28]),
            (&[1, 3, 5], &[3, 5, 4, 7, 2, 9]),
            (&[0, 2], &[700, 3, 300]),
        ] {
            cases.push(of(kind, axes, shape));
        }
    }
    cases.push(of(Sum, &[0], &[0]));
    cases.push(of(Sum, &[1], &[3, 0]));
    cases.push(of(Sum, &[1], &[0, 3]));
    cases.push(of(Sum, &[0], &[500_000]).fill(Fill::Normal { mean: 1e3, std: 1.0 }));
    cases.push(of(Max, &[1], &[9, 40]).fill(Fill::Ties));
    let backward = |axes: &[usize], x: &[usize], dy: &[usize]| {
        Case::new(MaxBackward { axes: axes.to_vec() }, &[x, dy]).fill(Fill::Ties)
    };
    cases.push(backward(&[1], &[4, 9], &[4]));
    cases.push(backward(&[1, 2], &[3, 40, 30, 2], &[3, 2]));
    cases
}
