//! Batch normalisation in training (Ioffe and Szegedy 2015, arXiv 1502.03167).
//!
//! Per channel c, over the n = N·L values of x[·, c, ·]:
//! `mean = Σ x / n`, `var = Σ (x - mean)² / n`, `y = (x - mean) / √(var + eps) · gamma + beta`.
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[N, C, ..]`, seen as `[N, C, L]` |
//! | gamma, beta, with [`Affine::Vectors`] | `[C]` |
//! | y | the shape of x |
//! | mean, var (biased) | `[C]` |
//!
//! The scalar is eps. Statistics take two passes over parts of a channel, counted from the channel's first element;
//! parts are joined in a fixed order. So means far larger than the deviations cost no digits.
//!
//! [`BatchNormUpdate`] moves running statistics; with them, [`Tensor::batch_norm_eval`] normalises in evaluation.

use crate::kernel::{Bind, Candidate, Dispatch, MAX_TRIPS, Needs, Target};
use crate::op::{
    Activation, Case, Cost, Expected, Fill, Follow, GradIo, Io, Op, RefIo, Scalar, Tolerance, expected,
};
use crate::ops::batch_norm_backward::BatchNormBackward;
use crate::shape::{ALIGN, DType, Shape, Spec};
use crate::tensor::Tensor;
use std::sync::Arc;

/// Whether a normalisation scales and shifts its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Affine {
    /// No.
    #[default]
    None,
    /// By vectors gamma and beta, one element per channel.
    Vectors,
}

/// Batch normalisation with the statistics of the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BatchNorm {
    /// Whether gamma and beta are inputs.
    pub affine: Affine,
    /// What is applied last: nothing or relu.
    pub activation: Activation,
}

/// A tensor seen as `[N, C, L]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channels {
    pub n: usize,
    pub c: usize,
    pub l: usize,
}

impl Channels {
    pub(crate) fn new(shape: Shape) -> Self {
        Channels { n: shape[0], c: shape[1], l: shape.span(2, shape.rank()) }
    }

    /// Values per channel.
    pub(crate) fn count(self) -> usize {
        self.n * self.l
    }

    /// All values of channel `c`.
    pub(crate) fn values<'a>(self, x: &'a [f64], c: usize) -> impl Iterator<Item = f64> + 'a {
        (0..self.n).flat_map(move |n| x[(n * self.c + c) * self.l..][..self.l].iter().copied())
    }

    pub(crate) fn mean_and_variance(self, x: &[f64], c: usize) -> (f64, f64) {
        let n = self.count() as f64;
        let mean = self.values(x, c).sum::<f64>() / n;
        (mean, self.values(x, c).map(|v| (v - mean) * (v - mean)).sum::<f64>() / n)
    }

    /// The parts of a channel that single threads go through.
    pub(crate) fn strided(self) -> Strided {
        let parts = self.count().div_ceil(128).clamp(1, 4096);
        let trips = self.count().div_ceil(parts).div_ceil(4);
        Strided { parts, step_n: parts / self.l, step_l: parts % self.l, trips }
    }

    /// The parts of a channel that 8-lane subgroups go through, octet by octet, where that pays.
    pub(crate) fn pieces(self) -> Option<Pieces> {
        if self.l < 16 {
            return None;
        }
        let piece = self.l.min(1024);
        let pieces = self.l.div_ceil(piece);
        let all = self.n * pieces;
        // A piece that starts anywhere touches one more octet than it fills.
        let trips = (piece / 8 + 2).div_ceil(8);
        let per_part = (128 / trips).max(1).max(all.div_ceil(8192)).min(all);
        Some(Pieces { piece, pieces, per_part, parts: all.div_ceil(per_part), trips: per_part * (trips + 1) })
    }

    /// How many neighbouring planes together start and end on octets, if one or two do.
    pub(crate) fn planes_per_octets(self) -> Option<usize> {
        match self.l {
            l if l % 8 == 0 => Some(1),
            l if l % 4 == 0 => Some(2),
            _ => None,
        }
    }
}

/// How single threads share a channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strided {
    pub parts: usize,
    pub step_n: usize,
    pub step_l: usize,
    pub trips: usize,
}

