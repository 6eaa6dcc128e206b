//! The reference: chains in f64, a block of elements at a time.

use super::erf::{erf, erfc};
use super::runs::{Run, position};
use super::{Arg, Function, Pointwise};

/// Elements per block: long enough to vectorise, short enough that all steps stay in the first cache level.
pub const BLOCK: usize = 256;

/// 1 / (1 + exp(-x)), without overflow.
pub fn sigmoid(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

/// Whether dropout with probability `p` keeps element `index`: a hash of index and seed, as 24 bits, is at least p.
///
/// The hash is `pcg3d` (Jarzynski and Olano, Hash Functions for GPU Rendering, JCGT 9(3), 2020). Kernels compute the
/// same integers, and `p` is rounded to f32 as it is there, so the mask is the same everywhere.
pub fn dropout_keeps(index: u32, p: f64, seed: (u32, u32)) -> bool {
    let lcg = |v: u32| v.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let (mut x, mut y, mut z) = (lcg(index), lcg(seed.0), lcg(seed.1));
    let mut mix = |shift: bool| {
        x = x.wrapping_add(y.wrapping_mul(z));
        y = y.wrapping_add(z.wrapping_mul(x));
        z = z.wrapping_add(x.wrapping_mul(y));
        if shift {
            (x, y, z) = (x ^ (x >> 16), y ^ (y >> 16), z ^ (z >> 16));
        }
        z
    };
    mix(true);
    let bits = mix(false) >> 8;
    bits as f32 * (1.0 / 16_777_216.0) >= p as f32
}

/// An input of a chain: its elements and how they are addressed.
pub type Source<'a> = (&'a [f64], Vec<Run>);

/// Evaluates the first result of a chain, block by block.
#[derive(Debug)]
pub struct Evaluator<'a> {
    chain: &'a Pointwise,
    sources: &'a [Source<'a>],
    inputs: Vec<[f64; BLOCK]>,
    scalars: Vec<[f64; BLOCK]>,
    steps: Vec<[f64; BLOCK]>,
}

impl<'a> Evaluator<'a> {
    /// Room for the values of all steps of a block.
    pub fn new(chain: &'a Pointwise, sources: &'a [Source<'a>], scalars: &[f64]) -> Self {
        Evaluator {
            chain,
            sources,
            inputs: vec![[0.0; BLOCK]; chain.inputs],
            scalars: scalars.iter().map(|&s| [s; BLOCK]).collect(),
            steps: vec![[0.0; BLOCK]; chain.steps.len()],
        }
    }

    /// Writes elements `first..` of the result to `out`.
    pub fn run(&mut self, first: usize, out: &mut [f64]) {
        for (k, block) in out.chunks_mut(BLOCK).enumerate() {
            self.block(first + k * BLOCK, block);
        }
    }

    fn block(&mut self, first: usize, out: &mut [f64]) {
        let n = out.len();
        for (values, (data, runs)) in self.inputs.iter_mut().zip(self.sources) {
            load(data, runs, first, &mut values[..n]);
        }
        for (k, step) in self.chain.steps.iter().enumerate() {
            let (done, rest) = self.steps.split_at_mut(k);
            let arg = |&arg: &Arg| match arg {
                Arg::Input(i) => &self.inputs[i][..n],
                Arg::Scalar(i) => &self.scalars[i][..n],
                Arg::Step(i) => &done[i][..n],
            };
            let a = arg(&step.args[0]);
            let b = step.args.get(1).map_or(a, arg);
            let values = &mut rest[0][..n];
            if step.function == Function::Dropout {
                let seed = (arg(&step.args[2])[0] as u32, arg(&step.args[3])[0] as u32);
                dropout(values, a, b[0], seed, first);
            } else {
                apply(step.function, a, b, step.args.get(2).map_or(a, arg), values);
            }
        }
        out.copy_from_slice(&self.steps[self.chain.results[0]][..n]);
    }
}

/// Reads elements `first..` of a broadcast input.
fn load(data: &[f64], runs: &[Run], first: usize, out: &mut [f64]) {
    let Some(&inner) = runs.first() else {
        out.fill(data[0]);
        return;
    };
    let mut done = 0;
    while done < out.len() {
        let element = first + done;
        let left = (inner.size - element % inner.size).min(out.len() - done);
        let at = position(runs, element);
        match inner.kept {
            true => out[done..done + left].copy_from_slice(&data[at..at + left]),
            false => out[done..done + left].fill(data[at]),
        }
        done += left;
    }
}

fn dropout(out: &mut [f64], a: &[f64], p: f64, seed: (u32, u32), first: usize) {
    // Rounded as in the comparison; at p = 1 nothing is kept.
    let scale = 1.0 / (1.0 - f64::from(p as f32));
    for (k, (out, &a)) in out.iter_mut().zip(a).enumerate() {
        *out = if dropout_keeps((first + k) as u32, p, seed) { a * scale } else { 0.0 };
    }
}

fn apply(function: Function, a: &[f64], b: &[f64], c: &[f64], out: &mut [f64]) {
    use Function::*;
    let is = |yes: bool| if yes { 1.0 } else { 0.0 };
    match function {
        Add => zip(a, b, out, |a, b| a + b),
        Sub => zip(a, b, out, |a, b| a - b),
        Mul => zip(a, b, out, |a, b| a * b),
        Div => zip(a, b, out, |a, b| a / b),
        Max => zip(a, b, out, f64::max),
        Min => zip(a, b, out, f64::min),
        GreaterEqual => zip(a, b, out, |a, b| is(a >= b)),
        Equal => zip(a, b, out, |a, b| is(a == b)),
        Share => zip(a, b, out, |a, b| if a == b { 0.5 } else { is(a > b) }),
        Neg => map(a, out, |a| -a),
        Abs => map(a, out, f64::abs),
        Sign => map(a, out, |a| is(a > 0.0) - is(a < 0.0)),
        Exp => map(a, out, f64::exp),
        Log => map(a, out, f64::ln),
        Sqrt => map(a, out, f64::sqrt),
        Rsqrt => map(a, out, |a| 1.0 / a.sqrt()),
        Recip => map(a, out, |a| 1.0 / a),
        Square => map(a, out, |a| a * a),
        Tanh => map(a, out, f64::tanh),
        Sigmoid => map(a, out, sigmoid),
        Relu => map(a, out, |a| a.max(0.0)),
        Expm1 => map(a, out, f64::exp_m1),
        Softplus => map(a, out, |a| a.max(0.0) + (-a.abs()).exp().ln_1p()),
        Erf => map(a, out, erf),
        Erfc => map(a, out, erfc),
        Where => {
            for (k, out) in out.iter_mut().enumerate() {
                *out = if a[k] > 0.0 { b[k] } else { c[k] };
            }
        }
        Step => map(a, out, |a| is(a > 0.0)),
        Copy => out.copy_from_slice(a),
        Dropout => unreachable!("depends on the index, see `dropout`"),
    }
}

fn map(a: &[f64], out: &mut [f64], f: impl Fn(f64) -> f64) {
    for (out, &a) in out.iter_mut().zip(a) {
        *out = f(a);
    }
}

fn zip(a: &[f64], b: &[f64], out: &mut [f64], f: impl Fn(f64, f64) -> f64) {
    for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *out = f(a, b);
    }
}
