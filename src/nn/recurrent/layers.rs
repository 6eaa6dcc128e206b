//! Layers on top of one another: how sequences go through them.

use super::sequence::{Lengths, Sequence};
use super::{LstmOptions, RecurrentConfig, Sizes, Weights};
use crate::caller::{Caller, on_behalf_of};
use crate::nn::{Dropout, Mode};
use crate::ops::recurrent::{Cell, Direction};
use crate::params::Scope;
use crate::recompute::recompute;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::trace::builds_graph;
use std::panic::Location;

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
    pub(super) fn new(
        scope: &Scope,
        cell: Cell,
        [input_size, hidden_size]: [usize; 2],
        options: LstmOptions,
        config: RecurrentConfig,
    ) -> Self {
        assert!(config.num_layers > 0, "a recurrent network without layers");
        assert!(config.recompute != Some(0), "a recurrent network that computes again pieces of 0 steps");
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
        // Dropout knows which probabilities there are.
        let dropout = (config.dropout != 0.0).then(|| Dropout::new(scope, config.dropout));
        Layers { cell, hidden_size, weights, config, dropout }
    }

    /// Results, last states h and, where there are any, last states c.
    #[track_caller]
    pub(super) fn run(
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
        let (t, b) = if self.config.batch_first { (shape[1], shape[0]) } else { (shape[0], shape[1]) };
        let lengths = lengths.map(|l| Lengths::new(x.device(), l, [t, b]));
        if let Some((h, c)) = initial {
            let states = self.weights.iter().map(Vec::len).sum();
            let passed_on = self.weights[0][0].weight_hh.shape()[1];
            check_states("h", h, [states, b, passed_on]);
            c.into_iter().for_each(|c| check_states("c", c, [states, b, self.hidden_size]));
        }
        on_behalf_of(Caller::forward(Location::caller()), || self.all(x, initial, lengths.as_ref(), mode))
    }

    /// Results and last states of all layers.
    fn all(
        &self,
        x: &Tensor,
        initial: Option<(&Tensor, Option<&Tensor>)>,
        lengths: Option<&Lengths>,
        mode: Mode,
    ) -> (Tensor, Tensor, Option<Tensor>) {
        let swap = |x: &Tensor| if self.config.batch_first { x.transpose(0, 1) } else { x.clone() };
        let x = swap(x);
        let (t, b) = (x.shape()[0], x.shape()[1]);
        let pieces = self.pieces(t);
        let mut xs = x.split(&pieces.steps, 0);
        let (mut last_h, mut last_c) = (Vec::new(), Vec::new());
        for (index, layer) in self.weights.iter().enumerate() {
            // Which elements are dropped depends on where they stand in the whole sequence.
            if let (Some(dropout), true) = (&self.dropout, index > 0 && mode == Mode::Train) {
                xs = dropout.forward(&joined(&xs, 0), mode).split(&pieces.steps, 0);
            }
            let mut results: Vec<Vec<Tensor>> = vec![Vec::new(); xs.len()];
            for (direction, weights) in [Direction::Forward, Direction::Reverse].into_iter().zip(layer) {
                let nth = last_h.len();
                let of = |states: &Tensor| states.narrow(0, nth, 1).reshape([b, states.shape()[2]]);
                let first = match initial {
                    Some((h, c)) => Some((of(h), c.map(of))),
                    None => weights.learned(b),
                };
                let (sequence, mut state) = Sequence::new(self.cell, direction, weights, first, b);
                let mut h = None;
                for (place, k) in pieces.in_order(direction).enumerate() {
                    let start = pieces.steps[..k].iter().sum();
                    let part = || {
                        let lengths = lengths.map(|l| l.part(start, pieces.steps[k]));
                        sequence.run(&xs[k], &state, place == 0, lengths.as_ref())
                    };
                    let end = if pieces.again { recompute(part) } else { part() };
                    results[k].push(end.results);
                    (state, h) = (end.state, Some(end.h));
                }
                last_h.extend(h);
                let shape = [1, b, self.hidden_size];
                last_c.extend(state.c.map(|c| c.reshape(shape)));
            }
            xs = results.iter().map(|r| joined(r, 2)).collect();
        }
        let c = (!last_c.is_empty()).then(|| joined(&last_c, 0));
        (swap(&joined(&xs, 0)), joined(&last_h, 0), c)
    }

    /// How a sequence of `t` steps is cut.
    fn pieces(&self, t: usize) -> Pieces {
        let trained = || builds_graph(&[&self.weights[0][0].weight_hh.tensor()]);
        match self.config.recompute.filter(|_| t > 0 && trained()) {
            None => Pieces { steps: vec![t], again: false },
            Some(n) => {
                Pieces { steps: (0..t).step_by(n).map(|start| n.min(t - start)).collect(), again: true }
            }
        }
    }
}

/// States that are given must be those of all layers.
#[track_caller]
fn check_states(name: &str, states: &Tensor, expected: [usize; 3]) {
    let (shape, expected) = (states.shape(), Shape::new(&expected));
    assert!(
        shape == expected,
        "initial states {name} of shape {shape} of a recurrent network: expected [layers·directions, B, ..], {expected}"
    );
}

/// Parts of a sequence that are gone through one after another.
struct Pieces {
    /// How many steps each has.
    steps: Vec<usize>,
    /// Whether gradients have them computed again.
    again: bool,
}

impl Pieces {
    /// Their indices in the order in which they are gone through.
    fn in_order(&self, direction: Direction) -> impl Iterator<Item = usize> {
        let n = self.steps.len();
        (0..n).map(move |i| if direction == Direction::Forward { i } else { n - 1 - i })
    }
}

fn joined(parts: &[Tensor], axis: usize) -> Tensor {
    match parts {
        [only] => only.clone(),
        parts => Tensor::concat(&parts.iter().collect::<Vec<_>>(), axis),
    }
}