/// How subgroups share a channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pieces {
    pub piece: usize,
    pub pieces: usize,
    pub per_part: usize,
    pub parts: usize,
    pub trips: usize,
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let operands = if self.affine == Affine::None { 1 } else { 3 };
        if inputs.len() != operands || inputs.iter().any(|i| i.dtype != DType::F32) {
            return expected(format!("{operands} operands of f32"));
        }
        let x = inputs[0];
        if x.shape.rank() < 2 {
            return expected("an operand [N, C, ..]");
        }
        let s = Channels::new(x.shape);
        if s.count() == 0 {
            return expected("at least one value per channel");
        }
        if inputs[1..].iter().any(|v| v.shape != Shape::new(&[s.c])) {
            return expected(format!("gamma and beta of shape [{}]", s.c));
        }
        Ok(vec![x, Spec::f32([s.c]), Spec::f32([s.c])])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let x = io.inputs[0];
        let (s, eps) = (Channels::new(x.shape), io.scalars[0]);
        let [y, mean, variance] = &mut io.outputs[..] else { unreachable!("three outputs") };
        let work = 4 * s.count();
        crate::parallel::rows(mean.data, 1, work, |c, m| m[0] = s.mean_and_variance(x.data, c).0);
        crate::parallel::rows(variance.data, 1, work, |c, v| v[0] = s.mean_and_variance(x.data, c).1);
        let (mean, variance) = (&mean.data, &variance.data);
        let (gamma, beta) = match self.affine {
            Affine::None => (None, None),
            Affine::Vectors => (Some(io.inputs[1].data), Some(io.inputs[2].data)),
        };
        crate::parallel::rows(y.data, s.l, s.l, |plane, y| {
            let c = plane % s.c;
            let scale = gamma.map_or(1.0, |g| g[c]) / (variance[c] + eps).sqrt();
            let add = beta.map_or(0.0, |b| b[c]);
            for (y, x) in y.iter_mut().zip(&x.data[plane * s.l..]) {
                *y = self.activation.apply((x - mean[c]) * scale + add);
            }
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let (x, variance) = (&g.inputs[0], &g.outputs[2]);
        let mut grads = vec![None; g.inputs.len()];
        if let Some(dy) = &g.dy[0] {
            let op = BatchNormBackward { affine: self.affine };
            let gamma = g.inputs.get(1);
            let inputs: Vec<&Tensor> = [x, dy, variance].into_iter().chain(gamma).collect();
            let all = Tensor::apply(op, &inputs, &g.scalars[..1]);
            grads.iter_mut().zip(all).for_each(|(g, d)| *g = Some(d));
        }
        // The statistics themselves: dmean/dx = 1/n, dvar/dx = 2 (x - mean) / n.
        let s = Channels::new(x.shape());
        let three = Shape::new(&[s.n, s.c, s.l]);
        let spread = |v: &Tensor, by: f64| v.reshape([1, s.c, 1]).mul_scalar(by / s.count() as f64);
        let mut more = |d: Tensor| {
            let d = d.expand(three).reshape(x.shape());
            grads[0] = Some(grads[0].as_ref().map_or(d.clone(), |g| g.add(&d)));
        };
        if let Some(dmean) = &g.dy[1] {
            more(spread(dmean, 1.0));
        }
        if let Some(dvar) = &g.dy[2] {
            let away = x.reshape(three).sub(&g.outputs[1].reshape([1, s.c, 1]));
            more(away.mul(&spread(dvar, 2.0)));
        }
        grads
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

    fn absorb(&self, _: &[Spec], follow: Follow) -> Option<Arc<dyn Op>> {
        match (follow, self.activation) {
            (Follow::Activate(Activation::Relu), Activation::None) => {
                Some(Arc::new(BatchNorm { activation: Activation::Relu, ..*self }))
            }
            _ => None,
        }
    }

    fn tolerance(&self, io: Io<'_>, output: usize) -> Tolerance {
        match output {
            1 => Tolerance::Sum { n: Channels::new(io.inputs[0].shape).count() },
            _ => Tolerance::OfMax(1e-5),
        }
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: 8 * io.inputs[0].elements() as u64, bytes: io.bytes() }
    }
}

