//! One layer in one direction.

use super::Weights;
use crate::Device;
use crate::ops::matmul::Layout;
use crate::ops::recurrent::{Cell, Direction, Recurrent, Saves, Steps};
use crate::params::Param;
use crate::tensor::Tensor;
use crate::trace::builds_graph;

/// One layer in one direction, with what all its steps share.
pub(in crate::nn) struct Sequence {
    cell: Cell,
    direction: Direction,
    weight_ih: Tensor,
    bias: Option<Tensor>,
    /// Of a GRU's n the recurrent bias goes with the recurrent product.
    bias_n: Option<Tensor>,
    /// `[G·H, H]`: what a cell's output is multiplied by.
    w: Tensor,
    projection: Option<Tensor>,
    peepholes: Option<Tensor>,
    /// `[1, B, G·H]`: what a projected first state adds to the gates of the step that begins with it.
    begin: Option<Tensor>,
}

/// What a step passes on.
#[derive(Clone)]
pub(in crate::nn) struct State {
    /// `[B, H]`: what the cell puts out, not projected.
    h: Tensor,
    /// `[B, H]`.
    pub c: Option<Tensor>,
}

/// What comes of some steps.
pub(in crate::nn) struct End {
    /// `[T, B, ..]`: h after each step, 0 past the ends of sequences.
    pub results: Tensor,
    /// `[1, B, ..]`: h after the last step.
    pub h: Tensor,
    /// Where the next steps go on.
    pub state: State,
}

impl Sequence {
    /// The layer, and the state that it begins with for `b` sequences: `first`, or 0.
    pub fn new(
        cell: Cell,
        direction: Direction,
        weights: &Weights,
        first: Option<(Tensor, Option<Tensor>)>,
        b: usize,
    ) -> (Sequence, State) {
        let weight_ih = weights.weight_ih.tensor();
        let h = weight_ih.shape()[0] / cell.gates();
        let device = weight_ih.device().clone();
        let zeros = || device.full(0.0, [b, h]);
        // All biases but that of a GRU's n can be added at once.
        let mut bias_n = None;
        let bias = weights.bias.as_ref().map(|(bias_ih, bias_hh)| {
            let mut bias = bias_hh.tensor();
            if cell == Cell::Gru {
                bias_n = Some(bias.narrow(0, 2 * h, h));
                bias = bias.narrow(0, 0, 2 * h).pad(&[(0, h)], 0.0);
            }
            bias_ih.tensor().add(&bias)
        });
        let bias_n = (cell == Cell::Gru).then(|| bias_n.unwrap_or_else(|| device.full(0.0, [h])));
        let projection = weights.weight_hr.as_ref().map(Param::tensor);
        let mut w = weights.weight_hh.tensor();
        let (mut h0, c0) = first.unzip();
        let mut begin = None;
        if let Some(projection) = &projection {
            // W·(P·m) = (W·P)·m: the loop passes on m, what the cell puts out, and all projections are one product.
            // Only the first state is a projection already.
            begin = h0.take().map(|h0| {
                let product = h0.matmul_stored(Layout::AsIs, &w, Layout::Transposed);
                product.reshape([1, b, product.shape()[1]])
            });
            w = w.matmul(projection);
        }
        let c = cell.has_c().then(|| c0.flatten().unwrap_or_else(zeros));
        let state = State { h: h0.unwrap_or_else(zeros), c };
        let peepholes = weights.peepholes.as_ref().map(Param::tensor);
        (Sequence { cell, direction, weight_ih, bias, bias_n, w, projection, peepholes, begin }, state)
    }

    /// The steps of x `[T, B, input]`; `begins` when no others come before them.
    pub fn run(&self, x: &Tensor, state: &State, begins: bool, lengths: Option<&Lengths>) -> End {
        let (t, b) = (x.shape()[0], x.shape()[1]);
        // A sequence without steps is refused by the op.
        let [first, last] = match self.direction {
            Direction::Forward => [0, t.saturating_sub(1)],
            Direction::Reverse => [t.saturating_sub(1), 0],
        };
        let mut gates = x.linear(&self.weight_ih, self.bias.as_ref());
        if let Some(begin) = &self.begin {
            let at = match lengths {
                // Backwards each sequence begins with its own last step, in whichever part that is.
                Some(lengths) if self.direction == Direction::Reverse => Some(lengths.last.clone()),
                _ => begins.then(|| one_step(x.device(), first, t)),
            };
            gates = at.iter().fold(gates, |gates, at| gates.add(&at.mul(begin)));
        }
        let mask = lengths.map(|l| l.inside.reshape([t, b]));
        let optional = [state.c.as_ref(), self.bias_n.as_ref(), self.peepholes.as_ref(), mask.as_ref()];
        let inputs: Vec<&Tensor> =
            [&gates, &self.w, &state.h].into_iter().chain(optional.into_iter().flatten()).collect();
        let steps = if lengths.is_some() { Steps::Masked } else { Steps::All };
        let saves = if builds_graph(&inputs) { Saves::Gates } else { Saves::Nothing };
        let op = Recurrent { cell: self.cell, direction: self.direction, steps, saves };
        let states = Tensor::apply(op, &inputs, &[]);
        let h = match &self.projection {
            Some(projection) => states[0].matmul_stored(Layout::AsIs, projection, Layout::Transposed),
            None => states[0].clone(),
        };
        let at_last = |states: &Tensor| states.narrow(0, last, 1).reshape([b, states.shape()[2]]);
        let c = self.cell.has_c().then(|| at_last(&states[1]));
        let results = lengths.map_or_else(|| h.clone(), |lengths| h.mul(&lengths.inside));
        End { results, h: h.narrow(0, last, 1), state: State { h: at_last(&states[0]), c } }
    }
}

/// `[T, 1, 1]`: 1 at step `at` of `t`.
fn one_step(device: &Device, at: usize, t: usize) -> Tensor {
    device.tensor((0..t).map(|i| f32::from(u8::from(i == at))).collect::<Vec<_>>(), [t, 1, 1])
}

/// Lengths of the sequences of a batch.
pub(in crate::nn) struct Lengths {
    /// `[T, B, 1]`: 1 inside a sequence.
    inside: Tensor,
    /// `[T, B, 1]`: 1 at a sequence's last step.
    last: Tensor,
}

impl Lengths {
    #[track_caller]
    pub fn new(device: &Device, lengths: &[usize], [t, b]: [usize; 2]) -> Lengths {
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

    /// The same of `len` steps from `start` on.
    pub fn part(&self, start: usize, len: usize) -> Lengths {
        let part = |x: &Tensor| x.narrow(0, start, len);
        Lengths { inside: part(&self.inside), last: part(&self.last) }
    }
}
