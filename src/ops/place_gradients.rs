//! Brings gradients into a flat arena: arena[offset_k ..] ← gradient_k.
//!
//! | tensor | shape |
//! |---|---|
//! | arena (updated) | `[n]` |
//! | gradient k | any |
//!
//! Nothing runs for this where the planner can let the gradients' producers write to the arena; the others are copied.

use crate::kernel::{Candidate, Target};
use crate::op::{Case, Expected, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::shape::{DType, Spec};
use crate::tensor::Tensor;

/// Brings gradients into a flat arena.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlaceGradients {
    /// Where each gradient is to lie: bytes from the arena's start.
    pub offsets: Vec<u64>,
}

impl Op for PlaceGradients {
    fn name(&self) -> &'static str {
        "place_gradients"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let fits = inputs.len() == self.offsets.len() + 1
            && inputs.iter().all(|s| s.dtype == DType::F32)
            && inputs[1..].iter().zip(&self.offsets).all(|(s, o)| o + s.bytes() <= inputs[0].bytes());
        if fits { Ok(Vec::new()) } else { expected(format!("an arena and {} gradients within it", self.offsets.len())) }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        for (gradient, &offset) in io.inputs[1..].iter().zip(&self.offsets) {
            io.updated[0].data[offset as usize / 4..][..gradient.data.len()].copy_from_slice(gradient.data);
        }
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None; g.inputs.len()]
    }

    /// Engines copy what does not lie in place.
    fn kernels(&self, _: Io<'_>, _: &Target) -> Vec<Candidate> {
        Vec::new()
    }

    fn updates(&self) -> &[usize] {
        &[0]
    }

    fn places(&self) -> Option<&[u64]> {
        Some(&self.offsets)
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Exact
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let case = |offsets: &[u64], shapes: &[&[usize]]| {
        Case::new(PlaceGradients { offsets: offsets.to_vec() }, shapes)
    };
    vec![case(&[0, 512, 256], &[&[192], &[64], &[3, 5], &[7]]), case(&[256], &[&[20_000], &[131, 150]]), case(&[], &[&[64]])]
}