impl BatchNorm {
    fn strided(&self, s: Channels) -> Candidate {
        let t = s.strided();
        let params = statistics_strided::Params {
            n: s.n as u32,
            c: s.c as u32,
            l: s.l as u32,
            parts: t.parts as u32,
            step_n: t.step_n as u32,
            step_l: t.step_l as u32,
            trips: t.trips as u32,
        };
        let statistics = statistics_strided::dispatch(params)
            .bind(&[Bind::Input(0), Bind::Scratch(0)])
            .groups((s.c * t.parts).div_ceil(64) as u64)
            .trips(2 * t.trips as u64);
        self.candidate("strided", s, t.parts, statistics).dispatch(self.normalise(s))
    }

    fn subgroup8(&self, s: Channels) -> Option<Candidate> {
        let t = s.pieces()?;
        let params = statistics_subgroup8::Params {
            n: s.n as u32,
            c: s.c as u32,
            l: s.l as u32,
            parts: t.parts as u32,
            piece: t.piece as u32,
            pieces: t.pieces as u32,
            per_part: t.per_part as u32,
        };
        let statistics = statistics_subgroup8::dispatch(params)
            .bind(&[Bind::Input(0), Bind::Scratch(0)])
            .groups((s.c * t.parts) as u64)
            .trips(2 * t.trips as u64);
        let last = match s.planes_per_octets() {
            Some(planes) if s.l / 8 < MAX_TRIPS as usize => self.normalise_octets(s, planes),
            _ => self.normalise(s),
        };
        Some(self.candidate("subgroup8", s, t.parts, statistics).needs(Needs::SUBGROUP8).dispatch(last))
    }

    /// Statistics of parts and what joins them.
    fn candidate(&self, variant: &'static str, s: Channels, parts: usize, statistics: Dispatch) -> Candidate {
        let params = statistics_merge::Params { c: s.c as u32, l: s.l as u32, parts: parts as u32, eps: 0.0 };
        let gamma = Bind::Input(if self.affine == Affine::None { 0 } else { 1 });
        let merge = statistics_merge::dispatch(params)
            .scalar("eps", 0)
            .constant("AFFINE", self.affine == Affine::Vectors)
            .bind(&[
                Bind::Input(0),
                Bind::Scratch(0),
                gamma,
                Bind::Output(1),
                Bind::Output(2),
                Bind::Scratch(1),
            ])
            .groups(s.c.div_ceil(8) as u64)
            .trips(2 * parts.div_ceil(4) as u64);
        Candidate::new(variant)
            .scratch(floats(3 * s.c * parts))
            .scratch(floats(3 * s.c))
            .dispatch(statistics)
            .dispatch(merge)
    }

    fn normalise(&self, s: Channels) -> Dispatch {
        let len = s.n * s.c * s.l;
        let params = normalise::Params { len: len as u32, c: s.c as u32, l: s.l as u32 };
        self.finishing(normalise::dispatch(params)).groups(len.div_ceil(64) as u64)
    }

    fn normalise_octets(&self, s: Channels, planes: usize) -> Dispatch {
        let params = normalise_subgroup8::Params { planes: (s.n * s.c) as u32, c: s.c as u32, l: s.l as u32 };
        self.finishing(normalise_subgroup8::dispatch(params))
            .constant("PLANES", planes as u32)
            .groups((s.n * s.c).div_ceil(planes) as u64)
            .trips((planes * s.l).div_ceil(64) as u64)
    }

    fn finishing(&self, dispatch: Dispatch) -> Dispatch {
        let beta = Bind::Input(if self.affine == Affine::None { 0 } else { 2 });
        dispatch
            .constant("AFFINE", self.affine == Affine::Vectors)
            .constant("ACTIVATION", self.activation as u32)
            .bind(&[Bind::Input(0), Bind::Scratch(1), beta, Bind::Output(0)])
    }
}

/// Bytes of storage for so many floats.
pub(crate) fn floats(n: usize) -> u64 {
    (4 * n as u64).next_multiple_of(ALIGN)
}

/// Moves running statistics towards a batch's: `r = (1 - momentum)·r + momentum·batch`; the variance as an unbiased
/// estimate. Inputs: running mean and running variance (both updated in place), mean, biased variance, all `[C]`;
/// scalars: momentum, n / (n - 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BatchNormUpdate;

