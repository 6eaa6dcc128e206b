//! Recurrent networks of several layers and directions. [`ops::recurrent`](crate::ops::recurrent) has the formulas of a step.

mod config;
mod weights;

pub use config::{InitialState, LstmOptions, LstmState, Nonlinearity, RecurrentConfig, RecurrentInit, Reset};
pub(super) use weights::Sizes;
pub use weights::Weights;

use super::{Dropout, Mode};
use crate::ops::matmul::Layout;
use crate::ops::recurrent::{Cell, Direction, Recurrent, Saves, Steps};
use crate::params::{Param, Scope};
use crate::tensor::Tensor;
use crate::trace::builds_graph;

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
            /// end are 0 and its last states are those of its own last step. (PyTorch: packed sequences.)
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

/// Layers on top of one another, in one direction or two.
#[derive(Clone, Debug)]
pub struct Layers {
    /// What a step computes.
    pub cell: Cell,
    /// Length of the states that a step passes on.
    pub hidden_size: usize,
    /// By layer and direction.
    pub weights: Vec<Vec<Weights>>,
    /// Options.
    pub config: RecurrentConfig,
    dropout: Option<Dropout>,
}

impl Layers {
    #[track_caller]
    fn new(
        scope: &Scope,
        cell: Cell,
        [input_size, hidden_size]: [usize; 2],
        options: LstmOptions,
        config: RecurrentConfig,
    ) -> Self {
        assert!(config.num_layers > 0, "a recurrent network without layers");
        let directions = if config.bidirectional { 2 } else { 1 };
        let proj = options.proj_size;
        let out = proj.unwrap_or(hidden_size);
        let weights = |layer: usize, direction: usize| {
            let input = if layer == 0 { input_size } else { directions * out };
            let sizes = Sizes { input, hidden: hidden_size, proj };
            let suffix = format!("_l{layer}{}", if direction == 1 { "_reverse" } else { "" });
            Weights::new(scope, &suffix, cell, sizes, options, &config)
        };
        let weights =
            (0..config.num_layers).map(|l| (0..directions).map(|d| weights(l, d)).collect()).collect();
        let dropout = (config.dropout > 0.0).then(|| Dropout::new(scope, config.dropout));
        Layers { cell, hidden_size, weights, config, dropout }
    }

    /// Results, last states h and, where there are any, last states c.
    #[track_caller]
    fn run(
        &self,
        x: &Tensor,
        initial: Option<(&Tensor, Option<&Tensor>)>,
        lengths: Option<&[usize]>,
        mode: Mode,
    ) -> (Tensor, Tensor, Option<Tensor>) {
        let shape = x.shape();
        assert!(
            shape.rank() == 3,
            "a recurrent network takes sequences of rank 3, not a tensor of shape {shape}"
        );
        let swap = |x: &Tensor| if self.config.batch_first { x.transpose(0, 1) } else { x.clone() };
        let mut x = swap(x);
        let (t, b) = (x.shape()[0], x.shape()[1]);
        let lengths = lengths.map(|l| Lengths::new(x.device(), l, [t, b]));
        let (mut last_h, mut last_c) = (Vec::new(), Vec::new());
        for (index, layer) in self.weights.iter().enumerate() {
            if let Some(dropout) = self.dropout.as_ref().filter(|_| index > 0) {
                x = dropout.forward(&x, mode);
            }
            let mut results = Vec::new();
            for (direction, weights) in [Direction::Forward, Direction::Reverse].into_iter().zip(layer) {
                let nth = last_h.len();
                let of = |states: &Tensor| states.narrow(0, nth, 1).reshape([b, states.shape()[2]]);
                let first = match initial {
                    Some((h, c)) => Some((of(h), c.map(of))),
                    None => weights.learned(b),
                };
                let sequence = Sequence { cell: self.cell, hidden: self.hidden_size, direction };
                let result = sequence.states(&x, weights, first, lengths.as_ref());
                let last = if direction == Direction::Forward { t - 1 } else { 0 };
                last_h.push(result.h.narrow(0, last, 1));
                last_c.extend(result.c.map(|c| c.narrow(0, last, 1)));
                results.push(match &lengths {
                    Some(lengths) => &result.h * &lengths.inside,
                    None => result.h,
                });
            }
            x = joined(&results, 2);
        }
        let c = (!last_c.is_empty()).then(|| joined(&last_c, 0));
        (swap(&x), joined(&last_h, 0), c)
    }
}

/// One layer in one direction.
pub(super) struct Sequence {
    pub cell: Cell,
    pub hidden: usize,
    pub direction: Direction,
}

