//! The k largest elements along an axis, largest first, and where they lie: `values[o, j, i] = x[o, indices[o, j, i], i]`.
//! Of equal elements the one with the lowest index comes first. A NaN is above every number, as in PyTorch; 0 and -0 are
//! equal.
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[.., D, ..]` |
//! | values, indices (u32) | `[.., k, ..]` |
//!
//! A merge sort that keeps k of each list: stretches of `STRETCH` elements are sorted, then up to `FAN` lists are
//! merged to one until one is left. Every thread places one candidate by counting those before it, in sorted lists by
//! bisection, so no loop grows with D or k.

use crate::kernel::{Bind, Candidate, Target};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::ops::argmax::Lines;
use crate::shape::{ALIGN, DType, Spec};
use crate::tensor::Tensor;
use std::cmp::Ordering;

/// The k largest elements along one axis. Results: values, indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopK {
    /// How many.
    pub k: usize,
    /// The axis that is searched.
    pub axis: usize,
}

/// Elements that are sorted without lists.
const STRETCH: usize = 128;
/// Lists that are merged at once.
const FAN: usize = 32;

impl Op for TopK {
    fn name(&self) -> &'static str {
        "topk"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        match inputs {
            [x] if x.dtype == DType::F32
                && self.axis < x.shape.rank()
                && (1..=x.shape[self.axis]).contains(&self.k) =>
            {
                let shape = x.shape.with(self.axis, self.k);
                Ok(vec![Spec::f32(shape), Spec::u32(shape)])
            }
            _ => expected(format!(
                "one operand of f32 with at least {} elements along axis {}, and k of at least 1",
                self.k, self.axis
            )),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let x = io.inputs[0];
        let Lines { outer, d, inner } = Lines::new(x.shape, self.axis);
        let [values, indices] = &mut io.outputs[..] else { unreachable!("two results") };
        let mut order = Vec::with_capacity(d);
        for line in 0..outer * inner {
            let (o, i) = (line / inner, line % inner);
            let value = |d_: usize| x.data[(o * d + d_) * inner + i];
            order.clear();
            order.extend(0..d);
            order.sort_by(|&a, &b| descending(value(a), value(b)));
            for (j, &at) in order[..self.k].iter().enumerate() {
                values.data[(o * self.k + j) * inner + i] = value(at);
                indices.data[(o * self.k + j) * inner + i] = at as f64;
            }
        }
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let op = TopKBackward { axis: self.axis, d: g.inputs[0].shape()[self.axis] };
        vec![g.dy[0].as_ref().map(|dy| Tensor::apply1(op, &[&g.outputs[1], dy], &[]))]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        vec![self.merges(Lines::new(io.inputs[0].shape, self.axis))]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Exact
    }
}

/// The order of the results: larger numbers first, NaNs before them.
fn descending(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

impl TopK {
    fn merges(&self, Lines { outer, d, inner }: Lines) -> Candidate {
        let mut out = Candidate::new("merge");
        // Candidates along D, in sorted lists of so many.
        let (mut n, mut length, mut fan) = (d, 1, STRETCH);
        let mut found = Bind::Input(0);
        loop {
            let groups = n.div_ceil(length * fan);
            let kept = self.k.min(length * fan);
            let next = (groups - 1) * kept + kept.min(n - (groups - 1) * length * fan);
            let (first, last) = (length == 1 && fan == STRETCH, groups == 1);
            let params = merge::Params {
                len: (outer * n * inner) as u32,
                d: d as u32,
                n: n as u32,
                inner: inner as u32,
                length: length as u32,
                fan: fan as u32,
                kept: kept as u32,
                next: next as u32,
            };
            let to = if last { Bind::Output(1) } else { Bind::Scratch(out.scratch.len()) };
            let steps = if first { 1 } else { 2 + length.ilog2() };
            let dispatch = merge::dispatch(params)
                .constant("FIRST", first)
                .constant("LAST", last)
                .bind(&[Bind::Input(0), found, to, Bind::Output(0)])
                .groups((outer * n * inner).div_ceil(64) as u64)
                .trips(fan.min(n) as u64 * u64::from(steps));
            out = out.dispatch(dispatch);
            if last {
                return out;
            }
            out = out.scratch(((4 * outer * next * inner) as u64).next_multiple_of(ALIGN));
            (n, length, fan, found) = (next, kept, FAN, to);
        }
    }
}

/// The gradient of [`TopK`]: dy of each element that was found, zero elsewhere. Inputs: the indices, of which no two along
/// the axis may be equal, and dy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopKBackward {
    /// The axis that was searched.
    pub axis: usize,
    /// Its elements.
    pub d: usize,
}

impl Op for TopKBackward {
    fn name(&self) -> &'static str {
        "topk_backward"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        match inputs {
            [indices, dy]
                if *indices == Spec::u32(indices.shape)
                    && *dy == Spec::f32(indices.shape)
                    && self.axis < dy.shape.rank()
                    && dy.shape[self.axis] <= self.d =>
            {
                Ok(vec![Spec::f32(dy.shape.with(self.axis, self.d))])
            }
            _ => {
                let (axis, d) = (self.axis, self.d);
                expected(format!("indices and dy of one shape with at most {d} elements along axis {axis}"))
            }
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (indices, dy) = (io.inputs[0], io.inputs[1]);
        let Lines { d: k, inner, .. } = Lines::new(dy.shape, self.axis);
        let dx = &mut io.outputs[0].data;
        dx.fill(0.0);
        for (at, (&index, &dy)) in indices.data.iter().zip(dy.data).enumerate() {
            if index < self.d as f64 {
                dx[(at / (k * inner) * self.d + index as usize) * inner + at % inner] = dy;
            }
        }
    }

    fn grad(&self, _: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None, None]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let Lines { outer, d: k, inner } = Lines::new(io.inputs[1].shape, self.axis);
        let (len, units) = (outer * k * inner, io.outputs[0].elements().div_ceil(4));
        let clear = clear::dispatch(clear::Params { len: units as u32 });
        let params =
            scatter::Params { len: len as u32, d: self.d as u32, k: k as u32, inner: inner as u32 };
        let scatter = scatter::dispatch(params).bind(&[Bind::Input(0), Bind::Input(1), Bind::Output(0)]);
        let all = Candidate::new("scatter")
            .dispatch(clear.bind(&[Bind::Output(0)]).groups(units.div_ceil(64) as u64))
            .dispatch(scatter.groups(len.div_ceil(64) as u64));
        vec![all]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Exact
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: 0, bytes: io.bytes() }
    }
}

impl Tensor {
    /// The `k` largest elements along `axis`, largest first, and their indices (u32): both of this shape, with `k` in
    /// place of the axis's size. Of equal elements the one with the lowest index comes first; a NaN is above every number.
    /// Gradients flow to the elements that were found. (PyTorch's `topk`, which leaves open which of equal elements it
    /// finds.)
    ///
    /// # Panics
    /// When there is no such axis, it has fewer than `k` elements, or `k` is 0.
    #[track_caller]
    pub fn topk(&self, k: usize, axis: usize) -> (Tensor, Tensor) {
        let mut results = Tensor::apply(TopK { k, axis }, &[self], &[]).into_iter();
        match (results.next(), results.next()) {
            (Some(values), Some(indices)) => (values, indices),
            _ => unreachable!("two results"),
        }
    }
}

crate::kernel! {
    /// One thread per candidate.
    mod merge = "shaders/topk/merge.wgsl";
    params { len: u32, d: u32, n: u32, inner: u32, length: u32, fan: u32, kept: u32, next: u32 }
    bind { x: Read, found: Read, indices: ReadWrite, values: ReadWrite }
}

crate::kernel! {
    /// Zeros.
    mod clear = "shaders/embedding_backward/clear.wgsl";
    params { len: u32 }
    bind { y: ReadWrite }
}

crate::kernel! {
    /// One thread per element that was found.
    mod scatter = "shaders/topk_backward/scatter.wgsl";
    params { len: u32, d: u32, k: u32, inner: u32 }
    bind { indices: Read, dy: Read, dx: ReadWrite }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let of = |k, axis, shape: &[usize]| Case::new(TopK { k, axis }, &[shape]);
    // All different, and so many that some are no element of the line.
    let back = |axis, d, shape: &[usize]| {
        let normal = Fill::Normal { mean: 0.0, std: 1.0 };
        let case = Case::new(TopKBackward { axis, d }, &[shape, shape]).fill(normal);
        case.input(0, Spec::u32(shape), Fill::Distinct)
    };
    vec![
        of(1, 0, &[1]),
        of(3, 0, &[7]),
        of(7, 0, &[7]).fill(Fill::Ties),
        of(5, 1, &[64, 10]),
        of(4, 1, &[3, 11, 5]).fill(Fill::Ties),
        of(2, 0, &[3, 2, 2]).fill(Fill::Ties),
        of(128, 0, &[128, 3]),
        of(5, 1, &[2, 129]).fill(Fill::Ties),
        of(200, 1, &[3, 257]),
        of(300, 0, &[600, 3]).fill(Fill::Ties),
        of(5, 1, &[8, 1000]),
        of(1000, 1, &[2, 1000]).fill(Fill::Ties),
        of(3, 1, &[2, 5000, 3]).fill(Fill::Ties),
        of(10, 1, &[2, 70_001]),
        of(70_001, 1, &[1, 70_001]).fill(Fill::Ties),
        of(2, 1, &[0, 4]),
        // More workgroups than one dimension of the grid can count.
        of(1, 1, &[4_200_000, 1]),
        back(0, 1, &[1]),
        back(0, 12, &[7]),
        back(1, 30, &[3, 5, 2]),
        back(0, 70_001, &[70_001]),
        back(1, 4, &[0, 4]),
        of(3, 1, &[2, 7, 3]).fill(Fill::Distinct).with_gradient(),
        of(4, 0, &[4, 2]).fill(Fill::Distinct).with_gradient(),
    ]
}
