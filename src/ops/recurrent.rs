//! Recurrent networks: one layer, in one direction, over a whole sequence.
//!
//! The products with the input are not part of these ops: they are one large product over all steps, whose result with all
//! biases added is `x`. With h the state before a step and W the recurrent weights, a step computes
//!
//! | cell | step |
//! |---|---|
//! | [`Cell::Tanh`], [`Cell::Relu`] | `h' = tanh(x + W·h)`, or the maximum with 0 (Elman 1990) |
//! | [`Cell::Lstm`] | `i, f, o = σ(x + W·h)`, `g = tanh(x + W·h)`, `c' = f·c + i·g`, `h' = o·tanh(c')` (Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000) |
//! | [`Cell::LstmPeepholes`] | the same, where i and f also see `p·c` and o sees `p·c'` (Gers and Schmidhuber 2000) |
//! | [`Cell::Gru`] | `r, z = σ(x + W·h)`, `n = tanh(x + r·(W·h + b))`, `h' = (1 - z)·n + z·h` (PyTorch's and cuDNN's) |
//! | [`Cell::GruResetBefore`] | `r, z = σ(x + W·h)`, `n = tanh(x + W·(r·h))`, `h' = (1 - z)·n + z·h` (Cho et al. 2014) |
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[T, B, G·H]`: gates i, f, g, o or r, z, n |
//! | w | `[G·H, H]` |
//! | h0, c0 (LSTM) | `[B, H]` |
//! | bias (GRU: b of n), peepholes (of i, f and o) | `[H]`, `[3, H]` |
//! | mask, with [`Steps::Masked`] | `[T, B]`: where it is 0 the state stays as it was |
//! | h, c (LSTM) | `[T, B, H]`, the states after each step |
//! | gates, with [`Saves::Gates`] | `[T, B, S·H]`: i, f, g, o; or r, z, n and for [`Cell::Gru`] W·h + b of n |
//!
//! Inputs stand in the order x, w, h0, then those of c0, bias or peepholes, mask that the op has; outputs in the order h,
//! c, gates. No gradient flows into gates: they are there for the op's own.

mod backward;
mod octets;
mod persistent;
mod reference;
mod setup;
mod steps;

pub use backward::{Flow, RecurrentBackward};

use crate::kernel::{Candidate, Target, TargetClass};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::ops::matmul::Layout;
use crate::shape::{DType, Spec};
use crate::tensor::Tensor;
use steps::Shape;

/// What a layer computes at each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// The plain network with tanh.
    Tanh,
    /// The plain network with ReLU.
    Relu,
    /// Long short-term memory.
    Lstm,
    /// Long short-term memory whose gates see the cell's state.
    LstmPeepholes,
    /// The gated recurrent unit that resets after the recurrent product.
    Gru,
    /// The gated recurrent unit that resets before the recurrent product.
    GruResetBefore,
}

impl Cell {
    /// Vectors of length H that a step takes from x, and from the recurrent product.
    pub const fn gates(self) -> usize {
        match self {
            Cell::Tanh | Cell::Relu => 1,
            Cell::Lstm | Cell::LstmPeepholes => 4,
            Cell::Gru | Cell::GruResetBefore => 3,
        }
    }

    /// Vectors of length H that a step saves for the gradient, beside its states.
    pub const fn saved(self) -> usize {
        match self {
            Cell::Tanh | Cell::Relu => 0,
            Cell::Lstm | Cell::LstmPeepholes | Cell::Gru => 4,
            Cell::GruResetBefore => 3,
        }
    }

    /// Whether there is a second state, c.
    pub const fn has_c(self) -> bool {
        matches!(self, Cell::Lstm | Cell::LstmPeepholes)
    }

    /// States that a step passes on: h, and c.
    const fn states(self) -> usize {
        if self.has_c() { 2 } else { 1 }
    }

    /// Vectors of length H that are an input of their own: the bias of n, or the peepholes.
    const fn extra(self) -> usize {
        match self {
            Cell::Gru => 1,
            Cell::LstmPeepholes => 3,
            _ => 0,
        }
    }

    /// The kernels' number for it.
    const fn number(self) -> u32 {
        match self {
            Cell::Tanh => 0,
            Cell::Relu => 1,
            Cell::Lstm | Cell::LstmPeepholes => 2,
            Cell::Gru => 3,
            Cell::GruResetBefore => 4,
        }
    }

    const ALL: [Cell; 6] =
        [Cell::Tanh, Cell::Relu, Cell::Lstm, Cell::LstmPeepholes, Cell::Gru, Cell::GruResetBefore];
}

/// The order in which a sequence is gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the first step to the last.
    Forward,
    /// From the last step to the first.
    Reverse,
}

impl Direction {
    /// The step that is `n`-th of `t` in this order.
    fn nth(self, n: usize, t: usize) -> usize {
        match self {
            Direction::Forward => n,
            Direction::Reverse => t - 1 - n,
        }
    }
}

/// Which steps count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Steps {
    /// All.
    All,
    /// Those where the mask is not 0.
    Masked,
}

/// What a layer keeps beside its states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Saves {
    /// The gates, which its gradient needs.
    Gates,
    /// Nothing: there will be no gradient.
    Nothing,
}

/// One layer in one direction over a whole sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recurrent {
    /// What a step computes.
    pub cell: Cell,
    /// The order of the steps.
    pub direction: Direction,
    /// Which steps count.
    pub steps: Steps,
    /// What is kept.
    pub saves: Saves,
}

/// Sizes of an op of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    t: usize,
    b: usize,
    h: usize,
}

impl Sizes {
    /// Of states `[T, B, H]`.
    fn of(states: Spec) -> Sizes {
        let [t, b, h] = [0, 1, 2].map(|axis| states.shape[axis]);
        Sizes { t, b, h }
    }

    fn states(self) -> Spec {
        Spec::f32([self.t, self.b, self.h])
    }

    fn wide(self, vectors: usize) -> Spec {
        Spec::f32([self.t, self.b, vectors * self.h])
    }
}

impl Recurrent {
    /// Indices of the inputs c0, bias or peepholes, and mask, as far as the op has them.
    fn optional(self) -> Optional {
        let mut next = 3;
        let mut take = |there: bool| {
            let at = next;
            next += usize::from(there);
            there.then_some(at)
        };
        let c0 = take(self.cell.has_c());
        let extra = take(self.cell.extra() > 0);
        let mask = take(self.steps == Steps::Masked);
        Optional { c0, extra, mask, count: next }
    }

    /// Vectors of length H that a step saves beside its states.
    fn saved(self) -> usize {
        if self.saves == Saves::Gates { self.cell.saved() } else { 0 }
    }

    /// Index of the output of saved gates.
    fn gates_output(self) -> Option<usize> {
        (self.saved() > 0).then_some(1 + usize::from(self.cell.has_c()))
    }

    /// What the op wants its inputs to be, for sizes.
    fn inputs(self, s: Sizes) -> Vec<Spec> {
        let g = self.cell.gates();
        let mut all = vec![s.wide(g), Spec::f32([g * s.h, s.h]), Spec::f32([s.b, s.h])];
        all.extend(self.cell.has_c().then(|| Spec::f32([s.b, s.h])));
        match self.cell.extra() {
            0 => {}
            1 => all.push(Spec::f32([s.h])),
            n => all.push(Spec::f32([n, s.h])),
        }
        all.extend((self.steps == Steps::Masked).then(|| Spec::f32([s.t, s.b])));
        all
    }
}

/// Where optional inputs stand.
#[derive(Clone, Copy, Debug)]
struct Optional {
    c0: Option<usize>,
    extra: Option<usize>,
    mask: Option<usize>,
    count: usize,
}

impl Op for Recurrent {
    fn name(&self) -> &'static str {
        match self.cell {
            Cell::Tanh | Cell::Relu => "rnn",
            Cell::Lstm | Cell::LstmPeepholes => "lstm",
            Cell::Gru => "gru",
            Cell::GruResetBefore => "gru_reset_before",
        }
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let count = self.optional().count;
        if inputs.len() != count || inputs.iter().any(|i| i.dtype != DType::F32) {
            return expected(format!("{count} operands of f32"));
        }
        let (x, w) = (inputs[0].shape, inputs[1].shape);
        if x.rank() != 3 || w.rank() != 2 {
            return expected("x [T, B, G·H] and w [G·H, H]");
        }
        let s = Sizes { t: x[0], b: x[1], h: w[1] };
        let wanted = self.inputs(s);
        if inputs != wanted || s.t == 0 {
            let shapes: Vec<String> = wanted.iter().map(|s| s.shape.to_string()).collect();
            return expected(format!("at least one step, and operands of shapes {}", shapes.join(" ")));
        }
        let mut outputs = vec![s.states()];
        outputs.extend(self.cell.has_c().then(|| s.states()));
        outputs.extend((self.saved() > 0).then(|| s.wide(self.saved())));
        Ok(outputs)
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        reference::forward(*self, io);
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        assert!(self.saves == Saves::Gates || self.cell.saved() == 0, "a gradient without what it needs");
        let s = Sizes::of(g.outputs[0].spec());
        let at = self.optional();
        let [_, w, h0] = &g.inputs[..3] else { unreachable!("three inputs") };
        let (h, gates) = (&g.outputs[0], self.gates_output().map(|o| &g.outputs[o]));
        let dh = g.dy[0].clone().unwrap_or_else(|| zeros_like(h));
        let dc = if self.cell.has_c() { g.dy[1].clone() } else { None };
        let op = RecurrentBackward { of: *self, dc: if dc.is_some() { Flow::Given } else { Flow::Absent } };
        let peepholes = at.extra.filter(|_| self.cell == Cell::LstmPeepholes);
        let optional = [at.c0, peepholes, at.mask].map(|i| i.map(|i| &g.inputs[i]));
        let c = self.cell.has_c().then(|| &g.outputs[1]);
        let all = [Some(w), Some(h0), Some(h), Some(&dh), optional[0], c, gates, optional[1], optional[2], dc.as_ref()];
        let inputs: Vec<&Tensor> = all.into_iter().flatten().collect();
        let d = Tensor::apply(op, &inputs, &[]);
        let (dx, dh0) = (&d[0], &d[1]);
        let rows = s.t * s.b;
        let flat = |t: &Tensor| t.reshape([rows, t.shape()[2]]);
        let before = |first: &Tensor, states: &Tensor| self.before(s, first, states);
        // What the recurrent product added, for each gate.
        let da = if self.cell == Cell::Gru { &d[2] } else { dx };
        let product = |da: &Tensor, h: &Tensor| flat(da).matmul_stored(Layout::Transposed, &flat(h), Layout::AsIs);
        let h_before = before(h0, h);
        let dw = g.wants[1].then(|| match (self.cell, gates) {
            (Cell::GruResetBefore, Some(gates)) => {
                let reset = gates.narrow(2, 0, s.h) * &h_before;
                let rz = product(&da.narrow(2, 0, 2 * s.h), &h_before);
                Tensor::concat(&[&rz, &product(&da.narrow(2, 2 * s.h, s.h), &reset)], 0)
            }
            _ => product(da, &h_before),
        });
        let mut all = vec![None; g.inputs.len()];
        all[0] = Some(dx.clone());
        all[1] = dw;
        all[2] = Some(dh0.clone());
        if let Some(c0) = at.c0 {
            all[c0] = Some(d[2].clone());
        }
        if let Some(extra) = at.extra.filter(|&i| g.wants[i]) {
            all[extra] = Some(match (self.cell, at.c0) {
                (Cell::LstmPeepholes, Some(c0)) => {
                    let c = &g.outputs[1];
                    let c_before = before(&g.inputs[c0], c);
                    let of = |gate: usize, c: &Tensor| (dx.narrow(2, gate * s.h, s.h) * c).sum(&[0, 1]).reshape([1, s.h]);
                    Tensor::concat(&[&of(0, &c_before), &of(1, &c_before), &of(3, c)], 0)
                }
                _ => da.narrow(2, 2 * s.h, s.h).sum(&[0, 1]),
            });
        }
        all
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let s = Sizes::of(io.outputs[0]);
        let mut all = Vec::new();
        if target.software_subgroup8() {
            all.extend(octets::forward(*self, s));
        }
        let mut steps: Vec<Candidate> =
            Shape::all(target, s.b).map(|shape| steps::steps(*self, s, shape)).into();
        let persistent = persistent::forward(*self, s);
        let first = target.class == TargetClass::Hardware && persistent::suits(self.cell, s);
        steps.splice(if first { 0..0 } else { 1..1 }, persistent);
        all.extend(steps);
        all
    }

    fn tolerance(&self, io: Io<'_>, _: usize) -> Tolerance {
        Tolerance::OfMax(1e-5 * (io.outputs[0].shape[0].max(1) as f64).sqrt())
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        let s = Sizes::of(io.outputs[0]);
        Cost { flops: (2 * s.t * s.b * self.cell.gates() * s.h * s.h) as u64, bytes: io.bytes() }
    }
}

impl Recurrent {
    /// The states `[T, B, H]` before each step, from the first one and those after each step.
    fn before(self, s: Sizes, first: &Tensor, states: &Tensor) -> Tensor {
        let first = first.reshape([1, s.b, s.h]);
        match self.direction {
            Direction::Forward => Tensor::concat(&[&first, &states.narrow(0, 0, s.t - 1)], 0),
            Direction::Reverse => Tensor::concat(&[&states.narrow(0, 1, s.t - 1), &first], 0),
        }
    }
}

fn zeros_like(x: &Tensor) -> Tensor {
    x.device().full(0.0, x.shape())
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for cell in Cell::ALL {
        for (direction, steps, s, gradient) in [
            (Direction::Forward, Steps::All, [3, 2, 4], true),
            (Direction::Reverse, Steps::All, [3, 2, 3], true),
            (Direction::Forward, Steps::Masked, [4, 3, 2], true),
            (Direction::Reverse, Steps::Masked, [4, 3, 2], true),
            (Direction::Forward, Steps::All, [1, 1, 1], true),
            (Direction::Forward, Steps::All, [5, 9, 17], false),
            (Direction::Reverse, Steps::Masked, [7, 33, 40], false),
            (Direction::Forward, Steps::Masked, [4, 17, 72], false),
            (Direction::Forward, Steps::All, [200, 1, 8], false),
            (Direction::Reverse, Steps::All, [2, 3, 253], false),
            (Direction::Forward, Steps::All, [3, 0, 5], false),
        ] {
            let op = Recurrent { cell, direction, steps, saves: Saves::Gates };
            let case = op.case(Sizes { t: s[0], b: s[1], h: s[2] });
            cases.push(if gradient { case.with_gradient() } else { case });
        }
        // Longer than what one dispatch of a persistent kernel goes through.
        if matches!(cell, Cell::Lstm | Cell::Gru) {
            let (direction, steps) = (Direction::Forward, Steps::Masked);
            let op = Recurrent { cell, direction, steps, saves: Saves::Gates };
            cases.push(op.case(Sizes { t: 300, b: 3, h: 5 }));
            cases.push(Recurrent { direction: Direction::Reverse, ..op }.case(Sizes { t: 600, b: 3, h: 9 }));
        }
        for (t, b, h) in [(4, 5, 6), (3, 18, 24)] {
            let (direction, steps) = (Direction::Reverse, Steps::Masked);
            cases.push(Recurrent { cell, direction, steps, saves: Saves::Nothing }.case(Sizes { t, b, h }));
        }
        cases.extend(backward::cases(cell));
    }
    cases
}

/// Values of a mask: some of these are 0.
const MASK: Fill = Fill::Ties;

impl Recurrent {
    fn case(self, s: Sizes) -> Case {
        let specs = self.inputs(s);
        let shapes: Vec<&[usize]> = specs.iter().map(|s| s.shape.dims()).collect();
        let case = Case::new(self, &shapes);
        // A state that keeps its size over many steps.
        let w = Fill::Normal { mean: 0.0, std: 0.5 / (s.h.max(1) as f64).sqrt() };
        let case = case.input(1, specs[1], w);
        let case = self.gates_output().into_iter().fold(case, Case::keeps);
        match self.optional().mask {
            Some(mask) => case.input(mask, specs[mask], MASK).constant(mask),
            None => case,
        }
    }
}
