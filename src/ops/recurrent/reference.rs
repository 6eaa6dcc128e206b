//! The definitions, in f64. Sequences of a batch do not depend on one another: they are what cores can share out.

use super::{Cell, Recurrent, RecurrentBackward, Saves, Sizes};
use crate::op::{RefIo, View};
use crate::pointwise::sigmoid;

/// Vectors of length H that lie behind one another.
fn vector(all: &[f64], index: usize, h: usize) -> &[f64] {
    &all[index * h..(index + 1) * h]
}

/// `W·v` for rows `rows` of w `[G·H, H]`.
fn product(w: &[f64], rows: std::ops::Range<usize>, v: &[f64]) -> Vec<f64> {
    rows.map(|row| vector(w, row, v.len()).iter().zip(v).map(|(w, v)| w * v).sum()).collect()
}

/// `Wᵀ·v` for rows `first..` of w `[G·H, H]`, as many as v is long.
fn product_transposed(w: &[f64], first: usize, v: &[f64], h: usize) -> Vec<f64> {
    let mut sum = vec![0.0; h];
    for (row, v) in v.iter().enumerate() {
        vector(w, first + row, h).iter().zip(&mut sum).for_each(|(w, s)| *s += w * v);
    }
    sum
}

/// Computes the values of each of `b` sequences with `f(sequence, values)`, and copies them to where they belong: into
/// `outputs`, which lie behind one another in `values`. Each is `[T, B, ..]`, or `[B, ..]` where it comes with `false`.
fn by_sequence(
    [t, b]: [usize; 2],
    work: usize,
    outputs: &mut [(&mut [f64], bool)],
    f: impl Fn(usize, &mut [f64]) + Sync,
) {
    let row: usize = outputs.iter().map(|o| o.0.len()).sum::<usize>() / b.max(1);
    if row == 0 {
        return;
    }
    let mut all = vec![0.0; b * row];
    crate::parallel::rows(&mut all, row, work, &f);
    let mut at = 0;
    for (output, timed) in outputs {
        let len = output.len() / b;
        let wide = if *timed { len / t } else { len };
        for (sequence, values) in all.chunks(row).enumerate() {
            for (step, values) in values[at..at + len].chunks(wide.max(1)).enumerate() {
                output[(step * b + sequence) * wide..][..wide].copy_from_slice(values);
            }
        }
        at += len;
    }
}

/// Row `(t, b)` of a tensor `[T, B, wide]`.
fn row<'a>(x: View<'a>, t: usize, b: usize) -> &'a [f64] {
    let wide = x.shape[2];
    &x.data[(t * x.shape[1] + b) * wide..][..wide]
}

pub(super) fn forward(op: Recurrent, io: &mut RefIo<'_>) {
    let s = Sizes::of(crate::shape::Spec::f32(io.outputs[0].shape));
    let (cell, h, at) = (op.cell, s.h, op.optional());
    let inputs = &io.inputs;
    let (x, w, h0) = (inputs[0], inputs[1].data, inputs[2].data);
    let extra = at.extra.map_or(&[][..], |i| inputs[i].data);
    let mut outputs: Vec<_> = io.outputs.iter_mut().map(|o| (&mut *o.data, true)).collect();
    let work = 2 * s.t * cell.gates() * h * h;
    by_sequence([s.t, s.b], work, &mut outputs, |b, values| {
        let (hs, rest) = values.split_at_mut(s.t * h);
        let (cs, saved) = rest.split_at_mut(if cell.has_c() { s.t * h } else { 0 });
        let mut state = vector(h0, b, h).to_vec();
        let mut memory = at.c0.map_or(Vec::new(), |i| vector(inputs[i].data, b, h).to_vec());
        for n in 0..s.t {
            let t = op.direction.nth(n, s.t);
            let step = step(cell, row(x, t, b), w, extra, &state, &memory);
            if at.mask.is_none_or(|i| inputs[i].data[t * s.b + b] != 0.0) {
                (state, memory) = (step.h, step.c);
            }
            hs[t * h..][..h].copy_from_slice(&state);
            if cell.has_c() {
                cs[t * h..][..h].copy_from_slice(&memory);
            }
            if op.saves == Saves::Gates {
                saved[t * step.saved.len()..][..step.saved.len()].copy_from_slice(&step.saved);
            }
        }
    });
}

/// The result of one step of one sequence.
struct Step {
    h: Vec<f64>,
    c: Vec<f64>,
    saved: Vec<f64>,
}

