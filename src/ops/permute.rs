//! Permute: `y[c] = x[c']` where axis k of y is axis `axes[k]` of x.
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[d_0, .., d_r]`, f32 or u32 |
//! | y | `[d_axes[0], .., d_axes[r]]`, a dense copy |

use super::strided_copy::{self, StridedCopy};
use crate::kernel::{Candidate, Target};
use crate::op::{Case, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;

/// Reorders axes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permute {
    /// For each axis of the result, the axis of the operand that it is.
    pub axes: Vec<usize>,
}

impl Permute {
    /// Sizes of the result, and the distances of its neighbours in the operand.
    fn layout(&self, x: Shape) -> (Vec<usize>, Vec<usize>) {
        let strides = x.strides();
        (self.axes.iter().map(|&a| x[a]).collect(), self.axes.iter().map(|&a| strides[a]).collect())
    }

    fn inverse(&self) -> Vec<usize> {
        let mut inverse = vec![0; self.axes.len()];
        for (to, &from) in self.axes.iter().enumerate() {
            inverse[from] = to;
        }
        inverse
    }
}

impl Op for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let mut sorted = self.axes.clone();
        sorted.sort_unstable();
        let permutation = sorted.iter().copied().eq(0..self.axes.len());
        match inputs {
            [x] if permutation && x.shape.rank() == self.axes.len() => {
                Ok(vec![Spec { shape: Shape::new(&self.layout(x.shape).0), dtype: x.dtype }])
            }
            _ => expected(format!("one operand of which {:?} names every axis once", self.axes)),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (dims, strides) = self.layout(io.inputs[0].shape);
        strided_copy::reference(io.inputs[0].data, io.outputs[0].data, &dims, &strides, 0);
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![g.dy[0].as_ref().map(|dy| dy.permute(&self.inverse()))]
    }

    fn kernels(&self, io: Io<'_>, _target: &Target) -> Vec<Candidate> {
        let (dims, strides) = self.layout(io.inputs[0].shape);
        StridedCopy::new(&dims, &strides, 0).candidates()
    }

    fn tolerance(&self, _io: Io<'_>, _output: usize) -> Tolerance {
        Tolerance::Exact
    }
}

impl Tensor {
    /// Reorders axes: axis k of the result is axis `axes[k]` of this tensor.
    ///
    /// # Panics
    /// When `axes` does not name every axis once.
    #[track_caller]
    pub fn permute(&self, axes: &[usize]) -> Tensor {
        if axes.iter().copied().eq(0..self.shape().rank()) {
            return self.clone();
        }
        Tensor::apply1(Permute { axes: axes.to_vec() }, &[self], &[])
    }

    /// Swaps two axes.
    ///
    /// # Panics
    /// When one of them does not exist.
    #[track_caller]
    pub fn transpose(&self, a: usize, b: usize) -> Tensor {
        let shape = self.shape();
        assert!(a.max(b) < shape.rank(), "transpose: shape {shape} has no axis {}", a.max(b));
        let mut axes: Vec<usize> = (0..shape.rank()).collect();
        axes.swap(a, b);
        self.permute(&axes)
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let case = |shape: &[usize], axes: &[usize]| Case::new(Permute { axes: axes.to_vec() }, &[shape]);
    vec![
        case(&[3, 5], &[1, 0]).with_gradient(),
        case(&[2, 3, 4], &[2, 0, 1]).with_gradient(),
        case(&[4, 8], &[1, 0]).with_gradient(),
        case(&[], &[]),
        case(&[1, 1], &[1, 0]),
        case(&[0, 3], &[1, 0]),
        case(&[64, 68], &[1, 0]),
        case(&[3, 8, 5, 12], &[0, 2, 3, 1]),
        case(&[3, 8, 5, 12], &[0, 3, 2, 1]),
        case(&[4, 6, 5, 8], &[1, 0, 3, 2]),
        case(&[4, 3, 8, 5], &[2, 1, 0, 3]),
        case(&[5, 7, 16], &[1, 0, 2]),
        case(&[2, 3, 2, 5, 3, 4], &[5, 3, 1, 4, 2, 0]),
        case(&[2, 3, 4, 2, 3, 4], &[0, 5, 1, 3, 4, 2]),
        case(&[8, 3, 2, 3, 2, 4], &[5, 1, 3, 2, 4, 0]),
        case(&[31, 17], &[1, 0]).input(0, Spec::u32([31, 17]), Fill::Index { below: u32::MAX }),
        case(&[2053, 2049], &[1, 0]),
    ]
}
