//! The base variants, for every adapter: a step is one dispatch (two for the GRU that resets before its product), in which
//! each workgroup computes the product, the gates and the states of 64 units of some sequences.

use super::setup::{
    buffer, columns, first_gradients, first_states, input, no_flow, outputs, rows, states_of, unused,
};
use super::{Cell, Recurrent, RecurrentBackward, Saves, Sizes, Steps};
use crate::kernel::{Bind, Candidate, Dispatch, Needs, Target, TargetClass};

crate::kernel! {
    /// One step.
    mod step = "shaders/recurrent/step.wgsl";
    params { b: u32, h: u32, h4: u32, t: u32, tiles: u32 }
    bind {
        x: Read, w: Read, mask: Read, before: Read, after: ReadWrite, h: ReadWrite, c: ReadWrite, gates: ReadWrite,
    }
}

crate::kernel! {
    /// The gradient of one step of a plain network or an LSTM.
    mod cell = "shaders/recurrent_backward/cell.wgsl";
    params {
        b: u32, h: u32, h4: u32, t: u32, next: u32, before_at: u32, is_last: u32, is_end: u32, tiles: u32,
    }
    bind {
        w: Read, gates: Read, states: Read, before: Read, dh: Read, mask: Read, carry: ReadWrite, dx: ReadWrite,
    }
}

crate::kernel! {
    /// The gradient of one step of a GRU.
    mod gru = "shaders/recurrent_backward/gru.wgsl";
    params {
        b: u32, h: u32, h4: u32, t: u32, next: u32, before_at: u32, is_last: u32, is_end: u32, tiles: u32,
    }
    bind {
        w: Read, gates: Read, before: Read, dh: Read, mask: Read, carry: ReadWrite, dx: ReadWrite, da: ReadWrite,
    }
}

crate::kernel! {
    /// Adds what flows into c from outside.
    mod add = "shaders/recurrent_backward/add.wgsl";
    params { size: u32, t: u32 }
    bind { dc: Read, carry: ReadWrite }
}

/// How a workgroup goes about its sequences.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    variant: &'static str,
    /// Sequences.
    rows: usize,
    /// Parts of the inner length, with 64 threads each.
    parts: usize,
}

impl Shape {
    /// Best first. A GPU has threads to spare, and waits for a long chain of sums; a CPU rather reads each weight for more
    /// sequences.
    pub fn all(target: &Target, b: usize) -> [Shape; 2] {
        let whole = Shape { variant: "steps", rows: if b > 4 { 8 } else { 4 }, parts: 1 };
        let split = Shape { variant: "split_steps", rows: 4, parts: 4 };
        if target.class == TargetClass::Hardware { [split, whole] } else { [whole, split] }
    }

    fn candidate(self, gates: usize) -> Candidate {
        let memory = 4 * 64 * self.rows * self.parts * gates;
        Candidate::new(self.variant).needs(Needs { workgroup_memory: memory as u32, ..Needs::default() })
    }

    fn tiles(self, s: Sizes) -> usize {
        s.b.div_ceil(self.rows)
    }

    fn groups(self, s: Sizes) -> u64 {
        (self.tiles(s) * s.h.div_ceil(64)) as u64
    }

    /// Gives a dispatch its constants and grid; `vectors` is its inner length in vectors of four.
    fn give(self, dispatch: Dispatch, s: Sizes, vectors: usize) -> Dispatch {
        let trips = vectors.div_ceil(self.parts) + self.rows;
        let dispatch = dispatch.constant("ROWS", self.rows as u32).constant("PARTS", self.parts as u32);
        dispatch.groups(self.groups(s)).trips(trips as u64)
    }
}

