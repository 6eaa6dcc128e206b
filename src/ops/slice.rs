//! Slice: `y[c] = x[c + start]`.
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[d_0, ..]`, f32 or u32 |
//! | y | `[end_0 - start_0, ..]` |

use super::strided_copy::{self, StridedCopy};
use crate::kernel::{Candidate, Target};
use crate::op::{Case, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;
use std::ops::Range;

/// A part of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// The part's range along each axis.
    pub ranges: Vec<Range<usize>>,
}

impl Slice {
    fn dims(&self) -> Vec<usize> {
        self.ranges.iter().map(|r| r.len()).collect()
    }

    fn offset(&self, strides: &[usize]) -> usize {
        self.ranges.iter().zip(strides).map(|(range, stride)| range.start * stride).sum()
    }
}

impl Op for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let inside = |x: &Spec| {
            let fits =
                |(range, &size): (&Range<usize>, &usize)| range.start <= range.end && range.end <= size;
            x.shape.rank() == self.ranges.len() && self.ranges.iter().zip(x.shape.dims()).all(fits)
        };
        match inputs {
            [x] if inside(x) => Ok(vec![Spec { shape: Shape::new(&self.dims()), dtype: x.dtype }]),
            _ => expected(format!("one operand that has the ranges {:?}, one per axis", self.ranges)),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let strides = io.inputs[0].shape.strides();
        let offset = self.offset(&strides);
        strided_copy::reference(io.inputs[0].data, io.outputs[0].data, &self.dims(), &strides, offset);
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let x = g.inputs[0].shape();
        let amounts: Vec<(usize, usize)> =
            self.ranges.iter().zip(x.dims()).map(|(range, size)| (range.start, size - range.end)).collect();
        vec![g.dy[0].as_ref().map(|dy| dy.pad(&amounts, 0.0))]
    }

    fn kernels(&self, io: Io<'_>, _target: &Target) -> Vec<Candidate> {
        let strides = io.inputs[0].shape.strides();
        StridedCopy::new(&self.dims(), &strides, self.offset(&strides)).candidates()
    }

    fn tolerance(&self, _io: Io<'_>, _output: usize) -> Tolerance {
        Tolerance::Exact
    }
}

impl Tensor {
    /// The part inside `ranges`, one range per axis.
    ///
    /// # Panics
    /// When a range does not lie inside its axis, or their number is not that of the axes.
    #[track_caller]
    pub fn slice(&self, ranges: &[Range<usize>]) -> Tensor {
        let whole = |(range, &size): (&Range<usize>, &usize)| *range == (0..size);
        let shape = self.shape();
        if ranges.len() == shape.rank() && ranges.iter().zip(shape.dims()).all(whole) {
            return self.clone();
        }
        Tensor::apply1(Slice { ranges: ranges.to_vec() }, &[self], &[])
    }

    /// `len` elements along `axis`, from `start` on.
    ///
    /// # Panics
    /// When they do not lie inside the axis, or there is no such axis.
    #[track_caller]
    pub fn narrow(&self, axis: usize, start: usize, len: usize) -> Tensor {
        let shape = self.shape();
        assert!(axis < shape.rank(), "narrow: shape {shape} has no axis {axis}");
        let mut ranges: Vec<Range<usize>> = shape.dims().iter().map(|&size| 0..size).collect();
        ranges[axis] = start..start.saturating_add(len);
        self.slice(&ranges)
    }
}

/// Test cases.
#[expect(clippy::single_range_in_vec_init, reason = "one range is right for one axis")]
pub fn cases() -> Vec<Case> {
    let case =
        |shape: &[usize], ranges: &[Range<usize>]| Case::new(Slice { ranges: ranges.to_vec() }, &[shape]);
    vec![
        case(&[7, 5], &[2..5, 1..5]).with_gradient(),
        case(&[3, 4, 4], &[0..3, 1..2, 0..4]).with_gradient(),
        case(&[9], &[4..4]),
        case(&[9], &[8..9]),
        case(&[1], &[0..1]),
        case(&[6, 16], &[1..6, 4..12]),
        case(&[2, 6, 4, 4], &[0..2, 2..6, 0..4, 0..4]),
        case(&[3, 5, 7, 3, 5, 3], &[1..3, 0..4, 2..7, 1..2, 0..5, 1..3]),
        case(&[13, 11], &[3..12, 2..9]).input(0, Spec::u32([13, 11]), Fill::Index { below: u32::MAX }),
        case(&[4_194_403], &[1..4_194_400]),
    ]
}
