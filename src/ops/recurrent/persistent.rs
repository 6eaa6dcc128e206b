//! The variants that go through many steps in one dispatch, for GPUs: a workgroup owns a few sequences, so a step waits for
//! nothing but the workgroup's own threads (Diamos et al. 2016). Each workgroup reads all weights at each step; where they are
//! small they stay in its cache.

use super::setup::{
    columns, first_gradients, first_states, input, no_flow, outputs, rows, states_of, unused,
};
use super::{Cell, Direction, Recurrent, RecurrentBackward, Saves, Sizes, Steps};
use crate::kernel::{Bind, Candidate, MAX_TRIPS, Needs};

crate::kernel! {
    /// Steps.
    mod steps = "shaders/recurrent/persistent.wgsl";
    params { b: u32, h: u32, h4: u32, first: u32, steps: u32, reverse: u32 }
    bind { x: Read, w: Read, mask: Read, state: ReadWrite, h: ReadWrite, c: ReadWrite, gates: ReadWrite }
}

crate::kernel! {
    /// The gradient of steps.
    mod steps_backward = "shaders/recurrent_backward/persistent.wgsl";
    params { b: u32, h: u32, h4: u32, last: u32, steps: u32, reverse: u32, is_start: u32 }
    bind {
        w: Read, gates: Read, states: Read, first: Read, dh: Read, dc: Read, mask: Read, carry: ReadWrite,
        dx: ReadWrite, da: ReadWrite,
    }
}

/// Sequences of a workgroup.
const ROWS: usize = 2;

/// Steps of one dispatch at most.
const MAX_STEPS: usize = 256;

/// Multiply-adds of one dispatch at most, where it takes more than one step: a slow GPU does them in two tenths of a second, long
/// before a driver's watchdog looks.
const MAX_WORK: usize = 1 << 33;

/// Bytes of weights that stay in the cache of a GPU's core.
const CACHED: usize = 256 << 10;

/// Whether there are kernels for it: a thread for each unit, and no product that waits for another.
fn exists(cell: Cell, s: Sizes) -> bool {
    s.h <= 256 && cell != Cell::GruResetBefore
}

/// Whether this suits a GPU better than a dispatch per step.
pub(super) fn suits(cell: Cell, s: Sizes) -> bool {
    4 * cell.gates() * s.h * s.h <= CACHED && s.t >= 4
}

/// Threads of a workgroup.
fn width(s: Sizes) -> usize {
    s.h.next_multiple_of(64)
}

/// The steps of each dispatch, as ranges of those in the sequence's order, where one takes `trips` loop trips.
fn pieces(cell: Cell, s: Sizes, trips: usize) -> Vec<std::ops::Range<usize>> {
    let work = (s.b * cell.gates() * s.h * s.h).max(1);
    let steps = (MAX_TRIPS as usize / (trips + 1)).min(MAX_WORK / work).clamp(1, MAX_STEPS);
    (0..s.t).step_by(steps).map(|n| n..(n + steps).min(s.t)).collect()
}

/// The candidate, where there are kernels.
pub(super) fn forward(op: Recurrent, s: Sizes) -> Option<Candidate> {
    let Recurrent { cell, direction, steps, saves } = op;
    if !exists(cell, s) {
        return None;
    }
    let memory = (4 * ROWS * width(s)) as u32;
    let mut out = Candidate::new("persistent").needs(Needs { workgroup_memory: memory, ..Needs::default() });
    let state = first_states(&mut out, op, s);
    let [c, gates] = outputs(&mut out, op, s);
    let w = rows(&mut out, op, s, 0, cell.gates());
    for piece in pieces(cell, s, s.h4()) {
        let params = steps::Params {
            b: s.b as u32,
            h: s.h as u32,
            h4: s.h4() as u32,
            first: direction.nth(piece.start, s.t) as u32,
            steps: piece.len() as u32,
            reverse: u32::from(direction == Direction::Reverse),
        };
        let dispatch = steps::dispatch(params)
            .constant("CELL", cell.number())
            .constant("GATES", cell.gates() as u32)
            .constant("MASKED", steps == Steps::Masked)
            .constant("SAVES", saves == Saves::Gates)
            .constant("ROWS", ROWS as u32)
            .constant("WIDTH", width(s) as u32)
            .bind(&[Bind::Input(0), w, input(op.optional().mask), state, Bind::Output(0), c, gates])
            .groups(s.b.div_ceil(ROWS) as u64)
            .trips((piece.len() * (s.h4() + 1)) as u64);
        out.dispatches.push(dispatch);
    }
    Some(out)
}

/// The candidate of the gradient, where there are kernels.
pub(super) fn backward(op: RecurrentBackward, s: Sizes) -> Option<Candidate> {
    let (at, Recurrent { cell, direction, steps, .. }) = (op.operands(), op.of);
    if !exists(cell, s) {
        return None;
    }
    let memory = (4 * ROWS * cell.gates() * width(s)) as u32;
    let mut out = Candidate::new("persistent").needs(Needs { workgroup_memory: memory, ..Needs::default() });
    let carry = no_flow(&mut out, op, s);
    let da = op.product_output().map_or_else(|| unused(&mut out), Bind::Output);
    let w = columns(&mut out, op, s);
    let (states, first) = states_of(op);
    let trips = cell.gates() * s.h4();
    for piece in pieces(cell, s, trips).into_iter().rev() {
        let params = steps_backward::Params {
            b: s.b as u32,
            h: s.h as u32,
            h4: s.h4() as u32,
            last: direction.nth(piece.end - 1, s.t) as u32,
            steps: piece.len() as u32,
            reverse: u32::from(direction == Direction::Reverse),
            is_start: u32::from(piece.start == 0),
        };
        let dispatch = steps_backward::dispatch(params)
            .constant("CELL", cell.number())
            .constant("GATES", cell.gates() as u32)
            .constant("MASKED", steps == Steps::Masked)
            .constant("DC", at.dc.is_some())
            .constant("ROWS", ROWS as u32)
            .constant("WIDTH", width(s) as u32)
            .bind(&[
                w,
                input(at.gates),
                states,
                first,
                Bind::Input(3),
                input(at.dc),
                input(at.mask),
                carry,
                Bind::Output(0),
                da,
            ])
            .groups(s.b.div_ceil(ROWS) as u64)
            .trips((piece.len() * (trips + 1)) as u64);
        out.dispatches.push(dispatch);
    }
    first_gradients(&mut out, op, s, carry);
    Some(out)
}