pub(super) fn steps(op: Recurrent, s: Sizes, shape: Shape) -> Candidate {
    let mask = input(op.optional().mask);
    let mut out = shape.candidate(op.cell.gates());
    // The states before and after a step take turns.
    let state = [first_states(&mut out, op, s), buffer(&mut out, s.state_bytes(op.cell.states()))];
    let [c, gates] = outputs(&mut out, op, s);
    let step = |n: usize, of: usize, reset: bool, w: Bind, [before, after]: [Bind; 2]| {
        let params = step::Params {
            b: s.b as u32,
            h: s.h as u32,
            h4: s.h4() as u32,
            t: op.direction.nth(n, s.t) as u32,
            tiles: shape.tiles(s) as u32,
        };
        let dispatch = step::dispatch(params)
            .constant("CELL", op.cell.number())
            .constant("GATES", of as u32)
            .constant("RESET", reset)
            .constant("MASKED", op.steps == Steps::Masked)
            .constant("SAVES", op.saves == Saves::Gates)
            .bind(&[Bind::Input(0), w, mask, before, after, Bind::Output(0), c, gates]);
        shape.give(dispatch, s, s.h4())
    };
    if op.cell == Cell::GruResetBefore {
        // r·h, and h.
        let reset = buffer(&mut out, s.state_bytes(2));
        let (rz, new) = (rows(&mut out, op, s, 0, 2), rows(&mut out, op, s, 2, 1));
        for n in 0..s.t {
            out = out.dispatch(step(n, 2, true, rz, [state[n % 2], reset]));
            out = out.dispatch(step(n, 1, false, new, [reset, state[(n + 1) % 2]]));
        }
        return out;
    }
    let of = op.cell.gates();
    let w = rows(&mut out, op, s, 0, of);
    for n in 0..s.t {
        out = out.dispatch(step(n, of, false, w, [state[n % 2], state[(n + 1) % 2]]));
    }
    out
}

pub(super) fn steps_backward(op: RecurrentBackward, s: Sizes, shape: Shape) -> Candidate {
    let (at, of, size) = (op.operands(), op.of, s.size());
    let gates_of = of.cell.gates();
    let mut out = shape.candidate(1);
    let carry = no_flow(&mut out, op, s);
    let da = op.product_output().map_or_else(|| unused(&mut out), Bind::Output);
    let w = columns(&mut out, op, s);
    let (states, first) = states_of(op);
    let (gates, mask, dh, dx) = (input(at.gates), input(at.mask), Bind::Input(3), Bind::Output(0));
    // `n` is the number of steps that are still to be gone back through, with this one.
    let dispatch = |n: usize, reset: bool| {
        let nth = |n: usize| of.direction.nth(n, s.t);
        let (step, next) = (n.saturating_sub(1), if n == s.t { n - 1 } else { n });
        let (before, before_at) = if n > 1 { (states, nth(n - 2) * size) } else { (first, 0) };
        let [b, h, h4, t, next, before_at, is_last, is_end, tiles] = [
            s.b,
            s.h,
            s.h4(),
            nth(step),
            nth(next),
            before_at,
            usize::from(n == s.t),
            usize::from(n == 0),
            shape.tiles(s),
        ]
        .map(|n| n as u32);
        let masked = of.steps == Steps::Masked;
        let dispatch = match of.cell {
            Cell::Gru | Cell::GruResetBefore => {
                gru::dispatch(gru::Params { b, h, h4, t, next, before_at, is_last, is_end, tiles })
                    .constant("AFTER", of.cell == Cell::Gru)
                    .constant("RESET", reset)
                    .constant("MASKED", masked)
                    .bind(&[w, gates, before, dh, mask, carry, dx, da])
            }
            _ => cell::dispatch(cell::Params { b, h, h4, t, next, before_at, is_last, is_end, tiles })
                .constant("CELL", of.cell.number())
                .constant("GATES", gates_of as u32)
                .constant("MASKED", masked)
                .bind(&[w, gates, states, before, dh, mask, carry, dx]),
        };
        shape.give(dispatch, s, gates_of * s.h4())
    };
    for n in (1..=s.t).rev() {
        if let Some(dc) = at.dc {
            let t = of.direction.nth(n - 1, s.t) as u32;
            let add = add::dispatch(add::Params { size: size as u32, t }).bind(&[Bind::Input(dc), carry]);
            out = out.dispatch(add.groups(size.div_ceil(64) as u64));
        }
        out = out.dispatch(dispatch(n, false));
        if of.cell == Cell::GruResetBefore {
            out = out.dispatch(dispatch(n, true));
        }
    }
    out = out.dispatch(dispatch(0, false));
    first_gradients(&mut out, op, s, carry);
    out
}
