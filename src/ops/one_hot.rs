//! Indices as vectors: `y[i, c] = 1` where index i is c, else 0.
//!
//! | tensor | shape |
//! |---|---|
//! | indices (u32) | any |
//! | y (f32) | the shape of the indices, then the number of classes |
//!
//! The ignore mark ([`IGNORE_INDEX`]) gives zeros, an index that is no class NaN. (PyTorch's
//! `one_hot`, as floating-point numbers.)

use crate::device::IGNORE_INDEX;
use crate::kernel::{Bind, Candidate, Target};
use crate::op::{Case, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::shape::{DType, MAX_RANK, Spec};
use crate::tensor::Tensor;

/// One-hot vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OneHot {
    /// Their length.
    pub classes: usize,
}

impl Op for OneHot {
    fn name(&self) -> &'static str {
        "one_hot"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        match inputs {
            [i] if i.dtype == DType::U32 && i.shape.rank() < MAX_RANK => {
                Ok(vec![Spec::f32([i.shape.dims(), &[self.classes]].concat())])
            }
            _ => expected("indices of u32 with an axis to spare"),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let indices = io.inputs[0].data;
        let classes = self.classes;
        crate::parallel::rows(io.outputs[0].data, classes, classes, |i, y| {
            let known = indices[i] < classes as f64 || indices[i] == f64::from(IGNORE_INDEX);
            for (c, y) in y.iter_mut().enumerate() {
                *y = if known { f64::from(u8::from(indices[i] == c as f64)) } else { f64::NAN };
            }
        });
    }

    fn grad(&self, _: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let len = io.outputs[0].elements();
        let params = direct::Params { len: len as u32, classes: self.classes as u32 };
        let dispatch =
            direct::dispatch(params).bind(&[Bind::Input(0), Bind::Output(0)]).groups(len.div_ceil(64) as u64);
        vec![Candidate::new("direct").dispatch(dispatch)]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Exact
    }
}

impl Tensor {
    /// One-hot vectors of these indices (u32): their shape, then `classes`. The ignore mark gives zeros. (PyTorch's
    /// `one_hot`, as f32.) An uploaded index that is no class is an [`Error::Label`](crate::Error::Label) of the next call
    /// that returns a `Result`; a computed one gives NaN.
    ///
    /// # Panics
    /// When the tensor is not u32.
    #[track_caller]
    pub fn one_hot(&self, classes: usize) -> Tensor {
        let op = OneHot { classes };
        // A kernel has no way to complain about a class that does not exist.
        if let Ok([y]) = op.outputs(&[self.spec()]).as_deref()
            && let Some(error) = self.label_beyond(classes)
        {
            return Tensor::failed(self.device(), *y, error);
        }
        Tensor::apply1(op, &[self], &[])
    }
}

crate::kernel! {
    /// One thread per element.
    mod direct = "shaders/one_hot/direct.wgsl";
    params { len: u32, classes: u32 }
    bind { indices: Read, y: ReadWrite }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let of = |indices: &[usize], classes: usize, below: u32| {
        Case::new(OneHot { classes }, &[indices]).input(0, Spec::u32(indices), Fill::Index { below })
    };
    vec![
        of(&[], 3, 3),
        of(&[5], 4, 4),
        of(&[2, 3], 7, 9),
        of(&[0], 3, 1),
        of(&[4], 0, 1),
        of(&[1031], 1, 1),
        of(&[70_000, 2], 31, 31),
    ]
}
