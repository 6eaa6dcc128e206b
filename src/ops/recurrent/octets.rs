//! The variants for 8-lane software adapters: a step is one dispatch (two for the GRU that resets before its product), in
//! which each subgroup computes the product, the gates and the states of a tile.

use super::setup::{buffer, bytes, input, outputs, states_of, unused};
use super::{Cell, Recurrent, RecurrentBackward, Saves, Sizes, Steps};
use crate::kernel::{Bind, Candidate, Dispatch, Needs};
use crate::ops::matmul::pack_panels;

crate::kernel! {
    /// Copies recurrent weights into panels.
    mod pack_gates = "shaders/recurrent/pack_gates.wgsl";
    params { octets: u32, h: u32, first: u32 }
    bind { w: Read, y: ReadWrite }
}

crate::kernel! {
    /// One step.
    mod step = "shaders/recurrent/step_octets.wgsl";
    params { b: u32, h8: u32, t: u32, previous: u32, is_first: u32, tiles_m: u32 }
    bind {
        x: Read, w: Read, extra: Read, mask: Read, a: Read, before: Read, c0: Read, after: ReadWrite, h: ReadWrite,
        c: ReadWrite, gates: ReadWrite,
    }
}

crate::kernel! {
    /// The gradient of one step.
    mod step_backward = "shaders/recurrent_backward/step_octets.wgsl";
    params {
        b: u32, h8: u32, t: u32, next: u32, previous: u32, is_first: u32, is_last: u32, is_end: u32, tiles_m: u32,
    }
    bind {
        w: Read, gates: Read, states: Read, first: Read, dh: Read, dc: Read, peepholes: Read, mask: Read,
        dx: ReadWrite, da: ReadWrite, carry_h: ReadWrite, carry_c: ReadWrite,
    }
}

/// A height of tiles, with the name of its variant.
#[derive(Clone, Copy, Debug)]
struct Tile {
    variant: &'static str,
    rows: usize,
}

/// The tiles that suit so many sequences, best first.
fn tiles(b: usize) -> Vec<Tile> {
    let low = Tile { variant: "octets", rows: b.next_multiple_of(8).min(16) };
    let tall = Tile { variant: "octets_tall", rows: b.next_multiple_of(8).min(32) };
    if b > 16 { vec![tall, low] } else { vec![low] }
}

/// Whether states are made of whole octets, and there is enough work to pay for copying the weights into panels.
fn suits(s: Sizes) -> bool {
    s.h.is_multiple_of(8) && s.t * s.b >= 4
}

impl Sizes {
    fn octets(self) -> u32 {
        (self.h / 8) as u32
    }

}

/// Octets of the state of which a panel holds all columns of `gates` gates.
const fn units(gates: usize) -> usize {
    8 / gates
}

/// Panels of the weights of `gates` gates.
fn panels(s: Sizes, gates: usize) -> usize {
    (s.h / 8).div_ceil(units(gates))
}

/// Adds the weights of `gates` gates from `first` on, in panels.
fn pack(out: &mut Candidate, s: Sizes, first: usize, gates: usize) -> Bind {
    let octets = panels(s, gates) * s.h * 8;
    let to = buffer(out, bytes(8 * octets));
    let params = pack_gates::Params { octets: octets as u32, h: s.h as u32, first: first as u32 };
    let dispatch = pack_gates::dispatch(params)
        .constant("GATES", gates as u32)
        .bind(&[Bind::Input(1), to])
        .groups(octets.div_ceil(64) as u64);
    out.dispatches.push(dispatch);
    to
}

/// One candidate per height of tile.
pub(super) fn forward(op: Recurrent, s: Sizes) -> Vec<Candidate> {
    if !suits(s) {
        return Vec::new();
    }
    tiles(s.b).into_iter().map(|tile| Forward { op, s, tile }.candidate()).collect()
}

/// What a candidate of the forward pass is made from.
struct Forward {
    op: Recurrent,
    s: Sizes,
    tile: Tile,
}

/// The buffers of one dispatch that change from step to step.
struct Around {
    w: Bind,
    a: Bind,
    before: Bind,
    after: Bind,
}