fn step(cell: Cell, x: &[f64], w: &[f64], extra: &[f64], state: &[f64], memory: &[f64]) -> Step {
    let h = state.len();
    let each = |f: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..h).map(f).collect() };
    match cell {
        Cell::Tanh | Cell::Relu => {
            let a = product(w, 0..h, state);
            let activate = |a: f64| if cell == Cell::Tanh { a.tanh() } else { a.max(0.0) };
            Step { h: each(&|j| activate(x[j] + a[j])), c: Vec::new(), saved: Vec::new() }
        }
        Cell::Lstm | Cell::LstmPeepholes => {
            let a = product(w, 0..4 * h, state);
            let peep = |gate: usize, j: usize, c: f64| if extra.is_empty() { 0.0 } else { extra[gate * h + j] * c };
            let a = |gate: usize, j: usize| x[gate * h + j] + a[gate * h + j];
            let i = each(&|j| sigmoid(a(0, j) + peep(0, j, memory[j])));
            let f = each(&|j| sigmoid(a(1, j) + peep(1, j, memory[j])));
            let g = each(&|j| a(2, j).tanh());
            let c = each(&|j| f[j] * memory[j] + i[j] * g[j]);
            let o = each(&|j| sigmoid(a(3, j) + peep(2, j, c[j])));
            Step { h: each(&|j| o[j] * c[j].tanh()), saved: [i, f, g, o].concat(), c }
        }
        Cell::Gru => {
            let a = product(w, 0..3 * h, state);
            let r = each(&|j| sigmoid(x[j] + a[j]));
            let z = each(&|j| sigmoid(x[h + j] + a[h + j]));
            let m = each(&|j| a[2 * h + j] + extra[j]);
            let n = each(&|j| (x[2 * h + j] + r[j] * m[j]).tanh());
            let next = each(&|j| (1.0 - z[j]) * n[j] + z[j] * state[j]);
            Step { h: next, c: Vec::new(), saved: [r, z, n, m].concat() }
        }
        Cell::GruResetBefore => {
            let a = product(w, 0..2 * h, state);
            let r = each(&|j| sigmoid(x[j] + a[j]));
            let z = each(&|j| sigmoid(x[h + j] + a[h + j]));
            let a = product(w, 2 * h..3 * h, &each(&|j| r[j] * state[j]));
            let n = each(&|j| (x[2 * h + j] + a[j]).tanh());
            let next = each(&|j| (1.0 - z[j]) * n[j] + z[j] * state[j]);
            Step { h: next, c: Vec::new(), saved: [r, z, n].concat() }
        }
    }
}

pub(super) fn backward(op: RecurrentBackward, io: &mut RefIo<'_>) {
    let s = Sizes::of(crate::shape::Spec::f32(io.inputs[2].shape));
    let (of, h, at) = (op.of, s.h, op.operands());
    let inputs = &io.inputs;
    let (w, h0, states, dh) = (inputs[0].data, inputs[1].data, inputs[2], inputs[3]);
    let extra = at.extra.map_or(&[][..], |i| inputs[i].data);
    let g = of.cell.gates() * h;
    let work = 2 * s.t * g * h;
    // dx, dh0, dc0 and, for the GRU, what the recurrent product gets.
    let mut outputs: Vec<_> = io.outputs.iter_mut().map(|o| (o.shape.rank() == 3, o)).map(|(t, o)| (&mut *o.data, t)).collect();
    by_sequence([s.t, s.b], work, &mut outputs, |b, values| {
        let (dx, rest) = values.split_at_mut(s.t * g);
        let (dh0, rest) = rest.split_at_mut(h);
        let (dc0, da) = rest.split_at_mut(if of.cell.has_c() { h } else { 0 });
        let mut flow = vec![0.0; h];
        let mut flow_c = vec![0.0; h];
        for n in (0..s.t).rev() {
            let t = of.direction.nth(n, s.t);
            let before = |all: View<'_>, first: &[f64]| match n {
                0 => vector(first, b, h).to_vec(),
                _ => row(all, of.direction.nth(n - 1, s.t), b).to_vec(),
            };
            flow.iter_mut().zip(row(dh, t, b)).for_each(|(f, d)| *f += d);
            if let Some(dc) = at.dc {
                flow_c.iter_mut().zip(row(inputs[dc], t, b)).for_each(|(f, d)| *f += d);
            }
            if at.mask.is_some_and(|i| inputs[i].data[t * s.b + b] == 0.0) {
                continue;
            }
            let saved = Saved {
                before: before(states, h0),
                after: row(states, t, b),
                c_before: at.c0.map_or(Vec::new(), |c0| before(inputs[at.c.unwrap_or(c0)], inputs[c0].data)),
                c: at.c.map_or(&[], |c| row(inputs[c], t, b)),
                gates: at.gates.map_or(&[], |i| row(inputs[i], t, b)),
            };
            let d = step_backward(of.cell, w, extra, &saved, &flow, &flow_c);
            dx[t * g..][..g].copy_from_slice(&d.x);
            if !da.is_empty() {
                da[t * g..][..g].copy_from_slice(&d.a);
            }
            (flow, flow_c) = (d.h, d.c);
        }
        dh0.copy_from_slice(&flow);
        dc0.copy_from_slice(&flow_c[..dc0.len()]);
    });
}

