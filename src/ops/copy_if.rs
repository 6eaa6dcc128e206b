//! Copies a tensor to a variable, or leaves the variable as it is: y ← x if wanted.
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[n]` |
//! | y (updated) | `[n]` |
//! | wanted, with [`Wanted::Tensor`] | u32 `[]` |
//!
//! Words are copied as they are, NaNs included. Scalar: whether it is wanted, 0 or 1, with [`Wanted::Scalar`].

use crate::kernel::{Bind, Candidate, Dispatch, Needs, Target, TargetClass};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Scalar, Tolerance, expected};
use crate::shape::{DType, Spec};
use crate::tensor::Tensor;

crate::kernel! {
    /// Four words per thread.
    mod vec4 = "shaders/copy_if/vec4.wgsl";
    params { n: u32, wanted: u32 }
    bind { x: Read, found: Read, y: ReadWrite }
}

crate::kernel! {
    /// Four times eight words per thread.
    mod octets = "shaders/copy_if/octets.wgsl";
    params { n: u32, wanted: u32 }
    bind { x: Read, found: Read, y: ReadWrite }
}

/// Who says whether anything is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The host, at every run.
    Scalar,
    /// A value on the device: the op's last operand.
    Tensor,
}

/// Copies all of a tensor or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CopyIf {
    /// Who says which.
    pub wanted: Wanted,
}

impl Op for CopyIf {
    fn name(&self) -> &'static str {
        "copy_if"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let fits = match (self.wanted, inputs) {
            (Wanted::Scalar, [x, y]) => x == y && x.dtype == DType::F32,
            (Wanted::Tensor, [x, y, wanted]) => x == y && x.dtype == DType::F32 && *wanted == Spec::u32(()),
            _ => false,
        };
        match (fits, self.wanted) {
            (true, _) => Ok(Vec::new()),
            (false, Wanted::Scalar) => expected("two f32 operands of one shape"),
            (false, Wanted::Tensor) => expected("two f32 operands of one shape, and one number, u32"),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let wanted = match self.wanted {
            Wanted::Scalar => io.scalars[0],
            Wanted::Tensor => io.inputs[2].data[0],
        };
        if wanted != 0.0 {
            io.updated[0].data.copy_from_slice(io.inputs[0].data);
        }
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None; g.inputs.len()]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let n = io.inputs[0].elements();
        let finish = |dispatch: Dispatch, words: usize| {
            let dispatch = dispatch.constant("TENSOR", self.wanted == Wanted::Tensor);
            let (dispatch, found) = match self.wanted {
                // Bound to something; it is not read.
                Wanted::Scalar => (dispatch.scalar("wanted", 0), Bind::Input(0)),
                Wanted::Tensor => (dispatch, Bind::Input(2)),
            };
            dispatch.bind(&[Bind::Input(0), found, Bind::Input(1)]).groups(n.div_ceil(64 * words) as u64)
        };
        let octets = octets::dispatch(octets::Params { n: n as u32, wanted: 0 });
        let vec4 = vec4::dispatch(vec4::Params { n: n as u32, wanted: 0 });
        let wide = Candidate::new("octets").needs(Needs { int64: true, ..Needs::default() });
        let mut candidates = vec![Candidate::new("vec4").dispatch(finish(vec4, 4))];
        if target.class == TargetClass::Software {
            candidates.insert(0, wide.dispatch(finish(octets, 4 * 8)));
        }
        candidates
    }

    fn updates(&self) -> &[usize] {
        &[1]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Exact
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: 0, bytes: io.bytes() }
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for n in [0, 1, 6, 64, 1031, 4_500_001] {
        for wanted in [0, 1] {
            let scalar = Case::new(CopyIf { wanted: Wanted::Scalar }, &[&[n], &[n]]);
            cases.push(scalar.scalars(&[Scalar::U(wanted)]));
            let tensor = Case::new(CopyIf { wanted: Wanted::Tensor }, &[&[n], &[n], &[]]);
            let low = f64::from(wanted);
            cases.push(tensor.input(2, Spec::u32(()), Fill::Uniform { low, high: low }));
        }
    }
    cases.push(Case::new(CopyIf { wanted: Wanted::Scalar }, &[&[3, 50], &[3, 50]]).scalars(&[Scalar::U(1)]));
    cases
}
