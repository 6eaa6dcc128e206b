//! Layers: plain structs over [`Params`](crate::Params), with PyTorch's names and initial values.
//!
//! A layer registers its parameters in the scope that it is given, and computes with them in `forward`. There is no
//! layer trait: a model is a struct of your own whose `forward` calls those of its parts. What differs between training and
//! evaluation takes a [`Mode`].

mod adaptive_pool;
mod batch_norm;
mod conv1d;
mod conv2d;
mod conv_transpose1d;
mod conv_transpose2d;
mod dropout;
mod embedding;
mod linear;
mod pool1d;
mod pool2d;
pub mod recurrent;
mod recurrent_cell;
pub mod residual;
mod row_norm;
mod upsample;

pub use adaptive_pool::{AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveMaxPool1d, AdaptiveMaxPool2d};
pub use batch_norm::{BatchNorm1d, BatchNorm2d, BatchNormConfig, RunningStats};
pub use conv_transpose1d::ConvTranspose1d;
pub use conv_transpose2d::ConvTranspose2d;
pub use conv1d::Conv1d;
pub use conv2d::Conv2d;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use linear::Linear;
pub use pool1d::{AvgPool1d, MaxPool1d};
pub use pool2d::{AvgPool2d, MaxPool2d};
pub use recurrent::{
    Gru, InitialState, Lstm, LstmOptions, LstmState, RecurrentConfig, RecurrentInit, Reset, Rnn,
};
pub use recurrent_cell::{GruCell, LstmCell, RnnCell};
pub use residual::{BasicBlock, BlockConfig, BlockOrder, Bottleneck, Residual, Shortcut, ShortcutKind};
pub use row_norm::{GroupNorm, InstanceNorm, LayerNorm, NormConfig};
pub use upsample::Upsample;

use crate::tensor::Tensor;

/// Whether a model is being trained: an argument, not hidden state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Batch statistics, dropout.
    Train,
    /// Running statistics, no dropout.
    Eval,
}

/// Height and width of a kernel or window; one number stands for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size2d {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl From<usize> for Size2d {
    fn from(n: usize) -> Self {
        Size2d { height: n, width: n }
    }
}

impl From<[usize; 2]> for Size2d {
    fn from([height, width]: [usize; 2]) -> Self {
        Size2d { height, width }
    }
}

impl From<Size2d> for [usize; 2] {
    fn from(size: Size2d) -> Self {
        [size.height, size.width]
    }
}

/// Joins all axes from `start_axis` on. PyTorch's `Flatten`, which starts at axis 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flatten {
    /// The first axis that is joined.
    pub start_axis: usize,
}

impl Default for Flatten {
    fn default() -> Self {
        Flatten { start_axis: 1 }
    }
}

impl Flatten {
    /// `[N, ..]` becomes `[N, product of the rest]`.
    ///
    /// # Panics
    /// When there are fewer than `start_axis` axes.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.flatten(self.start_axis)
    }
}
