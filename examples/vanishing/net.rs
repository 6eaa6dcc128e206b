//! A recurrent layer, and a number from its last state.

use super::adding::Batch;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use recurve::nn::recurrent::{Nonlinearity, RecurrentInit, Weights};
use recurve::nn::{Gru, Linear, Lstm, LstmOptions, LstmState, Mode, RecurrentConfig, Reset, Rnn};
use recurve::ops::cross_entropy::Reduction;
use recurve::{Device, Params, Result, Tensor};

/// What a step computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `h' = tanh(W·h + U·x + b)`
    Tanh,
    /// `h' = max(W·h + U·x + b, 0)`
    Relu,
    /// Long short-term memory.
    Lstm,
    /// The gated recurrent unit.
    Gru,
}

/// How a network starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// All weights and biases uniform in ±1/√H: the default, as in PyTorch.
    Uniform,
    /// The same, but the recurrent weights are orthogonal: none of their eigenvalues is larger or smaller than 1.
    Orthogonal,
    /// The recurrent weights are `gain` times the identity, and biases 0 (with `gain` 1: Le, Jaitly and Hinton 2015).
    Identity {
        /// The spectral radius.
        gain: f32,
    },
    /// Biases let the gates keep what they hold for 1 to `steps` - 1 steps: chrono initialisation (Tallec and Ollivier
    /// 2018). The forget gates' are log(U(1, steps - 1)) and the input gates' the opposite; so is what a GRU keeps.
    Keeping {
        /// The length of the sequences.
        steps: usize,
    },
}

/// What to call a network.
pub fn name(kind: Kind, start: Start) -> String {
    let kind = match kind {
        Kind::Tanh => "tanh RNN",
        Kind::Relu => "ReLU RNN",
        Kind::Lstm => "LSTM",
        Kind::Gru => "GRU",
    };
    match start {
        Start::Uniform => kind.into(),
        Start::Orthogonal => format!("{kind}, orthogonal"),
        Start::Identity { gain } => format!("{kind}, {gain} · identity"),
        Start::Keeping { .. } => format!("{kind}, open gates"),
    }
}

enum Layer {
    Rnn(Rnn),
    Lstm(Lstm),
    Gru(Gru),
}

/// The network.
pub struct Net {
    layer: Layer,
    head: Linear,
    hidden: usize,
}

impl Net {
    /// Registers the parameters.
    ///
    /// # Errors
    /// Whatever keeps the device from taking the values that `start` wants.
    ///
    /// # Panics
    /// When a network without gates is to keep them open, or one with gates to start with the identity.
    pub fn new(params: &Params, kind: Kind, start: Start, hidden: usize, seed: u64) -> Result<Net> {
        let scope = params.root().at("layer");
        let recurrent_init = match start {
            Start::Orthogonal => RecurrentInit::Orthogonal { gain: 1.0 },
            _ => RecurrentInit::Uniform,
        };
        let config = RecurrentConfig { recurrent_init, ..Default::default() };
        let plain = |nonlinearity| Layer::Rnn(Rnn::new(&scope, 2, hidden, nonlinearity, config));
        let layer = match kind {
            Kind::Tanh => plain(Nonlinearity::Tanh),
            Kind::Relu => plain(Nonlinearity::Relu),
            Kind::Lstm => Layer::Lstm(Lstm::new(&scope, 2, hidden, LstmOptions::default(), config)),
            Kind::Gru => Layer::Gru(Gru::new(&scope, 2, hidden, Reset::AfterProduct, config)),
        };
        let net = Net { layer, head: Linear::new(&params.root().at("head"), hidden, 1), hidden };
        match start {
            Start::Uniform | Start::Orthogonal => {}
            Start::Identity { gain } => net.start_with_identity(gain)?,
            Start::Keeping { steps } => net.open_gates(steps, seed)?,
        }
        Ok(net)
    }

    fn weights(&self) -> &Weights {
        match &self.layer {
            Layer::Rnn(rnn) => &rnn.layers.weights[0][0],
            Layer::Lstm(lstm) => &lstm.layers.weights[0][0],
            Layer::Gru(gru) => &gru.layers.weights[0][0],
        }
    }

    /// Sets the sum of both biases.
    fn set_bias(&self, bias: &[f32]) -> Result<()> {
        let (bias_ih, bias_hh) = self.weights().bias.as_ref().expect("layers have biases by default");
        bias_hh.set(&vec![0.0; bias.len()])?;
        bias_ih.set(bias)
    }

    fn start_with_identity(&self, gain: f32) -> Result<()> {
        assert!(matches!(self.layer, Layer::Rnn(_)), "gates do not start with the identity");
        let h = self.hidden;
        let w: Vec<f32> = (0..h * h).map(|i| if i / h == i % h { gain } else { 0.0 }).collect();
        self.weights().weight_hh.set(&w)?;
        self.set_bias(&vec![0.0; h])
    }

    fn open_gates(&self, steps: usize, seed: u64) -> Result<()> {
        let h = self.hidden;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let longest = steps.max(4) as f32 - 1.0;
        let keep: Vec<f32> = (0..h).map(|_| random.random_range(1.0..longest).ln()).collect();
        let bias = match self.layer {
            Layer::Rnn(_) => panic!("a plain network has no gates"),
            // Of i, f, g and o.
            Layer::Lstm(_) => {
                [keep.iter().map(|b| -b).collect(), keep.clone(), vec![0.0; h], vec![0.0; h]].concat()
            }
            // Of r, z and n; z is how much of the state is kept.
            Layer::Gru(_) => [vec![0.0; h], keep, vec![0.0; h]].concat(),
        };
        self.set_bias(&bias)
    }

    /// The states at the beginning, all 0: h, and for an LSTM c, each `[1, B, H]`.
    pub fn zeros(&self, dev: &Device, batch: usize) -> Vec<Tensor> {
        let count = if matches!(self.layer, Layer::Lstm(_)) { 2 } else { 1 };
        (0..count).map(|_| dev.tensor(vec![0.0; batch * self.hidden], [1, batch, self.hidden])).collect()
    }

    /// The states after all steps of x `[T, B, 2]`.
    pub fn states(&self, x: &Tensor, states: &[Tensor]) -> Vec<Tensor> {
        match &self.layer {
            Layer::Rnn(rnn) => vec![rnn.forward(x, Some(&states[0]), Mode::Train).1],
            Layer::Gru(gru) => vec![gru.forward(x, Some(&states[0]), Mode::Train).1],
            Layer::Lstm(lstm) => {
                let before = LstmState { h: states[0].clone(), c: states[1].clone() };
                let after = lstm.forward(x, Some(&before), Mode::Train).1;
                vec![after.h, after.c]
            }
        }
    }

    /// The mean squared error of the answers, from states of 0 on.
    pub fn loss(&self, batch: &Batch) -> Tensor {
        let first = self.zeros(batch.x.device(), batch.x.shape()[1]);
        self.loss_after(&self.states(&batch.x, &first), batch)
    }

    /// The mean squared error of the answers, from the states after the last step.
    pub fn loss_after(&self, states: &[Tensor], batch: &Batch) -> Tensor {
        let h = states[0].reshape([states[0].shape()[1], self.hidden]);
        self.head.forward(&h).mse_loss(&batch.sum, Reduction::Mean)
    }
}
