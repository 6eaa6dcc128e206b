//! A table of vectors, looked up by index.

use crate::params::{Init, Param, Scope};
use crate::tensor::Tensor;

/// Vectors for indices. PyTorch's `Embedding`.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `[num_embeddings, embedding_dim]`, from the standard normal distribution.
    pub weight: Param,
    /// The row that starts at zero and is not trained.
    pub padding_idx: Option<usize>,
}

impl Embedding {
    /// Registers `weight`.
    ///
    /// # Panics
    /// When the name is taken.
    #[track_caller]
    pub fn new(scope: &Scope, num_embeddings: usize, embedding_dim: usize) -> Self {
        let weight = scope.param("weight", [num_embeddings, embedding_dim], NORMAL);
        Embedding { weight, padding_idx: None }
    }

    /// Registers `weight`, whose row `padding_idx` starts at zero and gets no gradient.
    ///
    /// # Panics
    /// When the name is taken, or there is no such row.
    #[track_caller]
    pub fn with_padding(
        scope: &Scope,
        num_embeddings: usize,
        embedding_dim: usize,
        padding_idx: usize,
    ) -> Self {
        assert!(padding_idx < num_embeddings, "a padding row {padding_idx} of {num_embeddings} rows");
        let init = Init::ZeroRow { row: padding_idx, of: Box::new(NORMAL) };
        let weight = scope.param("weight", [num_embeddings, embedding_dim], init);
        Embedding { weight, padding_idx: Some(padding_idx) }
    }

    /// Indices (u32) of any shape become vectors: `[..]` becomes `[.., embedding_dim]`.
    ///
    /// # Panics
    /// When `indices` is not u32.
    #[track_caller]
    pub fn forward(&self, indices: &Tensor) -> Tensor {
        self.weight.tensor().embedding_padded(indices, self.padding_idx)
    }
}

const NORMAL: Init = Init::Normal { mean: 0.0, std: 1.0 };
