//! Index of the largest element along an axis: `y[o, i] = argmax_d x[o, d, i]`; the first of equal ones.
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[.., D, ..]` |
//! | y (u32) | the same without D |

use crate::kernel::{Bind, Candidate, Target};
use crate::op::{Case, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::shape::{ALIGN, DType, Shape, Spec};
use crate::tensor::Tensor;

/// The first maximum along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Argmax {
    /// The axis that is searched and removed.
    pub axis: usize,
}

/// A tensor seen as `[outer, d, inner]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines {
    pub outer: usize,
    pub d: usize,
    pub inner: usize,
}

impl Lines {
    pub(crate) fn new(shape: Shape, axis: usize) -> Self {
        Lines { outer: shape.span(0, axis), d: shape[axis], inner: shape.span(axis + 1, shape.rank()) }
    }

    /// Adds the dispatches that write the indices of the first maxima of input `x` to `to`.
    pub(crate) fn argmax(self, out: Candidate, x: usize, to: Bind) -> Candidate {
        let segments = self.d.div_ceil(STRETCH);
        let params = |segments: usize| strided::Params {
            outer: self.outer as u32,
            d: self.d as u32,
            inner: self.inner as u32,
            segments: segments as u32,
            length: self.d.div_ceil(segments) as u32,
        };
        let threads = self.outer * self.inner;
        let x = Bind::Input(x);
        if segments <= 1 {
            let whole = strided::dispatch(params(1)).bind(&[x, x, to]).groups(threads.div_ceil(64) as u64);
            return out.dispatch(whole.trips(self.d as u64));
        }
        // Stretches of equal length may leave the last ones empty.
        let segments = self.d.div_ceil(self.d.div_ceil(segments));
        let found = Bind::Scratch(out.scratch.len());
        let bytes = (4 * threads * segments) as u64;
        let first = strided::dispatch(params(segments))
            .bind(&[x, x, found])
            .groups((threads * segments).div_ceil(64) as u64)
            .trips(STRETCH as u64);
        let second = strided::dispatch(params(segments))
            .constant("SECOND", true)
            .bind(&[x, found, to])
            .groups(threads.div_ceil(64) as u64)
            .trips(segments as u64);
        out.scratch(bytes.next_multiple_of(ALIGN)).dispatch(first).dispatch(second)
    }
}

/// Elements that one thread searches.
const STRETCH: usize = 512;

impl Op for Argmax {
    fn name(&self) -> &'static str {
        "argmax"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        match inputs {
            [x] if x.dtype == DType::F32 && self.axis < x.shape.rank() && x.shape[self.axis] > 0 => {
                Ok(vec![Spec::u32(without(x.shape, self.axis))])
            }
            _ => expected(format!("one operand of f32 with elements along axis {}", self.axis)),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let x = io.inputs[0];
        let lines = Lines::new(x.shape, self.axis);
        crate::parallel::rows(io.outputs[0].data, 1, lines.d, |at, y| {
            y[0] = lines.first_maximum(x.data, at) as f64;
        });
    }

    fn grad(&self, _: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let lines = Lines::new(io.inputs[0].shape, self.axis);
        vec![lines.argmax(Candidate::new("strided"), 0, Bind::Output(0))]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Exact
    }
}

impl Lines {
    /// The index along D of the first maximum of result `at` of `[outer, inner]`.
    pub(crate) fn first_maximum(self, x: &[f64], at: usize) -> usize {
        let base = at / self.inner * self.d * self.inner + at % self.inner;
        let value = |d: usize| x[base + d * self.inner];
        (1..self.d).fold(0, |best, d| if value(d) > value(best) { d } else { best })
    }
}

fn without(shape: Shape, axis: usize) -> Shape {
    Shape::new(&[&shape.dims()[..axis], &shape.dims()[axis + 1..]].concat())
}

impl Tensor {
    /// Indices (u32) of the largest elements along `axis`, which is removed; the first of equal ones.
    /// (PyTorch's `argmax(dim)`.)
    ///
    /// # Panics
    /// When there is no such axis or it is empty.
    #[track_caller]
    pub fn argmax(&self, axis: usize) -> Tensor {
        Tensor::apply1(Argmax { axis }, &[self], &[])
    }
}

crate::kernel! {
    /// One thread per stretch of a line.
    pub(crate) mod strided = "shaders/argmax/strided.wgsl";
    params { outer: u32, d: u32, inner: u32, segments: u32, length: u32 }
    bind { x: Read, found: Read, y: ReadWrite }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let of = |axis, shape: &[usize]| Case::new(Argmax { axis }, &[shape]);
    vec![
        of(0, &[1]),
        of(0, &[7]),
        of(1, &[5, 13]),
        of(1, &[3, 11, 5]).fill(Fill::Ties),
        of(0, &[600, 3]).fill(Fill::Ties),
        of(1, &[2, 70_001]),
        of(1, &[2, 5000, 3]).fill(Fill::Ties),
        of(1, &[0, 4]),
        of(1, &[64, 10]),
        of(1, &[4_200_000, 1]),
    ]
}
