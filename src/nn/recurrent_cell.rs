//! Single steps of recurrent networks.

use super::recurrent::{Nonlinearity, Reset, Sequence, Sizes, Weights};
use super::{LstmOptions, RecurrentConfig};
use crate::caller::{Caller, on_behalf_of};
use crate::ops::recurrent::{Cell, Direction};
use crate::params::Scope;
use crate::tensor::Tensor;
use std::panic::Location;

/// What all cells are made of.
#[derive(Clone, Debug)]
struct Step {
    cell: Cell,
    weights: Weights,
}

impl Step {
    #[track_caller]
    fn new(scope: &Scope, cell: Cell, sizes: Sizes, options: LstmOptions) -> Step {
        let weights = Weights::new(scope, "", cell, sizes, options, &RecurrentConfig::default());
        Step { cell, weights }
    }

    /// States h and c `[B, ..]` after a step with x `[B, input]`.
    #[track_caller]
    fn forward(&self, x: &Tensor, first: Option<(Tensor, Option<Tensor>)>) -> (Tensor, Option<Tensor>) {
        let shape = x.shape();
        assert!(
            shape.rank() == 2,
            "a recurrent cell takes vectors [B, input], not a tensor of shape {shape}"
        );
        on_behalf_of(Caller::forward(Location::caller()), || {
            let (sequence, state) =
                Sequence::new(self.cell, Direction::Forward, &self.weights, first, shape[0]);
            let end = sequence.run(&x.reshape([1, shape[0], shape[1]]), &state, true, None);
            (end.h.reshape([shape[0], end.h.shape()[2]]), end.state.c)
        })
    }
}

/// One step of a plain recurrent network. PyTorch's `RNNCell`.
#[derive(Clone, Debug)]
pub struct RnnCell(Step);

impl RnnCell {
    /// Registers `weight_ih` `[H, input]`, `weight_hh` `[H, H]`, `bias_ih` and `bias_hh`, uniform in ±1/√H.
    ///
    /// # Panics
    /// When a name is taken.
    #[track_caller]
    pub fn new(scope: &Scope, input_size: usize, hidden_size: usize, nonlinearity: Nonlinearity) -> Self {
        let cell = if nonlinearity == Nonlinearity::Tanh { Cell::Tanh } else { Cell::Relu };
        RnnCell(Step::new(
            scope,
            cell,
            Sizes { input: input_size, hidden: hidden_size, proj: None },
            LstmOptions::default(),
        ))
    }

    /// The state `[B, H]` after a step with x `[B, input]`, from the state before it (0 if not given).
    ///
    /// # Panics
    /// When a shape is another.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, h: Option<&Tensor>) -> Tensor {
        self.0.forward(x, h.map(|h| (h.clone(), None))).0
    }
}

/// One step of gated recurrent units. PyTorch's `GRUCell`.
#[derive(Clone, Debug)]
pub struct GruCell(Step);

impl GruCell {
    /// Registers parameters as [`RnnCell::new`] does, three times as high: gates r, z, n.
    ///
    /// # Panics
    /// When a name is taken.
    #[track_caller]
    pub fn new(scope: &Scope, input_size: usize, hidden_size: usize, reset: Reset) -> Self {
        let cell = if reset == Reset::AfterProduct { Cell::Gru } else { Cell::GruResetBefore };
        GruCell(Step::new(
            scope,
            cell,
            Sizes { input: input_size, hidden: hidden_size, proj: None },
            LstmOptions::default(),
        ))
    }

    /// As [`RnnCell::forward`].
    ///
    /// # Panics
    /// When a shape is another.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, h: Option<&Tensor>) -> Tensor {
        self.0.forward(x, h.map(|h| (h.clone(), None))).0
    }
}

/// One step of long short-term memory. PyTorch's `LSTMCell`.
#[derive(Clone, Debug)]
pub struct LstmCell(Step);

impl LstmCell {
    /// Registers parameters as [`RnnCell::new`] does, four times as high: gates i, f, g, o; and those of the options.
    ///
    /// # Panics
    /// When a name is taken.
    #[track_caller]
    pub fn new(scope: &Scope, input_size: usize, hidden_size: usize, options: LstmOptions) -> Self {
        let cell = if options.peepholes { Cell::LstmPeepholes } else { Cell::Lstm };
        let sizes = Sizes { input: input_size, hidden: hidden_size, proj: options.proj_size };
        LstmCell(Step::new(scope, cell, sizes, options))
    }

    /// The states h and c, each `[B, H]`, after a step with x `[B, input]`, from those before it (0 if not given).
    ///
    /// # Panics
    /// When a shape is another.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, state: Option<(&Tensor, &Tensor)>) -> (Tensor, Tensor) {
        let (h, c) = self.0.forward(x, state.map(|(h, c)| (h.clone(), Some(c.clone()))));
        (h, c.expect("an LSTM has states c"))
    }
}