impl Forward {
    fn candidate(&self) -> Candidate {
        let Forward { op, s, tile } = self;
        let (cell, at) = (op.cell, op.optional());
        let mut out = Candidate::new(tile.variant).needs(Needs::SUBGROUP8);
        // The states before and after a step take turns.
        let state = [(); 2].map(|()| buffer(&mut out, bytes(s.size())));
        let [c, gates] = outputs(&mut out, *op, *s);
        let c0 = input(at.c0);
        let dispatch = |n: usize, gates_of: usize, reset: bool, around: Around| {
            let (t, previous) = (op.direction.nth(n, s.t), op.direction.nth(n.saturating_sub(1), s.t));
            let tiles_m = s.b.div_ceil(tile.rows);
            let params = step::Params {
                b: s.b as u32,
                h8: s.octets(),
                t: t as u32,
                previous: previous as u32,
                is_first: u32::from(n == 0),
                tiles_m: tiles_m as u32,
            };
            let Around { w, a, before, after } = around;
            step::dispatch(params)
                .constant("CELL", cell.number())
                .constant("GATES", gates_of as u32)
                .constant("RESET", reset)
                .constant("PEEPHOLES", cell == Cell::LstmPeepholes)
                .constant("MASKED", op.steps == Steps::Masked)
                .constant("SAVES", op.saves == Saves::Gates)
                .constant("TILE_M", tile.rows as u32)
                .bind(&[
                    Bind::Input(0),
                    w,
                    input(at.extra),
                    input(at.mask),
                    a,
                    before,
                    c0,
                    after,
                    Bind::Output(0),
                    c,
                    gates,
                ])
                .groups((panels(*s, gates_of) * tiles_m) as u64)
                .trips((s.h / 8 + tile.rows * units(gates_of) / 8) as u64)
        };
        let before = |n: usize| if n == 0 { Bind::Input(2) } else { state[n % 2] };
        if cell == Cell::GruResetBefore {
            let (rz, new) = (pack(&mut out, *s, 0, 2), pack(&mut out, *s, 2, 1));
            let reset = buffer(&mut out, bytes(s.size()));
            for n in 0..s.t {
                let around = Around { w: rz, a: before(n), before: before(n), after: reset };
                out = out.dispatch(dispatch(n, 2, true, around));
                let around = Around { w: new, a: reset, before: before(n), after: state[(n + 1) % 2] };
                out = out.dispatch(dispatch(n, 1, false, around));
            }
            return out;
        }
        let w = pack(&mut out, *s, 0, cell.gates());
        for n in 0..s.t {
            let around = Around { w, a: before(n), before: before(n), after: state[(n + 1) % 2] };
            out = out.dispatch(dispatch(n, cell.gates(), false, around));
        }
        out
    }
}

/// One candidate per height of tile.
pub(super) fn backward(op: RecurrentBackward, s: Sizes) -> Vec<Candidate> {
    if !suits(s) {
        return Vec::new();
    }
    tiles(s.b).into_iter().map(|tile| Backward { op, s, tile }.candidate()).collect()
}

/// What a candidate of the gradient is made from.
struct Backward {
    op: RecurrentBackward,
    s: Sizes,
    tile: Tile,
}

/// Which part of a step's gradient a dispatch computes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// All of it, or up to the product of the state that was reset.
    Gates,
    /// That product.
    Reset,
    /// What the first step's product passes on to the state before it.
    End,
}

impl Backward {
    fn candidate(&self) -> Candidate {
        let Backward { op, s, tile } = self;
        let cell = op.of.cell;
        let mut out = Candidate::new(tile.variant).needs(Needs::SUBGROUP8);
        // Panels of w as it lies: [G·H, H].
        let (panels, rows) = (s.h.div_ceil(64), cell.gates() * s.h);
        let octets = panels * rows * 8;
        let params = pack_panels::Params {
            octets: octets as u32,
            k: rows as u32,
            n8: s.octets(),
            panels: panels as u32,
        };
        let w = buffer(&mut out, bytes(8 * octets));
        let pack = pack_panels::dispatch(params).bind(&[Bind::Input(0), w]).groups(octets.div_ceil(8) as u64);
        out = out.dispatch(pack);
        let da = op.product_output().map_or_else(|| unused(&mut out), Bind::Output);
        let carry_c = if cell.has_c() { Bind::Output(2) } else { unused(&mut out) };
        let dispatch = |n: usize, stage: Stage| self.step(n, stage, [w, da, carry_c]);
        for n in (0..s.t).rev() {
            out = out.dispatch(dispatch(n, Stage::Gates));
            if cell == Cell::GruResetBefore {
                out = out.dispatch(dispatch(n, Stage::Reset));
            }
        }
        out.dispatch(dispatch(0, Stage::End))
    }

    fn step(&self, n: usize, stage: Stage, [w, da, carry_c]: [Bind; 3]) -> Dispatch {
        let Backward { op, s, tile } = self;
        let (of, at) = (op.of, op.operands());
        let Recurrent { cell, direction, steps, .. } = of;
        let nth = |n: usize| direction.nth(n, s.t) as u32;
        let tiles_m = s.b.div_ceil(tile.rows);
        let end = stage == Stage::End;
        let is_last = n + 1 == s.t && !end;
        let params = step_backward::Params {
            b: s.b as u32,
            h8: s.octets(),
            t: nth(n),
            next: if end || is_last { nth(n) } else { nth(n + 1) },
            previous: nth(n.saturating_sub(1)),
            is_first: u32::from(n == 0),
            is_last: u32::from(is_last),
            is_end: u32::from(end),
            tiles_m: tiles_m as u32,
        };
        let (states, first) = states_of(*op);
        step_backward::dispatch(params)
            .constant("CELL", cell.number())
            .constant("GATES", cell.gates() as u32)
            .constant("RESET", stage == Stage::Reset)
            .constant("PEEPHOLES", cell == Cell::LstmPeepholes)
            .constant("MASKED", steps == Steps::Masked)
            .constant("DC", at.dc.is_some())
            .constant("TILE_M", tile.rows as u32)
            .bind(&[
                w,
                input(at.gates),
                states,
                first,
                Bind::Input(3),
                input(at.dc),
                input(at.extra),
                input(at.mask),
                Bind::Output(0),
                da,
                Bind::Output(1),
                carry_c,
            ])
            .groups((s.h.div_ceil(64) * tiles_m) as u64)
            .trips((cell.gates() * s.h / 8 + tile.rows) as u64)
    }
}
