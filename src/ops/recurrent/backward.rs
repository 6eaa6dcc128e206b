//! The gradient of [`Recurrent`], back through time (Werbos 1990). The loop over steps computes only what flows into gates
//! and states; the gradients of the weights are large products over all steps, outside of it.

use super::{Cell, Direction, MASK, Recurrent, Saves, Sizes, Steps, octets, persistent, reference, steps};
use super::steps::Shape;
use crate::kernel::{Candidate, Target, TargetClass};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::shape::{DType, Spec};
use crate::tensor::Tensor;

/// Whether a gradient is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// It is zero.
    Absent,
    /// It is an input.
    Given,
}

/// The gradients of [`Recurrent`] with respect to x, h0, c0 and the result of the recurrent product.
///
/// | tensor | shape |
/// |---|---|
/// | inputs w, h0, h, dh, then those there are of c0, c, gates, peepholes, mask, dc | as in [`Recurrent`] |
/// | dx | `[T, B, G·H]` |
/// | dh0, dc0 (LSTM) | `[B, H]` |
/// | da ([`Cell::Gru`]; elsewhere it is dx) | `[T, B, G·H]` |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecurrentBackward {
    /// Whose gradient.
    pub of: Recurrent,
    /// Whether there is a gradient of the states c.
    pub dc: Flow,
}

/// Where optional inputs stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operands {
    pub c0: Option<usize>,
    pub c: Option<usize>,
    pub gates: Option<usize>,
    pub extra: Option<usize>,
    pub mask: Option<usize>,
    pub dc: Option<usize>,
    count: usize,
}

impl RecurrentBackward {
    pub(super) fn operands(self) -> Operands {
        let mut next = 4;
        let mut take = |there: bool| {
            let at = next;
            next += usize::from(there);
            there.then_some(at)
        };
        let cell = self.of.cell;
        let (c0, c) = (take(cell.has_c()), take(cell.has_c()));
        let gates = take(cell.saved() > 0);
        let extra = take(cell == Cell::LstmPeepholes);
        let mask = take(self.of.steps == Steps::Masked);
        let dc = take(self.dc == Flow::Given);
        Operands { c0, c, gates, extra, mask, dc, count: next }
    }

    /// Index of the output of what the recurrent product gets, where that is not dx.
    pub(super) fn product_output(self) -> Option<usize> {
        (self.of.cell == Cell::Gru).then_some(2)
    }

    fn inputs(self, s: Sizes) -> Vec<Spec> {
        let (cell, state) = (self.of.cell, Spec::f32([s.b, s.h]));
        let at = self.operands();
        let mut all = vec![Spec::f32([cell.gates() * s.h, s.h]), state, s.states(), s.states()];
        all.resize(at.count, state);
        let mut put = |index: Option<usize>, spec: Spec| index.into_iter().for_each(|i| all[i] = spec);
        put(at.c, s.states());
        put(at.gates, s.wide(cell.saved()));
        put(at.extra, Spec::f32([3, s.h]));
        put(at.mask, Spec::f32([s.t, s.b]));
        put(at.dc, s.states());
        all
    }
}

impl Op for RecurrentBackward {
    fn name(&self) -> &'static str {
        match self.of.cell {
            Cell::Tanh | Cell::Relu => "rnn_backward",
            Cell::Lstm | Cell::LstmPeepholes => "lstm_backward",
            Cell::Gru => "gru_backward",
            Cell::GruResetBefore => "gru_reset_before_backward",
        }
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let count = self.operands().count;
        if inputs.len() != count || inputs.iter().any(|i| i.dtype != DType::F32) || inputs[2].shape.rank() != 3 {
            return expected(format!("{count} operands of f32, the third of shape [T, B, H]"));
        }
        let s = Sizes::of(inputs[2]);
        let wanted = self.inputs(s);
        if inputs != wanted || s.t == 0 {
            let shapes: Vec<String> = wanted.iter().map(|s| s.shape.to_string()).collect();
            return expected(format!("at least one step, and operands of shapes {}", shapes.join(" ")));
        }
        let (x, state) = (s.wide(self.of.cell.gates()), Spec::f32([s.b, s.h]));
        let mut outputs = vec![x, state];
        outputs.extend(self.of.cell.has_c().then_some(state));
        outputs.extend(self.product_output().map(|_| x));
        Ok(outputs)
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        reference::backward(*self, io);
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None; g.inputs.len()]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let s = Sizes::of(io.inputs[2]);
        let mut all = Vec::new();
        if target.software_subgroup8() {
            all.extend(octets::backward(*self, s));
        }
        let mut steps: Vec<Candidate> =
            Shape::all(target, s.b).map(|shape| steps::steps_backward(*self, s, shape)).into();
        let persistent = persistent::backward(*self, s);
        let first = target.class == TargetClass::Hardware && persistent::suits(self.of.cell, s);
        steps.splice(if first { 0..0 } else { 1..1 }, persistent);
        all.extend(steps);
        all
    }

    fn tolerance(&self, io: Io<'_>, _: usize) -> Tolerance {
        Tolerance::OfMax(4e-5 * (io.inputs[2].shape[0] as f64).sqrt())
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        let s = Sizes::of(io.inputs[2]);
        Cost { flops: (2 * s.t * s.b * self.of.cell.gates() * s.h * s.h) as u64, bytes: io.bytes() }
    }
}

/// Test cases. States and gates are what a layer may give: below 1, gates above 0.
pub(super) fn cases(cell: Cell) -> Vec<Case> {
    let mut cases = Vec::new();
    for (direction, steps, dc, [t, b, h]) in [
        (Direction::Forward, Steps::All, Flow::Absent, [3, 2, 5]),
        (Direction::Reverse, Steps::Masked, Flow::Given, [4, 3, 9]),
        (Direction::Forward, Steps::Masked, Flow::Given, [1, 70, 3]),
        (Direction::Reverse, Steps::All, Flow::Absent, [40, 1, 33]),
        (Direction::Reverse, Steps::Masked, Flow::Given, [5, 33, 72]),
        (Direction::Forward, Steps::All, Flow::Absent, [3, 7, 40]),
        (Direction::Forward, Steps::All, Flow::Absent, [2, 3, 253]),
        // Longer than what one dispatch of a persistent kernel goes through.
        (Direction::Forward, Steps::Masked, Flow::Given, [300, 3, 5]),
        (Direction::Reverse, Steps::All, Flow::Absent, [600, 3, 9]),
    ] {
        if t > 100 && !matches!(cell, Cell::Lstm | Cell::Gru) {
            continue;
        }
        let dc = if cell.has_c() { dc } else { Flow::Absent };
        let of = Recurrent { cell, direction, steps, saves: Saves::Gates };
        let op = RecurrentBackward { of, dc };
        let specs = op.inputs(Sizes { t, b, h });
        let shapes: Vec<&[usize]> = specs.iter().map(|s| s.shape.dims()).collect();
        let mut case = Case::new(op, &shapes).fill(Fill::Uniform { low: -0.9, high: 0.9 });
        let at = op.operands();
        case = case.input(0, specs[0], Fill::Normal { mean: 0.0, std: 0.5 / (h as f64).sqrt() });
        if let Some(gates) = at.gates {
            case = case.input(gates, specs[gates], Fill::Uniform { low: 0.05, high: 0.95 });
        }
        if let Some(mask) = at.mask {
            case = case.input(mask, specs[mask], MASK);
        }
        cases.push(case);
    }
    cases
}
