//! Recurrent networks of several layers and directions. [`ops::recurrent`](crate::ops::recurrent) has the formulas of a step.

mod config;
mod layers;
mod sequence;
mod weights;

pub use config::{InitialState, LstmOptions, LstmState, Nonlinearity, RecurrentConfig, RecurrentInit, Reset};
pub use layers::Layers;
pub(super) use sequence::Sequence;
pub(super) use weights::Sizes;
pub use weights::Weights;

use super::Mode;
use crate::ops::recurrent::Cell;
use crate::params::Scope;
use crate::tensor::Tensor;

/// A plain recurrent network. PyTorch's `RNN`.
#[derive(Clone, Debug)]
pub struct Rnn {
    /// What it is made of.
    pub layers: Layers,
}

/// Long short-term memory. PyTorch's `LSTM`.
#[derive(Clone, Debug)]
pub struct Lstm {
    /// What it is made of.
    pub layers: Layers,
}

/// Gated recurrent units. PyTorch's `GRU`.
#[derive(Clone, Debug)]
pub struct Gru {
    /// What it is made of.
    pub layers: Layers,
}

impl Rnn {
    /// Registers `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0` and so on for each layer, with `_reverse`
    /// for the other direction, uniform in ±1/√hidden_size unless `config` says otherwise.
    ///
    /// # Panics
    /// When a name is taken, or there is no layer.
    #[track_caller]
    pub fn new(
        scope: &Scope,
        input_size: usize,
        hidden_size: usize,
        nonlinearity: Nonlinearity,
        config: RecurrentConfig,
    ) -> Self {
        let cell = if nonlinearity == Nonlinearity::Tanh { Cell::Tanh } else { Cell::Relu };
        Rnn { layers: Layers::new(scope, cell, [input_size, hidden_size], LstmOptions::default(), config) }
    }
}

impl Gru {
    /// Registers parameters as [`Rnn::new`] does; gates stand in the order r, z, n.
    ///
    /// # Panics
    /// When a name is taken, or there is no layer.
    #[track_caller]
    pub fn new(
        scope: &Scope,
        input_size: usize,
        hidden_size: usize,
        reset: Reset,
        config: RecurrentConfig,
    ) -> Self {
        let cell = if reset == Reset::AfterProduct { Cell::Gru } else { Cell::GruResetBefore };
        Gru { layers: Layers::new(scope, cell, [input_size, hidden_size], LstmOptions::default(), config) }
    }
}

macro_rules! one_state {
    ($($name:ident),*) => {$(
        impl $name {
            /// A sequence `[T, B, input_size]` becomes the states of the last layer `[T, B, directions·hidden_size]`; beside
            /// them are each layer's last states `[layers·directions, B, hidden_size]`. `initial` are the states to begin with; if
            /// not given, they are 0 or learned ([`InitialState`]). Pass on the last ones to go on with a sequence (`detach` them
            /// to cut the gradient there).
            ///
            /// # Panics
            /// When a shape is another.
            #[track_caller]
            pub fn forward(&self, x: &Tensor, initial: Option<&Tensor>, mode: Mode) -> (Tensor, Tensor) {
                let (y, h, _) = self.layers.run(x, initial.map(|h| (h, None)), None, mode);
                (y, h)
            }

            /// As [`forward`](Self::forward), for sequences of different lengths, filled up at the end: results past a sequence's
            /// end are 0 and its last states are those of its own last step. What fills sequences up must be finite; else it
            /// does not count. (PyTorch: packed sequences.)
            ///
            /// # Panics
            /// When a shape is another, or a length is not in 1..=T.
            #[track_caller]
            pub fn forward_lengths(
                &self,
                x: &Tensor,
                lengths: &[usize],
                initial: Option<&Tensor>,
                mode: Mode,
            ) -> (Tensor, Tensor) {
                let (y, h, _) = self.layers.run(x, initial.map(|h| (h, None)), Some(lengths), mode);
                (y, h)
            }
        }
    )*};
}

one_state!(Rnn, Gru);

impl Lstm {
    /// Registers parameters as [`Rnn::new`] does, and `weight_hr_l0` for projections, `peepholes_l0` `[3, H]` (of the
    /// gates i, f, o) for peepholes; gates stand in the order i, f, g, o.
    ///
    /// # Panics
    /// When a name is taken, there is no layer, proj_size is not below hidden_size, or there is a forget_bias but no bias.
    #[track_caller]
    pub fn new(
        scope: &Scope,
        input_size: usize,
        hidden_size: usize,
        options: LstmOptions,
        config: RecurrentConfig,
    ) -> Self {
        let cell = if options.peepholes { Cell::LstmPeepholes } else { Cell::Lstm };
        let proj = options.proj_size;
        assert!(
            proj.is_none_or(|p| p > 0 && p < hidden_size),
            "a projection to {proj:?} of {hidden_size} values"
        );
        Lstm { layers: Layers::new(scope, cell, [input_size, hidden_size], options, config) }
    }

    /// As [`Rnn::forward`], with two states.
    ///
    /// # Panics
    /// When a shape is another.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, initial: Option<&LstmState>, mode: Mode) -> (Tensor, LstmState) {
        self.run(x, None, initial, mode)
    }

    /// As [`Rnn::forward_lengths`], with two states.
    ///
    /// # Panics
    /// When a shape is another, or a length is not in 1..=T.
    #[track_caller]
    pub fn forward_lengths(
        &self,
        x: &Tensor,
        lengths: &[usize],
        initial: Option<&LstmState>,
        mode: Mode,
    ) -> (Tensor, LstmState) {
        self.run(x, Some(lengths), initial, mode)
    }

    #[track_caller]
    fn run(
        &self,
        x: &Tensor,
        lengths: Option<&[usize]>,
        initial: Option<&LstmState>,
        mode: Mode,
    ) -> (Tensor, LstmState) {
        let (y, h, c) = self.layers.run(x, initial.map(|s| (&s.h, Some(&s.c))), lengths, mode);
        let c = c.expect("an LSTM has states c");
        (y, LstmState { h, c })
    }
}