impl Op for BatchNormUpdate {
    fn name(&self) -> &'static str {
        "batch_norm_update"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        match inputs {
            [a, rest @ ..] if rest.len() == 3 && a.dtype == DType::F32 && rest.iter().all(|s| s == a) => {
                Ok(Vec::new())
            }
            _ => expected("running mean, running variance, mean and variance of one shape"),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (momentum, unbias) = (io.scalars[0], io.scalars[1]);
        for (running, (batch, by)) in io.updated.iter_mut().zip([(io.inputs[2], 1.0), (io.inputs[3], unbias)])
        {
            for (r, b) in running.data.iter_mut().zip(batch.data) {
                *r = (1.0 - momentum) * *r + momentum * b * by;
            }
        }
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None; g.inputs.len()]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let c = io.inputs[0].elements();
        let dispatch = update::dispatch(update::Params { c: c as u32, momentum: 0.0, unbias: 0.0 })
            .scalar("momentum", 0)
            .scalar("unbias", 1)
            .bind(&[Bind::Input(2), Bind::Input(3), Bind::Input(0), Bind::Input(1)])
            .groups(c.div_ceil(64) as u64);
        vec![Candidate::new("direct").dispatch(dispatch)]
    }

    fn updates(&self) -> &[usize] {
        &[0, 1]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        // The two terms of a moving average may cancel.
        Tolerance::Sum { n: 2 }
    }
}

impl Tensor {
    /// Batch normalisation of `[N, C, ..]` with the batch's own statistics: the result, and each channel's mean and
    /// biased variance `[C]`. `affine` is (gamma, beta), each `[C]`. (PyTorch's `batch_norm(training=True)`; Ioffe
    /// and Szegedy 2015.)
    ///
    /// # Panics
    /// When there are fewer than two axes, a channel has no value, or gamma or beta has another shape.
    #[track_caller]
    pub fn batch_norm_train(&self, affine: Option<(&Tensor, &Tensor)>, eps: f64) -> (Tensor, Tensor, Tensor) {
        let op = BatchNorm {
            affine: if affine.is_some() { Affine::Vectors } else { Affine::None },
            activation: Activation::None,
        };
        let mut inputs = vec![self];
        inputs.extend(affine.iter().flat_map(|(gamma, beta)| [*gamma, *beta]));
        let mut out = Tensor::apply(op, &inputs, &[Scalar::F(eps)]).into_iter();
        let mut next = || out.next().expect("three outputs");
        (next(), next(), next())
    }

    /// Batch normalisation of `[N, C, ..]` with given statistics `[C]`:
    /// `(x - mean) / √(var + eps) · gamma + beta`. (PyTorch's `batch_norm(training=False)`.)
    ///
    /// # Panics
    /// When there are fewer than two axes, or one of the others is not `[C]`.
    #[track_caller]
    pub fn batch_norm_eval(
        &self,
        mean: &Tensor,
        var: &Tensor,
        affine: Option<(&Tensor, &Tensor)>,
        eps: f64,
    ) -> Tensor {
        let shape = self.shape();
        assert!(shape.rank() >= 2, "batch_norm_eval takes [N, C, ..], not a tensor of shape {shape}");
        let of_channels = |v: &Tensor| v.shape().dims() == [shape[1]];
        let others = [Some(mean), Some(var), affine.map(|a| a.0), affine.map(|a| a.1)];
        for other in others.into_iter().flatten() {
            assert!(
                of_channels(other),
                "batch_norm_eval of {shape}: mean, var, gamma and beta have shape [{}], not {}",
                shape[1],
                other.shape()
            );
        }
        let mut along = vec![1; shape.rank()];
        along[1] = shape[1];
        let along = Shape::new(&along);
        let std = var.add_scalar(eps).sqrt();
        let away = self.sub(&mean.reshape(along));
        match affine {
            None => away.div(&std.reshape(along)),
            Some((gamma, beta)) => away.mul(&gamma.div(&std).reshape(along)).add(&beta.reshape(along)),
        }
    }

    /// Moves the running statistics `self` (mean) and `running_var` in place towards a batch's `mean` and biased
    /// `var` (all `[C]`) that come from `n` values per channel; the variance is made an unbiased estimate.
    ///
    /// # Panics
    /// When shapes differ.
    #[track_caller]
    pub fn batch_norm_update(
        &self,
        running_var: &Tensor,
        mean: &Tensor,
        var: &Tensor,
        momentum: f64,
        n: usize,
    ) {
        let unbias = n as f64 / (n.max(2) - 1) as f64;
        let scalars = [Scalar::F(momentum), Scalar::F(unbias)];
        Tensor::apply(BatchNormUpdate, &[self, running_var, mean, var], &scalars);
    }
}

