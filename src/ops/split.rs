//! Parts of a tensor along an axis, one after another: the way back of a concatenation.
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[d_0, .., Σ n_k, .., d_r]`, f32 or u32 |
//! | y_k | `[d_0, .., n_k, .., d_r]` |
//!
//! Each part is copied by a dispatch of its own. Its gradient is one concatenation, where slices for themselves would each
//! have a gradient as large as x.

use super::strided_copy::{self, StridedCopy};
use crate::kernel::{Bind, Candidate, Target};
use crate::op::{Case, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;

/// Takes a tensor apart along an axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Split {
    /// The axis along which it is taken apart.
    pub axis: usize,
    /// The parts' sizes along the axis.
    pub sizes: Vec<usize>,
}

impl Split {
    /// The elements of x with which each part begins.
    fn offsets(&self, x: Shape) -> impl Iterator<Item = usize> {
        let stride = x.strides()[self.axis];
        self.sizes.iter().scan(0, move |next, size| {
            let at = *next;
            *next += size * stride;
            Some(at)
        })
    }
}

impl Op for Split {
    fn name(&self) -> &'static str {
        "split"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let sum = self.sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size));
        match inputs {
            [x] if !self.sizes.is_empty()
                && self.axis < x.shape.rank()
                && sum == Some(x.shape[self.axis]) =>
            {
                let part = |&size: &usize| Spec { shape: x.shape.with(self.axis, size), dtype: x.dtype };
                Ok(self.sizes.iter().map(part).collect())
            }
            _ => expected(format!("one operand whose axis {} has the sizes {:?} together", self.axis, self.sizes)),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let x = io.inputs[0];
        for (y, offset) in io.outputs.iter_mut().zip(self.offsets(x.shape)) {
            strided_copy::reference(x.data, y.data, y.shape.dims(), &x.shape.strides(), offset);
        }
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        if g.dy.iter().all(Option::is_none) {
            return vec![None];
        }
        let zeros = |y: &Tensor| y.device().full(0.0, y.shape());
        let dy = g.dy.iter().zip(g.outputs).map(|(dy, y)| dy.clone().unwrap_or_else(|| zeros(y)));
        let dy: Vec<Tensor> = dy.collect();
        vec![Some(Tensor::concat(&dy.iter().collect::<Vec<_>>(), self.axis))]
    }

    fn kernels(&self, io: Io<'_>, _target: &Target) -> Vec<Candidate> {
        let x = io.inputs[0].shape;
        let mut vec4 = Some(Candidate::new("vec4"));
        let mut scalar = Candidate::new("scalar");
        for (k, (y, offset)) in io.outputs.iter().zip(self.offsets(x)).enumerate() {
            if y.elements() == 0 {
                continue;
            }
            let ways = StridedCopy::new(y.shape.dims(), &x.strides(), offset).candidates();
            let way = |variant: &str| ways.iter().find(|c| c.variant == variant);
            let add = |to: Candidate, way: &Candidate| {
                way.dispatches.iter().fold(to, |to, d| to.dispatch(d.clone().bind(&[Bind::Input(0), Bind::Output(k)])))
            };
            vec4 = vec4.and_then(|all| way("vec4").map(|way| add(all, way)));
            if let Some(way) = way("scalar") {
                scalar = add(scalar, way);
            }
        }
        vec4.into_iter().chain([scalar]).collect()
    }

    fn tolerance(&self, _io: Io<'_>, _output: usize) -> Tolerance {
        Tolerance::Exact
    }
}

impl Tensor {
    /// Takes the tensor apart along `axis`, into parts of `sizes` elements. (PyTorch's `split` with sections.)
    ///
    /// # Panics
    /// When the sizes together are not that of the axis, or there is no such axis.
    #[track_caller]
    pub fn split(&self, sizes: &[usize], axis: usize) -> Vec<Tensor> {
        let whole = axis < self.shape().rank() && *sizes == [self.shape()[axis]];
        if whole {
            return vec![self.clone()];
        }
        Tensor::apply(Split { axis, sizes: sizes.to_vec() }, &[self], &[])
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let case = |shape: &[usize], axis: usize, sizes: &[usize]| {
        Case::new(Split { axis, sizes: sizes.to_vec() }, &[shape])
    };
    vec![
        case(&[5, 3], 0, &[2, 3]).with_gradient(),
        case(&[2, 7, 2], 1, &[1, 4, 0, 2]).with_gradient(),
        case(&[0, 3], 1, &[1, 2]),
        case(&[9], 0, &[9]),
        case(&[1], 0, &[0, 1]),
        case(&[64, 8, 4], 0, &[32, 32]),
        case(&[3, 24, 4], 1, &[4, 12, 8]),
        case(&[3, 2, 17, 5], 2, &[5, 1, 11]),
        case(&[12, 64], 0, &[1; 12]),
        case(&[13, 7], 1, &[3, 4]).input(0, Spec::u32([13, 7]), Fill::Index { below: u32::MAX }),
        case(&[2_099_999, 3], 1, &[2, 1]),
    ]
}
