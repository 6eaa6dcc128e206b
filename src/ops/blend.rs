//! Blends a tensor into a variable: y ← keep·y + share·x.
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[n]` |
//! | y (updated) | `[n]` |
//!
//! A moving average with keep = decay and share = 1 - decay; a sum with both 1. Scalars: keep, share.

use crate::kernel::{Bind, Candidate, Target};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Scalar, Tolerance, expected};
use crate::shape::{DType, Spec};
use crate::tensor::Tensor;

crate::kernel! {
    /// Four elements per thread.
    mod vec4 = "shaders/blend/vec4.wgsl";
    params { n: u32, keep: f32, share: f32 }
    bind { x: Read, y: ReadWrite }
}

/// Blends a tensor into a variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Blend;

impl Op for Blend {
    fn name(&self) -> &'static str {
        "blend"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        match inputs {
            [x, y] if x == y && x.dtype == DType::F32 => Ok(Vec::new()),
            _ => expected("two f32 operands of one shape"),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (keep, share) = (io.scalars[0], io.scalars[1]);
        for (y, &x) in io.updated[0].data.iter_mut().zip(io.inputs[0].data) {
            *y = keep * *y + share * x;
        }
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None; g.inputs.len()]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let n = io.inputs[0].elements();
        let dispatch = vec4::dispatch(vec4::Params { n: n as u32, keep: 0.0, share: 0.0 })
            .scalar("keep", 0)
            .scalar("share", 1)
            .bind(&[Bind::Input(0), Bind::Input(1)])
            .groups(n.div_ceil(256) as u64);
        vec![Candidate::new("vec4").dispatch(dispatch)]
    }

    fn updates(&self) -> &[usize] {
        &[1]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        // Two products and a sum, none larger than the largest operand times the sum of both factors.
        Tolerance::OfMax(4.0 * 2f64.powi(-24))
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: 3 * io.inputs[0].elements() as u64, bytes: io.bytes() + io.inputs[1].bytes() }
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let case = |shape: &[usize], scalars: [f64; 2]| {
        let case = Case::new(Blend, &[shape, shape]).fill(Fill::Normal { mean: 0.0, std: 1.0 });
        case.scalars(&scalars.map(Scalar::F))
    };
    let mut cases: Vec<Case> = [0, 1, 5, 64, 1031, 70_001].map(|n| case(&[n], [0.875, 0.125])).into();
    cases.push(case(&[3, 50], [1.0, 1.0]));
    cases.push(case(&[130], [0.25, 0.25]));
    cases
}
