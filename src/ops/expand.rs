//! Repetition along broadcast axes: `y[i] = x[i with 0 along axes where x has size 1]`.
//!
//! | tensor | shape |
//! |---|---|
//! | x | broadcasts to the result's shape (NumPy's rule) |
//! | y | [`Expand::shape`] |

use crate::kernel::{Candidate, Target};
use crate::op::{Case, Expected, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::pointwise::{Function, Pointwise, generate};
use crate::shape::{DType, MAX_RANK, Shape, Spec};
use crate::tensor::Tensor;

/// Broadcasts a tensor to a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Expand {
    /// The result's shape.
    pub shape: Shape,
}

impl Expand {
    /// Sizes of the result and strides of x, padded in front to [`MAX_RANK`] axes.
    fn walk(&self, x: Shape) -> ([usize; MAX_RANK], [usize; MAX_RANK]) {
        let own = x.broadcast_strides(self.shape).expect("the shape rule has accepted this operand");
        let lead = MAX_RANK - self.shape.rank();
        let (mut sizes, mut strides) = ([1; MAX_RANK], [0; MAX_RANK]);
        sizes[lead..].copy_from_slice(self.shape.dims());
        strides[lead..].copy_from_slice(&own);
        (sizes, strides)
    }
}

impl Op for Expand {
    fn name(&self) -> &'static str {
        "expand"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        match inputs {
            [x] if x.dtype == DType::F32 && x.shape.broadcast_strides(self.shape).is_some() => {
                Ok(vec![Spec::f32(self.shape)])
            }
            _ => expected(format!("one operand of f32 that broadcasts to {}", self.shape)),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let x = io.inputs[0];
        let (sizes, strides) = self.walk(x.shape);
        crate::parallel::rows(io.outputs[0].data, 1, 10, |i, y| {
            let mut rest = i;
            let mut at = 0;
            for axis in (0..MAX_RANK).rev() {
                at += rest % sizes[axis] * strides[axis];
                rest /= sizes[axis];
            }
            y[0] = x.data[at];
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let x = g.inputs[0].shape();
        let lead = self.shape.rank() - x.rank();
        let repeated = |&a: &usize| a < lead || x[a - lead] != self.shape[a];
        let axes: Vec<usize> = (0..self.shape.rank()).filter(repeated).collect();
        vec![g.dy[0].as_ref().map(|dy| dy.sum(&axes).reshape(x))]
    }

    /// An element-wise copy: its kernels compute any broadcast.
    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        generate::kernels(&Pointwise::single(Function::Copy), io, target)
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Exact
    }
}

impl Tensor {
    /// This tensor repeated along axes where it has size 1, or none, to fill `shape`. (PyTorch's `expand`.)
    ///
    /// # Panics
    /// When this shape does not broadcast to `shape`.
    #[track_caller]
    pub fn expand(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        if shape == self.shape() {
            return self.clone();
        }
        Tensor::apply1(Expand { shape }, &[self], &[])
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let of = |from: &[usize], to: &[usize]| Case::new(Expand { shape: Shape::new(to) }, &[from]);
    vec![
        of(&[], &[3]).with_gradient(),
        of(&[2, 1, 3], &[2, 4, 3]).with_gradient(),
        of(&[3, 1], &[2, 3, 5]).with_gradient(),
        of(&[1, 2, 1, 3, 1, 2], &[2, 2, 3, 3, 2, 2]),
        of(&[5], &[5]),
        of(&[1], &[0]),
        of(&[3, 5, 1, 1], &[3, 5, 7, 7]),
        of(&[2, 3, 1, 1], &[2, 3, 8, 16]),
        of(&[1, 64], &[70_000, 64]),
    ]
}
