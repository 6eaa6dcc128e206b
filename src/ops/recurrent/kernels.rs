//! The base variants: one dispatch per step and stage, one thread per element of the state.

use super::{Cell, Recurrent, RecurrentBackward, Sizes, Steps};
use crate::kernel::{Bind, Candidate, Dispatch};
use crate::shape::ALIGN;

crate::kernel! {
    /// Copies elements, or writes zeros.
    mod copy = "shaders/recurrent/copy.wgsl";
    params { len: u32, x_at: u32, y_at: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One step.
    mod step = "shaders/recurrent/step.wgsl";
    params { b: u32, h: u32, t: u32, before: u32 }
    bind {
        x: Read, w: Read, extra: Read, mask: Read, state: ReadWrite, h: ReadWrite, c: ReadWrite, gates: ReadWrite,
    }
}

crate::kernel! {
    /// The gradient of one step of a plain network or an LSTM, up to its product.
    mod cell = "shaders/recurrent_backward/cell.wgsl";
    params { b: u32, h: u32, t: u32, previous: u32, is_first: u32 }
    bind {
        gates: Read, states: Read, first: Read, dh: Read, peepholes: Read, mask: Read, carry: ReadWrite, dx: ReadWrite,
    }
}

crate::kernel! {
    /// The gradient of one step of a GRU, up to its product.
    mod gru = "shaders/recurrent_backward/gru.wgsl";
    params { b: u32, h: u32, t: u32, previous: u32, is_first: u32 }
    bind {
        gates: Read, h: Read, first: Read, dh: Read, mask: Read, carry: ReadWrite, dx: ReadWrite, da: ReadWrite,
    }
}

crate::kernel! {
    /// The gradient of one step through the product of the state that was reset.
    mod reset = "shaders/recurrent_backward/reset.wgsl";
    params { b: u32, h: u32, t: u32, previous: u32, is_first: u32 }
    bind { w: Read, gates: Read, h: Read, first: Read, mask: Read, carry: ReadWrite, dx: ReadWrite }
}

crate::kernel! {
    /// The gradient of one step through its product.
    mod product = "shaders/recurrent_backward/product.wgsl";
    params { b: u32, h: u32, t: u32, rows: u32, pitch: u32 }
    bind { w: Read, da: Read, mask: Read, carry: ReadWrite }
}

crate::kernel! {
    /// Adds what flows into c from outside.
    mod add = "shaders/recurrent_backward/add.wgsl";
    params { size: u32, t: u32 }
    bind { dc: Read, carry: ReadWrite }
}

impl Sizes {
    /// Elements of a state.
    fn size(self) -> usize {
        self.b * self.h
    }

    /// Bytes of `states` states.
    fn bytes(self, states: usize) -> u64 {
        (4 * states * self.size()) as u64
    }

    fn by_element(self, dispatch: Dispatch, trips: usize) -> Dispatch {
        dispatch.groups(self.size().div_ceil(64) as u64).trips(trips as u64 + 1)
    }

    fn copy(self, from: (Bind, usize), to: (Bind, usize)) -> Dispatch {
        let params =
            copy::Params { len: self.size() as u32, x_at: from.1 as u32, y_at: to.1 as u32 };
        self.by_element(copy::dispatch(params).constant("ZEROS", false).bind(&[from.0, to.0]), 0)
    }
}

/// Stands for a tensor that the op has not: something to bind that no kernel touches.
pub(super) const NOTHING: Bind = Bind::Input(1);

pub(super) fn steps(op: Recurrent, s: Sizes) -> Candidate {
    let (at, size) = (op.optional(), s.size());
    let input = |index: Option<usize>| index.map_or(NOTHING, Bind::Input);
    let state = Bind::Scratch(0);
    let mut out = Candidate::new("steps").scratch(s.bytes(4).next_multiple_of(ALIGN));
    let mut output = |index: Option<usize>| match index {
        Some(index) => Bind::Output(index),
        None => {
            out.scratch.push(ALIGN);
            Bind::Scratch(out.scratch.len() - 1)
        }
    };
    let c = output(op.cell.has_c().then_some(1));
    let gates = output(op.gates_output());
    out = out.dispatch(s.copy((Bind::Input(2), 0), (state, 0)));
    if let Some(c0) = at.c0 {
        out = out.dispatch(s.copy((Bind::Input(c0), 0), (state, size)));
    }
    let products = if op.cell == Cell::Gru { 3 } else { 1 };
    for n in 0..s.t {
        let t = op.direction.nth(n, s.t);
        let params = step::Params { b: s.b as u32, h: s.h as u32, t: t as u32, before: (n % 2) as u32 };
        let stage = |reset: bool| {
            let dispatch = step::dispatch(params)
                .constant("CELL", op.cell.number())
                .constant("RESET", reset)
                .constant("PEEPHOLES", op.cell == Cell::LstmPeepholes)
                .constant("MASKED", op.steps == Steps::Masked)
                .bind(&[
                    Bind::Input(0),
                    Bind::Input(1),
                    input(at.extra),
                    input(at.mask),
                    state,
                    Bind::Output(0),
                    c,
                    gates,
                ]);
            s.by_element(dispatch, products * s.h + s.h)
        };
        if op.cell == Cell::GruResetBefore {
            out = out.dispatch(stage(true));
        }
        out = out.dispatch(stage(false));
    }
    out
}

pub(super) fn steps_backward(op: RecurrentBackward, s: Sizes) -> Candidate {
    let (at, of, size) = (op.operands(), op.of, s.size());
    let g = of.cell.gates();
    let input = |index: Option<usize>| index.map_or(Bind::Input(0), Bind::Input);
    let masked = of.steps == Steps::Masked;
    let (w, h, dh) = (Bind::Input(0), Bind::Input(2), Bind::Input(3));
    let (dx, mask, gates) = (Bind::Output(0), input(at.mask), input(at.gates));
    let carry = Bind::Scratch(0);
    let mut out = Candidate::new("steps").scratch(s.bytes(2).next_multiple_of(ALIGN));
    let da = match op.product_output() {
        Some(output) => Bind::Output(output),
        None => {
            out.scratch.push(ALIGN);
            Bind::Scratch(1)
        }
    };
    let zeros = copy::Params { len: 2 * size as u32, x_at: 0, y_at: 0 };
    let zeros = copy::dispatch(zeros).constant("ZEROS", true).bind(&[w, carry]);
    out = out.dispatch(zeros.groups((2 * size).div_ceil(64) as u64));
    for n in (0..s.t).rev() {
        let t = of.direction.nth(n, s.t);
        let previous = if n == 0 { 0 } else { of.direction.nth(n - 1, s.t) as u32 };
        let (b, h_size, t, is_first) = (s.b as u32, s.h as u32, t as u32, u32::from(n == 0));
        if let Some(dc) = at.dc {
            let add = add::dispatch(add::Params { size: size as u32, t }).bind(&[Bind::Input(dc), carry]);
            out = out.dispatch(s.by_element(add, 0));
        }
        out = out.dispatch(match of.cell {
            Cell::Gru | Cell::GruResetBefore => {
                let params = gru::Params { b, h: h_size, t, previous, is_first };
                let dispatch = gru::dispatch(params)
                    .constant("AFTER", of.cell == Cell::Gru)
                    .constant("MASKED", masked)
                    .bind(&[gates, h, Bind::Input(1), dh, mask, carry, dx, da]);
                s.by_element(dispatch, 0)
            }
            _ => {
                let params = cell::Params { b, h: h_size, t, previous, is_first };
                let (states, first) = match (at.c, at.c0) {
                    (Some(c), Some(c0)) => (Bind::Input(c), Bind::Input(c0)),
                    _ => (h, Bind::Input(1)),
                };
                let dispatch = cell::dispatch(params)
                    .constant("CELL", of.cell.number())
                    .constant("PEEPHOLES", of.cell == Cell::LstmPeepholes)
                    .constant("MASKED", masked)
                    .bind(&[gates, states, first, dh, input(at.extra), mask, carry, dx]);
                s.by_element(dispatch, 0)
            }
        });
        if of.cell == Cell::GruResetBefore {
            let dispatch = reset::dispatch(reset::Params { b, h: h_size, t, previous, is_first })
                .constant("MASKED", masked)
                .bind(&[w, gates, h, Bind::Input(1), mask, carry, dx]);
            out = out.dispatch(s.by_element(dispatch, s.h));
        }
        let rows = if of.cell == Cell::GruResetBefore { 2 } else { g } * s.h;
        let params = product::Params { b, h: h_size, t, rows: rows as u32, pitch: (g * s.h) as u32 };
        let a = if of.cell == Cell::Gru { da } else { dx };
        let dispatch =
            product::dispatch(params).constant("MASKED", masked).bind(&[w, a, mask, carry]);
        out = out.dispatch(s.by_element(dispatch, rows));
    }
    out = out.dispatch(s.copy((carry, 0), (Bind::Output(1), 0)));
    if of.cell.has_c() {
        out = out.dispatch(s.copy((carry, size), (Bind::Output(2), 0)));
    }
    out
}
