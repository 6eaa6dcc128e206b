//! Options of recurrent networks.

use crate::tensor::Tensor;

/// The function of a plain recurrent network's step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nonlinearity {
    /// tanh(x)
    #[default]
    Tanh,
    /// max(x, 0)
    Relu,
}

/// Where a GRU's reset gate acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reset {
    /// On the result of the recurrent product, as in PyTorch and cuDNN.
    #[default]
    AfterProduct,
    /// On the state before the recurrent product: h~ = tanh(W·\[r ⊙ h, x\]), as in Cho et al. 2014.
    BeforeProduct,
}

/// What the recurrent weights of a network start with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RecurrentInit {
    /// Uniform in ±1/√H, as all other parameters.
    #[default]
    Uniform,
    /// For each gate an orthogonal matrix times `gain`: what is multiplied by it again and again neither grows nor fades
    /// (Saxe et al. 2013, arXiv 1312.6120; Le, Jaitly and Hinton 2015, arXiv 1504.00941, on the identity).
    Orthogonal {
        /// Factor of all values.
        gain: f64,
    },
}

/// The states that sequences begin with where none are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InitialState {
    /// 0.
    #[default]
    Zero,
    /// Parameters, the same for all sequences of a batch: `h0_l0` `[H]` (or of length proj_size) and, of an LSTM, `c0_l0`
    /// `[H]`, for each layer and direction (`h0_l1_reverse`). They start at 0. PyTorch has no such option; its users
    /// register parameters of their own.
    Learned,
}

/// Options that all recurrent networks have, with PyTorch's defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecurrentConfig {
    /// Layers on top of one another.
    pub num_layers: usize,
    /// Whether there are `bias_ih` and `bias_hh`.
    pub bias: bool,
    /// Whether sequences are `[B, T, ..]` instead of `[T, B, ..]`. States are `[.., B, H]` either way.
    pub batch_first: bool,
    /// Probability that a value between two layers is dropped in training.
    pub dropout: f64,
    /// Whether each layer also goes backwards; its results are 2·H long.
    pub bidirectional: bool,
    /// What `weight_hh` starts with.
    pub recurrent_init: RecurrentInit,
    /// The states that sequences begin with where none are given.
    pub initial_state: InitialState,
    /// With a number, sequences are gone through in pieces of so many steps, and gradients have each piece computed again
    /// (see [`recompute`](fn@crate::recompute)): kept are the layers' inputs and results and the states between pieces, not
    /// what the gates were. Takes another forward pass; best are about √T steps where layers are few. The last piece of a
    /// sequence may be shorter.
    pub recompute: Option<usize>,
}

impl Default for RecurrentConfig {
    fn default() -> Self {
        RecurrentConfig {
            num_layers: 1,
            bias: true,
            batch_first: false,
            dropout: 0.0,
            bidirectional: false,
            recurrent_init: RecurrentInit::Uniform,
            initial_state: InitialState::Zero,
            recompute: None,
        }
    }
}

/// Options of [`Lstm`](super::Lstm) beside [`RecurrentConfig`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LstmOptions {
    /// Length of h when it is a projection of what the cell puts out (Sak, Senior and Beaufays 2014).
    pub proj_size: Option<usize>,
    /// Whether the gates see the cell's state (Gers and Schmidhuber 2000).
    pub peepholes: bool,
    /// What the bias of the forget gate starts with, 1 for instance, so that the cell remembers from the beginning (Gers,
    /// Schmidhuber and Cummins 2000; Jozefowicz, Zaremba and Sutskever 2015). A step adds two biases: this number goes into
    /// `bias_ih` (elements H..2H), and the same elements of `bias_hh` start at 0. `None` leaves both uniform, as PyTorch
    /// does.
    pub forget_bias: Option<f64>,
}

/// The states of an [`Lstm`](super::Lstm).
#[derive(Clone, Debug)]
pub struct LstmState {
    /// `[layers·directions, B, H]`, or of length proj_size.
    pub h: Tensor,
    /// `[layers·directions, B, H]`.
    pub c: Tensor,
}

impl LstmState {
    /// The same values, through which no gradient flows: for truncated backpropagation through time.
    pub fn detach(&self) -> LstmState {
        LstmState { h: self.h.detach(), c: self.c.detach() }
    }
}