/// What is known of one step of one sequence.
struct Saved<'a> {
    before: Vec<f64>,
    after: &'a [f64],
    c_before: Vec<f64>,
    c: &'a [f64],
    gates: &'a [f64],
}

/// Gradients of one step: of x, of the recurrent product's result, of the states before it.
struct Gradients {
    x: Vec<f64>,
    a: Vec<f64>,
    h: Vec<f64>,
    c: Vec<f64>,
}

fn step_backward(cell: Cell, w: &[f64], extra: &[f64], s: &Saved<'_>, dh: &[f64], dc: &[f64]) -> Gradients {
    let h = dh.len();
    let each = |f: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..h).map(f).collect() };
    let gate = |index: usize| vector(s.gates, index, h);
    let zero = || vec![0.0; h];
    match cell {
        Cell::Tanh | Cell::Relu => {
            let slope = |y: f64| if cell == Cell::Tanh { 1.0 - y * y } else { f64::from(u8::from(y > 0.0)) };
            let x = each(&|j| dh[j] * slope(s.after[j]));
            Gradients { h: product_transposed(w, 0, &x, h), a: x.clone(), x, c: zero() }
        }
        Cell::Lstm | Cell::LstmPeepholes => {
            let [i, f, g, o] = [0, 1, 2, 3].map(gate);
            let peep = |index: usize, j: usize| if extra.is_empty() { 0.0 } else { extra[index * h + j] };
            let d_o = each(&|j| dh[j] * s.c[j].tanh() * o[j] * (1.0 - o[j]));
            let dc = each(&|j| dc[j] + dh[j] * o[j] * (1.0 - s.c[j].tanh().powi(2)) + peep(2, j) * d_o[j]);
            let di = each(&|j| dc[j] * g[j] * i[j] * (1.0 - i[j]));
            let df = each(&|j| dc[j] * s.c_before[j] * f[j] * (1.0 - f[j]));
            let dg = each(&|j| dc[j] * i[j] * (1.0 - g[j] * g[j]));
            let c = each(&|j| dc[j] * f[j] + peep(0, j) * di[j] + peep(1, j) * df[j]);
            let x = [di, df, dg, d_o].concat();
            Gradients { h: product_transposed(w, 0, &x, h), a: x.clone(), x, c }
        }
        Cell::Gru => {
            let [r, z, n, m] = [0, 1, 2, 3].map(gate);
            let dz = each(&|j| dh[j] * (s.before[j] - n[j]) * z[j] * (1.0 - z[j]));
            let dn = each(&|j| dh[j] * (1.0 - z[j]) * (1.0 - n[j] * n[j]));
            let dr = each(&|j| dn[j] * m[j] * r[j] * (1.0 - r[j]));
            let dm = each(&|j| dn[j] * r[j]);
            let a = [&dr[..], &dz, &dm].concat();
            let back = product_transposed(w, 0, &a, h);
            Gradients { h: each(&|j| dh[j] * z[j] + back[j]), a, x: [dr, dz, dn].concat(), c: zero() }
        }
        Cell::GruResetBefore => {
            let [r, z, n] = [0, 1, 2].map(gate);
            let dz = each(&|j| dh[j] * (s.before[j] - n[j]) * z[j] * (1.0 - z[j]));
            let dn = each(&|j| dh[j] * (1.0 - z[j]) * (1.0 - n[j] * n[j]));
            let reset = product_transposed(w, 2 * h, &dn, h);
            let dr = each(&|j| reset[j] * s.before[j] * r[j] * (1.0 - r[j]));
            let back = product_transposed(w, 0, &[&dr[..], &dz].concat(), h);
            let x = [dr, dz, dn].concat();
            Gradients { h: each(&|j| dh[j] * z[j] + reset[j] * r[j] + back[j]), a: x.clone(), x, c: zero() }
        }
    }
}
