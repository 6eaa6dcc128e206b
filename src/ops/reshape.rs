//! Reshape: the same elements in row-major order under another shape.
//!
//! | tensor | shape |
//! |---|---|
//! | x | any, f32 or u32 |
//! | y | the given shape, with as many elements |
//!
//! An alias: nothing is computed or copied.

use crate::kernel::{Candidate, Target};
use crate::op::{Case, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;

/// Gives a tensor another shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reshape {
    /// The new shape.
    pub shape: Shape,
}

impl Op for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        match inputs {
            [x] if x.elements() == self.shape.elements() => {
                Ok(vec![Spec { shape: self.shape, dtype: x.dtype }])
            }
            _ => {
                expected(format!("one operand with {} elements, as in {}", self.shape.elements(), self.shape))
            }
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        io.outputs[0].data.copy_from_slice(io.inputs[0].data);
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![g.dy[0].as_ref().map(|dy| dy.reshape(g.inputs[0].shape()))]
    }

    fn kernels(&self, _io: Io<'_>, _target: &Target) -> Vec<Candidate> {
        Vec::new()
    }

    fn alias(&self) -> bool {
        true
    }

    fn tolerance(&self, _io: Io<'_>, _output: usize) -> Tolerance {
        Tolerance::Exact
    }
}

impl Tensor {
    /// The same elements, in row-major order, under another shape.
    ///
    /// # Panics
    /// When the number of elements differs.
    #[track_caller]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        if shape == self.shape() { self.clone() } else { Tensor::apply1(Reshape { shape }, &[self], &[]) }
    }

    /// Joins the axes from `from_axis` on: `[N, C, H, W]` becomes `[N, C·H·W]` for 1.
    ///
    /// # Panics
    /// When there are fewer axes.
    #[track_caller]
    pub fn flatten(&self, from_axis: usize) -> Tensor {
        let shape = self.shape();
        assert!(from_axis <= shape.rank(), "flatten: shape {shape} has no axis {from_axis}");
        let mut dims = shape.dims()[..from_axis].to_vec();
        dims.push(shape.span(from_axis, shape.rank()));
        self.reshape(dims)
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let case = |from: &[usize], to: &[usize]| Case::new(Reshape { shape: Shape::new(to) }, &[from]);
    vec![
        case(&[2, 3, 4], &[6, 4]).with_gradient(),
        case(&[1], &[]).with_gradient(),
        case(&[0, 5], &[3, 0]),
        case(&[37, 41], &[41, 37]),
        case(&[7, 11], &[77]).input(0, Spec::u32([7, 11]), Fill::Index { below: 100 }),
    ]
}
