//! The base variants, for every adapter: a step is one dispatch (two for the GRU that resets before its product), in which
//! each workgroup computes the product, the gates and the states of 64 units of some sequences.

use super::{Cell, Recurrent, RecurrentBackward, Sizes, Steps};
use crate::kernel::{Bind, Candidate, Dispatch, Needs, Target, TargetClass};
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
    /// Copies weights for [`step`].
    mod pack_rows = "shaders/recurrent/pack_rows.wgsl";
    params { h: u32, h4: u32, first: u32 }
    bind { w: Read, extra: Read, y: ReadWrite }
}

crate::kernel! {
    /// One step.
    mod step = "shaders/recurrent/step.wgsl";
    params { b: u32, h: u32, h4: u32, t: u32, tiles: u32 }
    bind {
        x: Read, w: Read, mask: Read, before: Read, after: ReadWrite, h: ReadWrite, c: ReadWrite, gates: ReadWrite,
    }
}

crate::kernel! {
    /// Copies weights for [`cell`] and [`gru`].
    mod pack_columns = "shaders/recurrent_backward/pack_columns.wgsl";
    params { h: u32, h4: u32, gates: u32 }
    bind { w: Read, peepholes: Read, y: ReadWrite }
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
        let memory = if self.parts > 1 { 4 * 64 * self.rows * self.parts * gates } else { 0 };
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

impl Sizes {
    /// Elements of a state.
    fn size(self) -> usize {
        self.b * self.h
    }

    /// Vectors of four of a row of a state.
    fn h4(self) -> usize {
        self.h.div_ceil(4)
    }

    fn by_element(self, dispatch: Dispatch) -> Dispatch {
        dispatch.groups(self.size().div_ceil(64) as u64)
    }

    fn copy(self, from: (Bind, usize), to: (Bind, usize)) -> Dispatch {
        let params =
            copy::Params { len: self.size() as u32, x_at: from.1 as u32, y_at: to.1 as u32 };
        self.by_element(copy::dispatch(params).constant("ZEROS", false).bind(&[from.0, to.0]))
    }
}

/// Bytes of so many floats.
fn bytes(floats: usize) -> u64 {
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

/// Stands for a tensor that the op has not: something to bind that no kernel touches.
pub(super) const NOTHING: Bind = Bind::Input(1);

fn input(index: Option<usize>) -> Bind {
    index.map_or(NOTHING, Bind::Input)
}

pub(super) fn steps(op: Recurrent, s: Sizes, shape: Shape) -> Candidate {
    let at = op.optional();
    let mut out = shape.candidate(op.cell.gates());
    let state_bytes = bytes(2 * s.b * s.h4() * 4);
    // The states before and after a step take turns.
    let state = [buffer(&mut out, state_bytes), buffer(&mut out, state_bytes)];
    let c = if op.cell.has_c() { Bind::Output(1) } else { unused(&mut out) };
    let gates = op.gates_output().map_or_else(|| unused(&mut out), Bind::Output);
    let pitch = 4 * s.h4();
    let params = begin::Params { b: s.b as u32, h: s.h as u32, pitch: pitch as u32 };
    let begin = begin::dispatch(params).constant("MEMORY", op.cell.has_c());
    let begin = begin.bind(&[Bind::Input(2), input(at.c0), state[0]]);
    out = out.dispatch(begin.groups((s.b * pitch).div_ceil(64) as u64));
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
            .constant("PEEPHOLES", op.cell == Cell::LstmPeepholes)
            .constant("MASKED", op.steps == Steps::Masked)
            .bind(&[Bind::Input(0), w, input(at.mask), before, after, Bind::Output(0), c, gates]);
        shape.give(dispatch, s, s.h4())
    };
    if op.cell == Cell::GruResetBefore {
        let reset = buffer(&mut out, state_bytes);
        let (packed, rz) = pack(out, op, s, 0, 2);
        let (mut out, new) = pack(packed, op, s, 2, 1);
        for n in 0..s.t {
            out = out.dispatch(step(n, 2, true, rz, [state[n % 2], reset]));
            out = out.dispatch(step(n, 1, false, new, [reset, state[(n + 1) % 2]]));
        }
        return out;
    }
    let gates = op.cell.gates();
    let (mut out, w) = pack(out, op, s, 0, gates);
    for n in 0..s.t {
        out = out.dispatch(step(n, gates, false, w, [state[n % 2], state[(n + 1) % 2]]));
    }
    out
}

/// Adds the weights of `gates` gates from `first` on, as [`step`] reads them.
fn pack(mut out: Candidate, op: Recurrent, s: Sizes, first: usize, gates: usize) -> (Candidate, Bind) {
    let vectors = s.h4() * gates * s.h + s.h;
    let to = buffer(&mut out, bytes(4 * vectors));
    let params = pack_rows::Params { h: s.h as u32, h4: s.h4() as u32, first: first as u32 };
    let dispatch = pack_rows::dispatch(params)
        .constant("GATES", gates as u32)
        .constant("EXTRA", op.cell.extra() as u32)
        .bind(&[Bind::Input(1), input(op.optional().extra), to])
        .groups(vectors.div_ceil(64) as u64);
    (out.dispatch(dispatch), to)
}

pub(super) fn steps_backward(op: RecurrentBackward, s: Sizes, shape: Shape) -> Candidate {
    let (at, of, size) = (op.operands(), op.of, s.size());
    let gates_of = of.cell.gates();
    let mut out = shape.candidate(1);
    let carry = buffer(&mut out, bytes(2 * size));
    let da = op.product_output().map_or_else(|| unused(&mut out), Bind::Output);
    let vectors = gates_of * s.h4() * s.h + s.h;
    let w = buffer(&mut out, bytes(4 * vectors));
    let zeros = copy::Params { len: 2 * size as u32, x_at: 0, y_at: 0 };
    let zeros = copy::dispatch(zeros).constant("ZEROS", true).bind(&[Bind::Input(0), carry]);
    let params = pack_columns::Params { h: s.h as u32, h4: s.h4() as u32, gates: gates_of as u32 };
    let pack = pack_columns::dispatch(params)
        .constant("PEEPHOLES", of.cell == Cell::LstmPeepholes)
        .bind(&[Bind::Input(0), input(at.extra), w]);
    out = out.dispatch(zeros.groups((2 * size).div_ceil(64) as u64));
    out = out.dispatch(pack.groups(vectors.div_ceil(64) as u64));
    let (states, first) = match (at.c, at.c0) {
        (Some(c), Some(c0)) => (Bind::Input(c), Bind::Input(c0)),
        _ => (Bind::Input(2), Bind::Input(1)),
    };
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
                .constant("PEEPHOLES", of.cell == Cell::LstmPeepholes)
                .constant("MASKED", masked)
                .bind(&[w, gates, states, before, dh, mask, carry, dx]),
        };
        shape.give(dispatch, s, gates_of * s.h4())
    };
    for n in (1..=s.t).rev() {
        if let Some(dc) = at.dc {
            let t = of.direction.nth(n - 1, s.t) as u32;
            let add = add::dispatch(add::Params { size: size as u32, t }).bind(&[Bind::Input(dc), carry]);
            out = out.dispatch(s.by_element(add));
        }
        out = out.dispatch(dispatch(n, false));
        if of.cell == Cell::GruResetBefore {
            out = out.dispatch(dispatch(n, true));
        }
    }
    out = out.dispatch(dispatch(0, false)).dispatch(s.copy((carry, 0), (Bind::Output(1), 0)));
    if of.cell.has_c() {
        out = out.dispatch(s.copy((carry, size), (Bind::Output(2), 0)));
    }
    out
}
