//! Parameters of recurrent networks: their names, shapes and initial values.

use super::{InitialState, LstmOptions, RecurrentConfig, RecurrentInit};
use crate::ops::recurrent::Cell;
use crate::params::{Init, Param, Scope};
use crate::tensor::Tensor;

/// The parameters of one layer in one direction.
#[derive(Clone, Debug)]
pub struct Weights {
    /// `[gates·H, input]`.
    pub weight_ih: Param,
    /// `[gates·H, H]`, or of proj_size columns.
    pub weight_hh: Param,
    /// `bias_ih` and `bias_hh`, each `[gates·H]`.
    pub bias: Option<(Param, Param)>,
    /// `[proj_size, H]`.
    pub weight_hr: Option<Param>,
    /// `[3, H]`.
    pub peepholes: Option<Param>,
    /// `[H]`, or of proj_size elements: with [`InitialState::Learned`].
    pub h0: Option<Param>,
    /// `[H]`: the same of an LSTM's second state.
    pub c0: Option<Param>,
}

/// Lengths of the vectors that a layer works on.
#[derive(Clone, Copy, Debug)]
pub(in crate::nn) struct Sizes {
    pub input: usize,
    pub hidden: usize,
    pub proj: Option<usize>,
}

impl Sizes {
    /// Of h, which a step passes on.
    fn state(self) -> usize {
        self.proj.unwrap_or(self.hidden)
    }
}

impl Weights {
    /// Registers parameters whose names end with `suffix`.
    #[track_caller]
    pub(in crate::nn) fn new(
        scope: &Scope,
        suffix: &str,
        cell: Cell,
        sizes: Sizes,
        options: LstmOptions,
        config: &RecurrentConfig,
    ) -> Weights {
        let Sizes { input, hidden, proj } = sizes;
        let (rows, bound) = (cell.gates() * hidden, 1.0 / (hidden as f64).sqrt());
        let uniform = Init::Uniform { low: -bound, high: bound };
        let param = |name: &str, shape: &[usize], init| scope.param(&format!("{name}{suffix}"), shape, init);
        let recurrent = match config.recurrent_init {
            RecurrentInit::Uniform => uniform.clone(),
            RecurrentInit::Orthogonal { gain } => gates(cell, hidden, |_| Init::Orthogonal { gain }),
        };
        // The forget gate is the second of i, f, g, o.
        let bias = |forget: f64| match options.forget_bias {
            None => uniform.clone(),
            Some(_) => gates(cell, hidden, |gate| match gate {
                1 => Init::Constant(forget as f32),
                _ => uniform.clone(),
            }),
        };
        let learned = config.initial_state == InitialState::Learned;
        assert!(
            config.bias || options.forget_bias.is_none(),
            "a bias of the forget gate in a network without biases"
        );
        Weights {
            weight_ih: param("weight_ih", &[rows, input], uniform.clone()),
            weight_hh: param("weight_hh", &[rows, sizes.state()], recurrent),
            bias: config.bias.then(|| {
                let ih = param("bias_ih", &[rows], bias(options.forget_bias.unwrap_or_default()));
                (ih, param("bias_hh", &[rows], bias(0.0)))
            }),
            weight_hr: proj.map(|p| param("weight_hr", &[p, hidden], uniform.clone())),
            peepholes: options.peepholes.then(|| param("peepholes", &[3, hidden], uniform.clone())),
            h0: learned.then(|| param("h0", &[sizes.state()], Init::Zeros)),
            c0: (learned && cell.has_c()).then(|| param("c0", &[hidden], Init::Zeros)),
        }
    }

    /// The states that sequences begin with where none are given, for `b` of them, if they are learned.
    pub(super) fn learned(&self, b: usize) -> Option<(Tensor, Option<Tensor>)> {
        let rows = |p: &Param| p.tensor().expand([b, p.shape()[0]]);
        self.h0.as_ref().map(|h0| (rows(h0), self.c0.as_ref().map(rows)))
    }
}

/// Initial values of `[gates·H, ..]`, gate by gate.
fn gates(cell: Cell, hidden: usize, init: impl Fn(usize) -> Init) -> Init {
    Init::Stacked((0..cell.gates()).map(|gate| (hidden, init(gate))).collect())
}