impl Sequence {
    /// States after each step of x `[T, B, input]`.
    pub(super) fn states(
        &self,
        x: &Tensor,
        weights: &Weights,
        first: Option<(Tensor, Option<Tensor>)>,
        lengths: Option<&Lengths>,
    ) -> States {
        let (t, b, h, direction) = (x.shape()[0], x.shape()[1], self.hidden, self.direction);
        let zeros = || x.device().full(0.0, [b, h]);
        // Of a GRU's n the recurrent bias goes with the recurrent product; all others can be added at once.
        let mut bias_n = None;
        let bias = weights.bias.as_ref().map(|(bias_ih, bias_hh)| {
            let mut bias = bias_hh.tensor();
            if self.cell == Cell::Gru {
                bias_n = Some(bias.narrow(0, 2 * h, h));
                bias = bias.narrow(0, 0, 2 * h).pad(&[(0, h)], 0.0);
            }
            bias_ih.tensor().add(&bias)
        });
        let mut gates = x.linear(&weights.weight_ih.tensor(), bias.as_ref());
        let bias_n = (self.cell == Cell::Gru).then(|| bias_n.unwrap_or_else(|| x.device().full(0.0, [h])));
        let (h0, c0) = first.unzip();
        let c0 = c0.flatten().unwrap_or_else(zeros);
        let projection = weights.weight_hr.as_ref().map(Param::tensor);
        let mut w = weights.weight_hh.tensor();
        let mut h0 = h0;
        if let Some(projection) = &projection {
            // W·(P·m) = (W·P)·m: the loop passes on m, what the cell puts out, and all projections are one product.
            // Only the first state is a projection already.
            if let Some(h0) = h0.take() {
                let product = h0.matmul_stored(Layout::AsIs, &w, Layout::Transposed);
                let product = product.reshape([1, b, product.shape()[1]]);
                let begins = match lengths {
                    Some(lengths) if direction == Direction::Reverse => lengths.last.clone(),
                    _ => one_step(x, if direction == Direction::Forward { 0 } else { t - 1 }),
                };
                gates = gates.add(&begins.mul(&product));
            }
            w = w.matmul(projection);
        }
        let h0 = h0.unwrap_or_else(zeros);
        let peepholes = weights.peepholes.as_ref().map(Param::tensor);
        let c0 = self.cell.has_c().then_some(&c0);
        let mask = lengths.map(|l| l.inside.reshape([t, b]));
        let optional = [c0, bias_n.as_ref(), peepholes.as_ref(), mask.as_ref()];
        let inputs: Vec<&Tensor> =
            [&gates, &w, &h0].into_iter().chain(optional.into_iter().flatten()).collect();
        let steps = if lengths.is_some() { Steps::Masked } else { Steps::All };
        let saves = if builds_graph(&inputs) { Saves::Gates } else { Saves::Nothing };
        let states = Tensor::apply(Recurrent { cell: self.cell, direction, steps, saves }, &inputs, &[]);
        let h = match &projection {
            Some(projection) => states[0].matmul_stored(Layout::AsIs, projection, Layout::Transposed),
            None => states[0].clone(),
        };
        States { h, c: self.cell.has_c().then(|| states[1].clone()) }
    }
}

/// States after each step, `[T, B, ..]`.
pub(super) struct States {
    pub h: Tensor,
    pub c: Option<Tensor>,
}

fn joined(parts: &[Tensor], axis: usize) -> Tensor {
    match parts {
        [only] => only.clone(),
        parts => Tensor::concat(&parts.iter().collect::<Vec<_>>(), axis),
    }
}

/// `[T, 1, 1]`: 1 at step `at` of x `[T, B, ..]`.
fn one_step(x: &Tensor, at: usize) -> Tensor {
    let t = x.shape()[0];
    x.device().tensor((0..t).map(|i| f32::from(u8::from(i == at))).collect::<Vec<_>>(), [t, 1, 1])
}

/// Lengths of the sequences of a batch.
pub(super) struct Lengths {
    /// `[T, B, 1]`: 1 inside a sequence.
    inside: Tensor,
    /// `[T, B, 1]`: 1 at a sequence's last step.
    last: Tensor,
}

impl Lengths {
    #[track_caller]
    fn new(device: &crate::Device, lengths: &[usize], [t, b]: [usize; 2]) -> Lengths {
        assert!(
            lengths.len() == b && lengths.iter().all(|l| (1..=t).contains(l)),
            "{b} lengths of 1 to {t} steps are needed, not {lengths:?}"
        );
        let tensor = |f: &dyn Fn(usize, usize) -> bool| {
            let at = |i: usize| f32::from(u8::from(f(i / b, lengths[i % b])));
            device.tensor((0..t * b).map(at).collect::<Vec<_>>(), [t, b, 1])
        };
        Lengths { inside: tensor(&|t, length| t < length), last: tensor(&|t, length| t + 1 == length) }
    }
}
