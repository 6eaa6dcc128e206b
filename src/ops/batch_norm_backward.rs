//! The gradient of batch normalisation, through its statistics.
//!
//! With x̂ = (x - mean) / √(var + eps) and sums over the n values of each channel:
//! `dbeta = Σ dy`, `dgamma = Σ dy·x̂`, `dx = gamma / √(var + eps) · (dy - dbeta / n - x̂·dgamma / n)`.
//!
//! | tensor | shape |
//! |---|---|
//! | x, dy, dx | `[N, C, ..]`, seen as `[N, C, L]` |
//! | var (biased), dgamma, dbeta | `[C]` |
//! | gamma, with [`Affine::Vectors`] | `[C]` |
//!
//! The scalar is eps. The mean is not an input: it is summed again beside the others, relative to the channel's first
//! element, because rounded to f32 it would be too coarse where it is much larger than the deviations.

use crate::kernel::{Bind, Candidate, Dispatch, MAX_TRIPS, Needs, Target};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Scalar, Tolerance, expected};
use crate::ops::batch_norm::{Affine, Channels, SHAPES, floats};
use crate::shape::{DType, Shape, Spec};
use crate::tensor::Tensor;

/// The gradients of [`BatchNorm`](crate::ops::batch_norm::BatchNorm) with respect to x, gamma and beta.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BatchNormBackward {
    /// Whether gamma is an input.
    pub affine: Affine,
}

impl Op for BatchNormBackward {
    fn name(&self) -> &'static str {
        "batch_norm_backward"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let operands = if self.affine == Affine::None { 3 } else { 4 };
        if inputs.len() != operands || inputs.iter().any(|i| i.dtype != DType::F32) {
            return expected(format!("{operands} operands of f32"));
        }
        let x = inputs[0];
        if x.shape.rank() < 2 || Channels::new(x.shape).count() == 0 || inputs[1] != x {
            return expected("x and dy [N, C, ..] of one shape, with at least one value per channel");
        }
        let c = Spec::f32([x.shape[1]]);
        if inputs[2..].iter().any(|v| v.shape != c.shape) {
            return expected(format!("var and gamma of shape {}", c.shape));
        }
        Ok(vec![x, c, c])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (x, dy, variance) = (io.inputs[0], io.inputs[1].data, io.inputs[2].data);
        let (s, eps) = (Channels::new(x.shape), io.scalars[0]);
        let [dx, dgamma, dbeta] = &mut io.outputs[..] else { unreachable!("three outputs") };
        let work = 4 * s.count();
        let std = |c: usize| (variance[c] + eps).sqrt();
        let mut means = vec![0.0; s.c];
        crate::parallel::rows(&mut means, 1, work, |c, m| m[0] = s.mean_and_variance(x.data, c).0);
        crate::parallel::rows(dbeta.data, 1, work, |c, d| d[0] = s.values(dy, c).sum());
        crate::parallel::rows(dgamma.data, 1, work, |c, d| {
            let pairs = s.values(dy, c).zip(s.values(x.data, c));
            d[0] = pairs.map(|(dy, x)| dy * (x - means[c]) / std(c)).sum();
        });
        let (dgamma, dbeta) = (&dgamma.data, &dbeta.data);
        let gamma = (self.affine == Affine::Vectors).then(|| io.inputs[3].data);
        let n = s.count() as f64;
        crate::parallel::rows(dx.data, s.l, 4 * s.l, |plane, dx| {
            let c = plane % s.c;
            let a = gamma.map_or(1.0, |g| g[c]) / std(c);
            for (l, dx) in dx.iter_mut().enumerate() {
                let x_hat = (x.data[plane * s.l + l] - means[c]) / std(c);
                *dx = a * (dy[plane * s.l + l] - dbeta[c] / n - x_hat * dgamma[c] / n);
            }
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None; g.inputs.len()]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let s = Channels::new(io.inputs[0].shape);
        let base = self.strided(s);
        match self.subgroup8(s) {
            Some(c) if target.software_subgroup8() => vec![c, base],
            Some(c) => vec![base.clone(), c, base],
            None => vec![base],
        }
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::OfMax(4e-5)
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: 12 * io.inputs[0].elements() as u64, bytes: io.bytes() }
    }
}

impl BatchNormBackward {
    fn strided(&self, s: Channels) -> Candidate {
        let t = s.strided();
        let params = sums_strided::Params {
            n: s.n as u32,
            c: s.c as u32,
            l: s.l as u32,
            parts: t.parts as u32,
            step_n: t.step_n as u32,
            step_l: t.step_l as u32,
            trips: t.trips as u32,
        };
        let sums = sums_strided::dispatch(params)
            .bind(&[Bind::Input(0), Bind::Input(1), Bind::Scratch(0)])
            .groups((s.c * t.parts).div_ceil(64) as u64)
            .trips(t.trips as u64);
        self.candidate("strided", s, t.parts, sums).dispatch(apply_elements(s))
    }

