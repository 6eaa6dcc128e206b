//! Dropout with its seeds.

use super::Mode;
use crate::params::{Scope, Seeds};
use crate::tensor::Tensor;

/// Dropout: in training each element becomes 0 with probability `p`, the others are divided by 1 - p. PyTorch's `Dropout`.
#[derive(Clone, Debug)]
pub struct Dropout {
    /// Probability of an element to be dropped.
    pub p: f64,
    seeds: Seeds,
}

impl Dropout {
    /// Dropout whose seeds come from `scope`'s parameters, so a checkpoint resumes with the next one.
    ///
    /// # Panics
    /// When `p` is not in 0..=1.
    #[track_caller]
    pub fn new(scope: &Scope, p: f64) -> Self {
        assert!((0.0..=1.0).contains(&p), "a dropout probability of {p}");
        Dropout { p, seeds: scope.seeds() }
    }

    /// Drops elements of a tensor of any shape in training, others at every call.
    ///
    /// # Panics
    /// When the tensor is not f32.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        match mode {
            Mode::Train if self.p > 0.0 => x.dropout(self.p, self.seeds.draw()),
            _ => x.clone(),
        }
    }
}
