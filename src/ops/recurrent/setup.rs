//! What the steps of the variants for all adapters need around them: first states, weights in the order in which threads read
//! them, what flows back, and copies of the results.

use super::{Cell, Recurrent, RecurrentBackward, Sizes};
use crate::kernel::{Bind, Candidate};
use crate::shape::ALIGN;

crate::kernel! {
    /// Copies elements, or writes zeros.
    mod copy = "shaders/recurrent/copy.wgsl";
    params { len: u32, x_at: u32, y_at: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// The states before the first step.
    mod begin = "shaders/recurrent/begin.wgsl";
    params { b: u32, h: u32, pitch: u32 }
    bind { h0: Read, c0: Read, state: ReadWrite }
}

crate::kernel! {
    /// Copies weights for steps.
    mod pack_rows = "shaders/recurrent/pack_rows.wgsl";
    params { h: u32, h4: u32, first: u32 }
    bind { w: Read, extra: Read, y: ReadWrite }
}

crate::kernel! {
    /// Copies weights for the gradients of steps.
    mod pack_columns = "shaders/recurrent_backward/pack_columns.wgsl";
    params { h: u32, h4: u32, gates: u32 }
    bind { w: Read, peepholes: Read, y: ReadWrite }
}

impl Sizes {
    /// Elements of a state.
    pub(super) fn size(self) -> usize {
        self.b * self.h
    }

    /// Vectors of four of a row of a state.
    pub(super) fn h4(self) -> usize {
        self.h.div_ceil(4)
    }

    /// Bytes of a buffer with so many states, whose rows are whole vectors of four.
    pub(super) fn state_bytes(self, states: usize) -> u64 {
        bytes(states * self.b * self.h4() * 4)
    }
}

/// Bytes of so many floats.
pub(super) fn bytes(floats: usize) -> u64 {
    (4 * floats as u64).next_multiple_of(ALIGN)
}

/// Adds a buffer to a candidate.
pub(super) fn buffer(out: &mut Candidate, bytes: u64) -> Bind {
    out.scratch.push(bytes);
    Bind::Scratch(out.scratch.len() - 1)
}

/// Adds a buffer that a kernel has but the cell has not.
pub(super) fn unused(out: &mut Candidate) -> Bind {
    buffer(out, ALIGN)
}

/// An input, or something to bind that no kernel touches.
pub(super) fn input(index: Option<usize>) -> Bind {
    Bind::Input(index.unwrap_or(1))
}

/// The outputs c and gates, as far as the op has them. Where gates are not kept the GRU that resets before its product still
/// needs those of one step, from its first dispatch to its second.
pub(super) fn outputs(out: &mut Candidate, op: Recurrent, s: Sizes) -> [Bind; 2] {
    let c = if op.cell.has_c() { Bind::Output(1) } else { unused(out) };
    let gates = match (op.gates_output(), op.cell) {
        (Some(output), _) => Bind::Output(output),
        (None, Cell::GruResetBefore) => buffer(out, bytes(op.cell.saved() * s.size())),
        (None, _) => unused(out),
    };
    [c, gates]
}

/// Adds a buffer with the states before the first step.
pub(super) fn first_states(out: &mut Candidate, op: Recurrent, s: Sizes) -> Bind {
    let to = buffer(out, s.state_bytes(op.cell.states()));
    let pitch = 4 * s.h4();
    let params = begin::Params { b: s.b as u32, h: s.h as u32, pitch: pitch as u32 };
    let dispatch = begin::dispatch(params)
        .constant("MEMORY", op.cell.has_c())
        .bind(&[Bind::Input(2), input(op.optional().c0), to])
        .groups((s.b * pitch).div_ceil(64) as u64);
    out.dispatches.push(dispatch);
    to
}

/// Adds the weights of `gates` gates from `first` on in the order in which a step reads them.
pub(super) fn rows(out: &mut Candidate, op: Recurrent, s: Sizes, first: usize, gates: usize) -> Bind {
    let vectors = s.h4() * gates * s.h + s.h;
    let to = buffer(out, bytes(4 * vectors));
    let params = pack_rows::Params { h: s.h as u32, h4: s.h4() as u32, first: first as u32 };
    let dispatch = pack_rows::dispatch(params)
        .constant("GATES", gates as u32)
        .constant("EXTRA", op.cell.extra() as u32)
        .bind(&[Bind::Input(1), input(op.optional().extra), to])
        .groups(vectors.div_ceil(64) as u64);
    out.dispatches.push(dispatch);
    to
}

/// Adds all weights in the order in which the gradient of a step reads them.
pub(super) fn columns(out: &mut Candidate, op: RecurrentBackward, s: Sizes) -> Bind {
    let (cell, h4) = (op.of.cell, s.h4());
    let vectors = cell.gates() * h4 * s.h + s.h;
    let to = buffer(out, bytes(4 * vectors));
    let params = pack_columns::Params { h: s.h as u32, h4: h4 as u32, gates: cell.gates() as u32 };
    let dispatch = pack_columns::dispatch(params)
        .constant("PEEPHOLES", cell == Cell::LstmPeepholes)
        .bind(&[Bind::Input(0), input(op.operands().extra), to])
        .groups(vectors.div_ceil(64) as u64);
    out.dispatches.push(dispatch);
    to
}

/// Adds a buffer of zeros: what flows into h, and c where there is one, from behind the last step.
pub(super) fn no_flow(out: &mut Candidate, op: RecurrentBackward, s: Sizes) -> Bind {
    let len = op.of.cell.states() * s.size();
    let carry = buffer(out, bytes(len));
    let params = copy::Params { len: len as u32, x_at: 0, y_at: 0 };
    let zeros = copy::dispatch(params).constant("ZEROS", true).bind(&[Bind::Input(0), carry]);
    out.dispatches.push(zeros.groups(len.div_ceil(64) as u64));
    carry
}

/// Copies what flows into the first states to where it belongs.
pub(super) fn first_gradients(out: &mut Candidate, op: RecurrentBackward, s: Sizes, carry: Bind) {
    for state in 0..op.of.cell.states() {
        let params = copy::Params { len: s.size() as u32, x_at: (state * s.size()) as u32, y_at: 0 };
        let copy = copy::dispatch(params).constant("ZEROS", false).bind(&[carry, Bind::Output(1 + state)]);
        out.dispatches.push(copy.groups(s.size().div_ceil(64) as u64));
    }
}

/// The states of whose change a step's gradient tells, c of an LSTM, else h: after all steps, and before them.
pub(super) fn states_of(op: RecurrentBackward) -> (Bind, Bind) {
    let at = op.operands();
    match (at.c, at.c0) {
        (Some(c), Some(c0)) => (Bind::Input(c), Bind::Input(c0)),
        _ => (Bind::Input(2), Bind::Input(1)),
    }
}