crate::kernel! {
    /// Statistics of parts of a channel, a thread each.
    pub(crate) mod statistics_strided = "shaders/batch_norm/statistics_strided.wgsl";
    params { n: u32, c: u32, l: u32, parts: u32, step_n: u32, step_l: u32, trips: u32 }
    bind { x: Read, parts: ReadWrite }
}

crate::kernel! {
    /// Statistics of parts of a channel, an 8-lane subgroup each.
    mod statistics_subgroup8 = "shaders/batch_norm/statistics_subgroup8.wgsl";
    params { n: u32, c: u32, l: u32, parts: u32, piece: u32, pieces: u32, per_part: u32 }
    bind { x: Read, parts: ReadWrite }
}

crate::kernel! {
    /// Joins the statistics of parts.
    mod statistics_merge = "shaders/batch_norm/statistics_merge.wgsl";
    params { c: u32, l: u32, parts: u32, eps: f32 }
    bind { x: Read, parts: Read, gamma: Read, mean: ReadWrite, variance: ReadWrite, scales: ReadWrite }
}

crate::kernel! {
    /// One thread per element.
    mod normalise = "shaders/batch_norm/normalise.wgsl";
    params { len: u32, c: u32, l: u32 }
    bind { x: Read, scales: Read, beta: Read, y: ReadWrite }
}

crate::kernel! {
    /// One 8-lane subgroup per plane or pair of planes.
    mod normalise_subgroup8 = "shaders/batch_norm/normalise_subgroup8.wgsl";
    params { planes: u32, c: u32, l: u32 }
    bind { x: Read, scales: Read, beta: Read, y: ReadWrite }
}

crate::kernel! {
    /// Moves running statistics.
    mod update = "shaders/batch_norm/update.wgsl";
    params { c: u32, momentum: f32, unbias: f32 }
    bind { mean: Read, variance: Read, running_mean: ReadWrite, running_var: ReadWrite }
}

/// Shapes that every variant must get right.
pub(crate) const SHAPES: &[&[usize]] = &[
    &[2, 1],
    &[1, 3, 1, 2],
    &[7, 5],
    &[64, 33],
    &[5, 3, 7, 11],
    &[3, 5, 14, 14],
    &[2, 3, 28, 28],
    &[3, 1, 20],
    &[4, 3, 4],
    &[16, 8, 28, 28],
    &[1, 2, 70_001],
    &[1, 1, 1, 1],
    &[300, 2, 49],
    &[3, 0, 4],
];

/// Test cases.
pub fn cases() -> Vec<Case> {
    let of = |op: BatchNorm, shape: &[usize]| {
        let c = [shape[1]];
        let shapes: Vec<&[usize]> = match op.affine {
            Affine::None => vec![shape],
            Affine::Vectors => vec![shape, &c, &c],
        };
        Case::new(op, &shapes).scalars(&[Scalar::F(1e-5)])
    };
    let plain = BatchNorm::default();
    let affine = BatchNorm { affine: Affine::Vectors, ..plain };
    let relu = BatchNorm { activation: Activation::Relu, ..affine };
    let mut cases = vec![
        of(plain, &[4, 3]).with_gradient(),
        of(affine, &[2, 3, 2, 3]).with_gradient(),
        of(affine, &[3, 2, 4]).with_gradient(),
    ];
    for &shape in SHAPES {
        cases.push(of(affine, shape));
        cases.push(of(relu, shape));
    }
    cases.push(of(plain, &[9, 4, 13]));
    cases.push(of(plain, &[9, 4, 16]));
    for shape in [&[16usize, 4, 28, 28][..], &[64, 5], &[3, 5, 14, 14]] {
        let large = Fill::Normal { mean: 1e4, std: 1.0 };
        cases.push(of(affine, shape).input(0, Spec::f32(shape), large));
    }
    cases.push(of(affine, &[66_000, 1, 3]));
    let update = |c: usize| {
        let c = [c];
        Case::new(BatchNormUpdate, &[&c, &c, &c, &c]).scalars(&[Scalar::F(0.1), Scalar::F(1.25)])
    };
    cases.extend([update(1), update(77), update(0)]);
    cases
}
