//! Concatenation along an axis.
//!
//! | tensor | shape |
//! |---|---|
//! | x_k | `[d_0, .., n_k, .., d_r]`, all f32 or all u32 |
//! | y | `[d_0, .., Σ n_k, .., d_r]` |
//!
//! Each operand is copied by a dispatch of its own, so their number is not limited by that of storage buffers.

use crate::kernel::{Bind, Candidate, Target};
use crate::op::{Case, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::pointwise::Divisor;
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;

crate::kernel! {
    /// One element per thread.
    mod scalar = "shaders/concat/scalar.wgsl";
    params { n: u32, row: u32, magic: u32, shift: u32, pitch: u32, offset: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// Four elements per thread.
    mod vec4 = "shaders/concat/vec4.wgsl";
    params { n: u32, row: u32, magic: u32, shift: u32, pitch: u32, offset: u32 }
    bind { x: Read, y: ReadWrite }
}

/// Threads per workgroup.
const WORKGROUP: usize = 64;

/// Joins tensors along an axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Concat {
    /// The axis along which they are joined.
    pub axis: usize,
}

impl Concat {
    /// Elements of one operand that lie together in the result.
    fn row(&self, shape: Shape) -> usize {
        shape.span(self.axis, shape.rank())
    }
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let wanted =
            || expected(format!("operands of one type whose sizes agree except along axis {}", self.axis));
        let Some(&first) = inputs.first() else { return expected("at least one operand") };
        if self.axis >= first.shape.rank() {
            return wanted();
        }
        let mut size = 0;
        for input in inputs {
            let agrees = input.dtype == first.dtype
                && input.shape.rank() == first.shape.rank()
                && input.shape.with(self.axis, 0) == first.shape.with(self.axis, 0);
            if !agrees {
                return wanted();
            }
            size += input.shape[self.axis];
        }
        Ok(vec![Spec { shape: first.shape.with(self.axis, size), dtype: first.dtype }])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let pitch = self.row(io.outputs[0].shape);
        let mut offset = 0;
        for x in &io.inputs {
            let row = self.row(x.shape);
            for (from, to) in
                x.data.chunks_exact(row.max(1)).zip(io.outputs[0].data.chunks_exact_mut(pitch.max(1)))
            {
                to[offset..offset + row].copy_from_slice(from);
            }
            offset += row;
        }
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let Some(dy) = &g.dy[0] else { return vec![None; g.inputs.len()] };
        let mut start = 0;
        let mut part = |(x, &wanted): (&Tensor, &bool)| {
            let len = x.shape()[self.axis];
            start += len;
            wanted.then(|| dy.narrow(self.axis, start - len, len))
        };
        g.inputs.iter().zip(g.wants).map(&mut part).collect()
    }

    fn kernels(&self, io: Io<'_>, _target: &Target) -> Vec<Candidate> {
        let rows: Vec<usize> = io.inputs.iter().map(|x| self.row(x.shape)).collect();
        let pitch = self.row(io.outputs[0].shape);
        let mut scalar = Candidate::new("scalar");
        let mut vec4 = rows.iter().all(|row| row.is_multiple_of(4)).then(|| Candidate::new("vec4"));
        let mut offset = 0;
        for (k, (&row, x)) in rows.iter().zip(io.inputs).enumerate().filter(|(_, (row, _))| **row > 0) {
            let binds = [Bind::Input(k), Bind::Output(0)];
            let size = |unit: usize| [x.elements(), pitch, offset].map(|v| (v / unit) as u32);
            let groups = |unit: usize| (x.elements() / unit).div_ceil(WORKGROUP) as u64;
            let [n, p, o] = size(1);
            let d = Divisor::new(row);
            let params =
                scalar::Params { n, row: d.size, magic: d.magic, shift: d.shift, pitch: p, offset: o };
            scalar = scalar.dispatch(scalar::dispatch(params).bind(&binds).groups(groups(1)));
            vec4 = vec4.map(|candidate| {
                let [n, p, o] = size(4);
                let d = Divisor::new(row / 4);
                let params =
                    vec4::Params { n, row: d.size, magic: d.magic, shift: d.shift, pitch: p, offset: o };
                candidate.dispatch(vec4::dispatch(params).bind(&binds).groups(groups(4)))
            });
            offset += row;
        }
        vec4.into_iter().chain([scalar]).collect()
    }

    fn tolerance(&self, _io: Io<'_>, _output: usize) -> Tolerance {
        Tolerance::Exact
    }
}

impl Tensor {
    /// Joins tensors along `axis`; their other sizes agree.
    ///
    /// # Panics
    /// When there is none, or other sizes or types differ.
    #[track_caller]
    pub fn concat(tensors: &[&Tensor], axis: usize) -> Tensor {
        Tensor::apply1(Concat { axis }, tensors, &[])
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let case = |axis: usize, shapes: &[&[usize]]| Case::new(Concat { axis }, shapes);
    vec![
        case(0, &[&[3, 5], &[2, 5]]).with_gradient(),
        case(1, &[&[3, 5], &[3, 1], &[3, 0], &[3, 2]]).with_gradient(),
        case(1, &[&[2, 4, 3], &[2, 8, 3]]).with_gradient(),
        case(0, &[&[0], &[0]]),
        case(0, &[&[1]]),
        case(2, &[&[3, 2, 17, 5], &[3, 2, 1, 5]]),
        case(0, &[[1usize, 64].as_slice(); 12]),
        case(1, &[&[5, 8], &[5, 64]]),
        case(1, &[&[13, 3], &[13, 4]]).input(0, Spec::u32([13, 3]), Fill::Index { below: 9 }).input(
            1,
            Spec::u32([13, 4]),
            Fill::Index { below: u32::MAX },
        ),
        case(1, &[&[2_099_999, 2], &[2_099_999, 1]]),
    ]
}