    fn subgroup8(&self, s: Channels) -> Option<Candidate> {
        let t = s.pieces()?;
        let params = sums_subgroup8::Params {
            n: s.n as u32,
            c: s.c as u32,
            l: s.l as u32,
            parts: t.parts as u32,
            piece: t.piece as u32,
            pieces: t.pieces as u32,
            per_part: t.per_part as u32,
        };
        let sums = sums_subgroup8::dispatch(params)
            .bind(&[Bind::Input(0), Bind::Input(1), Bind::Scratch(0)])
            .groups((s.c * t.parts) as u64)
            .trips(t.trips as u64);
        let last = match s.planes_per_octets() {
            Some(planes) if s.l / 8 < MAX_TRIPS as usize => apply_octets(s, planes),
            _ => apply_elements(s),
        };
        Some(self.candidate("subgroup8", s, t.parts, sums).needs(Needs::SUBGROUP8).dispatch(last))
    }

    /// Sums of parts and what joins them.
    fn candidate(&self, variant: &'static str, s: Channels, parts: usize, sums: Dispatch) -> Candidate {
        let params = merge::Params {
            c: s.c as u32,
            l: s.l as u32,
            parts: parts as u32,
            count: s.count() as f32,
            eps: 0.0,
        };
        let gamma = Bind::Input(if self.affine == Affine::None { 2 } else { 3 });
        let merge = merge::dispatch(params)
            .scalar("eps", 0)
            .constant("AFFINE", self.affine == Affine::Vectors)
            .bind(&[
                Bind::Input(0),
                Bind::Scratch(0),
                Bind::Input(2),
                gamma,
                Bind::Output(1),
                Bind::Output(2),
                Bind::Scratch(1),
            ])
            .groups(s.c.div_ceil(8) as u64)
            .trips(parts.div_ceil(4) as u64);
        Candidate::new(variant)
            .scratch(floats(3 * s.c * parts))
            .scratch(floats(5 * s.c))
            .dispatch(sums)
            .dispatch(merge)
    }
}

const APPLY: [Bind; 4] = [Bind::Input(0), Bind::Input(1), Bind::Scratch(1), Bind::Output(0)];

fn apply_elements(s: Channels) -> Dispatch {
    let len = s.n * s.c * s.l;
    let params = apply::Params { len: len as u32, c: s.c as u32, l: s.l as u32 };
    apply::dispatch(params).bind(&APPLY).groups(len.div_ceil(64) as u64)
}

fn apply_octets(s: Channels, planes: usize) -> Dispatch {
    let params = apply_subgroup8::Params { planes: (s.n * s.c) as u32, c: s.c as u32, l: s.l as u32 };
    apply_subgroup8::dispatch(params)
        .constant("PLANES", planes as u32)
        .bind(&APPLY)
        .groups((s.n * s.c).div_ceil(planes) as u64)
        .trips((planes * s.l).div_ceil(64) as u64)
}

crate::kernel! {
    /// Sums of parts of a channel, a thread each.
    mod sums_strided = "shaders/batch_norm_backward/sums_strided.wgsl";
    params { n: u32, c: u32, l: u32, parts: u32, step_n: u32, step_l: u32, trips: u32 }
    bind { x: Read, dy: Read, parts: ReadWrite }
}

crate::kernel! {
    /// Sums of parts of a channel, an 8-lane subgroup each.
    mod sums_subgroup8 = "shaders/batch_norm_backward/sums_subgroup8.wgsl";
    params { n: u32, c: u32, l: u32, parts: u32, piece: u32, pieces: u32, per_part: u32 }
    bind { x: Read, dy: Read, parts: ReadWrite }
}

crate::kernel! {
    /// Joins the sums of parts.
    mod merge = "shaders/batch_norm_backward/merge.wgsl";
    params { c: u32, l: u32, parts: u32, count: f32, eps: f32 }
    bind {
        x: Read, parts: Read, variance: Read, gamma: Read,
        dgamma: ReadWrite, dbeta: ReadWrite, scales: ReadWrite,
    }
}

crate::kernel! {
    /// One thread per element.
    mod apply = "shaders/batch_norm_backward/apply.wgsl";
    params { len: u32, c: u32, l: u32 }
    bind { x: Read, dy: Read, scales: Read, dx: ReadWrite }
}

crate::kernel! {
    /// One 8-lane subgroup per plane or pair of planes.
    mod apply_subgroup8 = "shaders/batch_norm_backward/apply_subgroup8.wgsl";
    params { planes: u32, c: u32, l: u32 }
    bind { x: Read, dy: Read, scales: Read, dx: ReadWrite }
}

/// Test cases. The variance is given apart from x, so its values need only be positive.
pub fn cases() -> Vec<Case> {
    let of = |affine: Affine, shape: &[usize], mean: f64| {
        let c = [shape[1]];
        let gamma: &[&[usize]] = if affine == Affine::Vectors { &[&c] } else { &[] };
        Case::new(BatchNormBackward { affine }, &[&[shape, shape, &c], gamma].concat())
            .scalars(&[Scalar::F(1e-5)])
            .input(0, Spec::f32(Shape::new(shape)), Fill::Normal { mean, std: 1.0 })
            .input(2, Spec::f32(c), Fill::Uniform { low: 0.8, high: 1.2 })
    };
    let mut cases: Vec<Case> = SHAPES.iter().map(|s| of(Affine::Vectors, s, 0.5)).collect();
    cases.push(of(Affine::None, &[9, 4, 13], 0.0));
    cases.push(of(Affine::None, &[9, 4, 16], 0.0));
    cases.push(of(Affine::Vectors, &[16, 4, 28, 28], 1e4));
    cases.push(of(Affine::Vectors, &[66_000, 2, 3], 0.0));
    cases
}
