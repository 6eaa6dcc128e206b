//! The gradient of layer and group normalisation, through their statistics.
//!
//! With x̂ = (x - mean) / √(var + eps), g = dy·gamma and means over the D values of each row:
//! `dx = (g - mean(g) - x̂·mean(g·x̂)) / √(var + eps)`; over all elements that share one of gamma:
//! `dgamma = Σ dy·x̂`, `dbeta = Σ dy`.
//!
//! | tensor | shape |
//! |---|---|
//! | x, dy, dx | as in [`row_norm`](crate::ops::row_norm) |
//! | var (biased) | `[R]` |
//! | gamma, dgamma, dbeta, with [`Affine::Vectors`] | `[d1, .., dk]` or `[C]` |
//!
//! The scalar is eps. The mean is not an input: it is summed again beside the others, relative to the row's first element,
//! because rounded to f32 it would be too coarse where it is much larger than the deviations.

use crate::kernel::{Bind, Candidate, Dispatch, MAX_TRIPS, Needs, Target};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Scalar, Tolerance, expected};
use crate::ops::batch_norm::{Affine, Channels, floats};
use crate::ops::row_norm::{CASES, Grouped, Rows, Ways, affine_shape, octet_params, statistics};
use crate::ops::softmax::TREE;
use crate::shape::{DType, Shape, Spec};
use crate::tensor::Tensor;

/// The gradients of [`RowNorm`](crate::ops::row_norm::RowNorm) with respect to x, and with gamma and beta to both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowNormBackward {
    /// Which values were normalised together.
    pub rows: Rows,
    /// Whether gamma is an input.
    pub affine: Affine,
}

impl Op for RowNormBackward {
    fn name(&self) -> &'static str {
        self.rows.name("layer_norm_backward", "group_norm_backward")
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let operands = if self.affine == Affine::None { 3 } else { 4 };
        if inputs.len() != operands || inputs.iter().any(|i| i.dtype != DType::F32) {
            return expected(format!("{operands} operands of f32"));
        }
        let x = inputs[0];
        let s = self.rows.of(x.shape)?;
        if inputs[1] != x || inputs[2] != Spec::f32([s.rows()]) {
            return expected(format!("x and dy of one shape, and var of shape [{}]", s.rows()));
        }
        let gamma = Spec::f32(self.rows.affine(x.shape));
        match inputs.get(3) {
            None => Ok(vec![x]),
            Some(g) if *g == gamma => Ok(vec![x, gamma, gamma]),
            Some(_) => expected(format!("gamma of shape {}", gamma.shape)),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (x, dy, variance) = (io.inputs[0], io.inputs[1].data, io.inputs[2].data);
        let (s, eps) = (self.rows.of(x.shape).expect("the shape rule has accepted it"), io.scalars[0]);
        let d = s.d();
        let mut means = vec![0.0; s.rows()];
        crate::parallel::rows(&mut means, 1, 2 * d, |row, m| m[0] = statistics(&x.data[row * d..][..d]).0);
        let x_hat = |row: usize, k: usize| (x.data[row * d + k] - means[row]) / (variance[row] + eps).sqrt();
        let gamma = (self.affine == Affine::Vectors).then(|| io.inputs[3].data);
        crate::parallel::rows(io.outputs[0].data, d, 12 * d, |row, dx| {
            let g = |k: usize| dy[row * d + k] * gamma.map_or(1.0, |g| g[s.channel(row, k)]);
            let mean_g = (0..d).map(g).sum::<f64>() / d as f64;
            let mean_gx = (0..d).map(|k| g(k) * x_hat(row, k)).sum::<f64>() / d as f64;
            for (k, dx) in dx.iter_mut().enumerate() {
                *dx = (g(k) - mean_g - x_hat(row, k) * mean_gx) / (variance[row] + eps).sqrt();
            }
        });
        let [_, dgamma, dbeta] = &mut io.outputs[..] else { return };
        let per_group = s.c / s.groups;
        let sum = |c: usize, f: &dyn Fn(usize, usize) -> f64| -> f64 {
            let elements = (0..s.n).flat_map(|n| (0..s.l).map(move |l| (n, l)));
            elements.map(|(n, l)| f(n * s.groups + c / per_group, c % per_group * s.l + l)).sum()
        };
        let work = 8 * s.n * s.l;
        crate::parallel::rows(dgamma.data, 1, work, |c, v| {
            v[0] = sum(c, &|row, k| dy[row * d + k] * x_hat(row, k));
        });
        crate::parallel::rows(dbeta.data, 1, work, |c, v| v[0] = sum(c, &|row, k| dy[row * d + k]));
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None; g.inputs.len()]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let s = self.rows.of(io.inputs[0].shape).expect("the shape rule has accepted it");
        let ways = Ways {
            serial: self.serial(s),
            row: self.row(s),
            octets: self.octets(s),
            strided: self.strided(s),
        };
        s.order(target, ways)
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::OfMax(4e-5)
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: 16 * io.inputs[0].elements() as u64, bytes: io.bytes() }
    }
}

impl RowNormBackward {
    fn row(&self, s: Grouped) -> Candidate {
        let params = row::Params {
            rows: s.rows() as u32,
            d: s.d() as u32,
            inner: s.l as u32,
            groups: s.groups as u32,
            eps: 0.0,
        };
        let rows = row::dispatch(params)
            .constant("AFFINE", self.affine == Affine::Vectors)
            .constant("PLANES", s.l > 1)
            .scalar("eps", 0)
            .bind(&self.at_once())
            .groups(s.rows() as u64)
            .trips(2 * s.d().div_ceil(64) as u64 + 18);
        let out = Candidate::new("row").needs(TREE).scratch(floats(3 * s.rows())).dispatch(rows);
        self.with_channels(out, s, channels_by_element(s))
    }

    fn serial(&self, s: Grouped) -> Candidate {
        let params = serial::Params {
            rows: s.rows() as u32,
            d: s.d() as u32,
            inner: s.l as u32,
            groups: s.groups as u32,
            eps: 0.0,
        };
        let rows = serial::dispatch(params)
            .constant("AFFINE", self.affine == Affine::Vectors)
            .constant("PLANES", s.l > 1)
            .scalar("eps", 0)
            .bind(&self.at_once())
            .groups(s.rows().div_ceil(64) as u64)
            .trips(2 * s.d() as u64);
        let out = Candidate::new("serial").scratch(floats(3 * s.rows())).dispatch(rows);
        self.with_channels(out, s, channels_by_element(s))
    }

    /// Rows by octets: held in registers where they are short enough.
    fn octets(&self, s: Grouped) -> Option<Candidate> {
        let affine = s.octets(self.affine)?;
        let (variant, dispatch) = match s.held() {
            Some(held) => ("held8", held8::dispatch(octet_params!(held8, s)).constant("HELD", held)),
            None => ("subgroup8", subgroup8::dispatch(octet_params!(subgroup8, s))),
        };
        let rows = dispatch
            .constant("AFFINE", affine)
            .scalar("eps", 0)
            .bind(&self.at_once())
            .groups(s.rows() as u64)
            .trips(2 * s.d().div_ceil(64) as u64);
        let out = Candidate::new(variant).needs(Needs::SUBGROUP8).scratch(floats(3 * s.rows()));
        Some(self.with_channels(out.dispatch(rows), s, channels_by_octet(s)))
    }

    /// Buffers of the kernels that make dx at once.
    fn at_once(&self) -> [Bind; 6] {
        [
            Bind::Input(0),
            Bind::Input(1),
            Bind::Input(2),
            self.gamma(),
            Bind::Scratch(0),
            Bind::Output(0),
        ]
    }

    /// Gamma's buffer, or another that is not read.
    fn gamma(&self) -> Bind {
        Bind::Input(if self.affine == Affine::None { 0 } else { 3 })
    }

    /// Sums of parts of rows, what joins them, and what applies them.
    fn strided(&self, s: Grouped) -> Candidate {
        let (rows, d, parts) = (s.rows(), s.d(), s.parts());
        let trips = d.div_ceil(parts).div_ceil(4);
        let params = sums_strided::Params {
            rows: rows as u32,
            d: d as u32,
            inner: s.l as u32,
            groups: s.groups as u32,
            parts: parts as u32,
            trips: trips as u32,
        };
        let sums = sums_strided::dispatch(params)
            .constant("AFFINE", self.affine == Affine::Vectors)
            .bind(&[Bind::Input(0), Bind::Input(1), self.gamma(), Bind::Scratch(1)])
            .groups((rows * parts).div_ceil(64) as u64)
            .trips(trips as u64);
        let params = merge::Params { rows: rows as u32, d: d as u32, parts: parts as u32, eps: 0.0 };
        let merge = merge::dispatch(params)
            .scalar("eps", 0)
            .bind(&[Bind::Input(0), Bind::Scratch(1), Bind::Input(2), Bind::Scratch(0)])
            .groups(rows.div_ceil(64) as u64)
            .trips(parts.div_ceil(4) as u64);
        let params = apply::Params {
            len: (rows * d) as u32,
            rows: rows as u32,
            d: d as u32,
            inner: s.l as u32,
            groups: s.groups as u32,
        };
        let apply = apply::dispatch(params)
            .constant("AFFINE", self.affine == Affine::Vectors)
            .bind(&[Bind::Input(0), Bind::Input(1), Bind::Scratch(0), self.gamma(), Bind::Output(0)])
            .groups((rows * d).div_ceil(64) as u64);
        let out = Candidate::new("strided")
            .scratch(floats(5 * rows))
            .scratch(floats(3 * rows * parts))
            .dispatch(sums)
            .dispatch(merge)
            .dispatch(apply);
        self.with_channels(out, s, channels_by_element(s))
    }

    /// Appends what makes dgamma and dbeta from x, dy and the rows' scales in scratch 0.
    fn with_channels(&self, out: Candidate, s: Grouped, (sums, parts): (Dispatch, usize)) -> Candidate {
        if self.affine == Affine::None {
            return out;
        }
        let scratch = Bind::Scratch(out.scratch.len());
        let sums = sums.bind(&[Bind::Input(0), Bind::Input(1), Bind::Scratch(0), scratch]);
        let merge = channels_merge::dispatch(channels_merge::Params { c: s.c as u32, parts: parts as u32 })
            .bind(&[scratch, Bind::Output(1), Bind::Output(2)])
            .groups(s.c.div_ceil(64) as u64)
            .trips(parts.div_ceil(4) as u64);
        out.scratch(floats(2 * s.c * parts)).dispatch(sums).dispatch(merge)
    }
}

/// Sums of parts of a channel, by single threads, and the number of parts.
fn channels_by_element(s: Grouped) -> (Dispatch, usize) {
    let t = Channels { n: s.n, c: s.c, l: s.l }.strided();
    let params = channels_strided::Params {
        n: s.n as u32,
        c: s.c as u32,
        l: s.l as u32,
        groups: s.groups as u32,
        parts: t.parts as u32,
        step_n: t.step_n as u32,
        step_l: t.step_l as u32,
        trips: t.trips as u32,
    };
    let dispatch = channels_strided::dispatch(params)
        .constant("COLUMNS", s.l == 1)
        .groups((s.c * t.parts).div_ceil(64) as u64)
        .trips(t.trips as u64);
    (dispatch, t.parts)
}

/// Sums of parts of a channel, by octets where rows of the tensor or planes are long enough, and the number of parts.
fn channels_by_octet(s: Grouped) -> (Dispatch, usize) {
    if s.l == 1 {
        // A row is whole octets, so groups do not share one.
        let parts = s.n.div_ceil(64).clamp(1, 4096);
        let per_part = s.n.div_ceil(parts);
        let octets = s.c / 8;
        let params = channels_octets::Params {
            n: s.n as u32,
            octets: octets as u32,
            groups: s.groups as u32,
            parts: parts as u32,
            per_part: per_part as u32,
        };
        let dispatch = channels_octets::dispatch(params)
            .groups((octets * parts).div_ceil(8) as u64)
            .trips(per_part as u64);
        return (dispatch, parts);
    }
    // A plane that starts anywhere touches one more octet than it fills.
    let trips = (s.l / 8 + 2).div_ceil(8);
    let per_part = (256 / trips).max(1).max(s.n.div_ceil(4096));
    let parts = s.n.div_ceil(per_part).max(1);
    if s.l < 16 || (per_part * (trips + 1)) as u64 > MAX_TRIPS {
        return channels_by_element(s);
    }
    let params = channels_subgroup8::Params {
        n: s.n as u32,
        c: s.c as u32,
        l: s.l as u32,
        groups: s.groups as u32,
        parts: parts as u32,
        per_part: per_part as u32,
    };
    let dispatch = channels_subgroup8::dispatch(params)
        .groups((s.c * parts) as u64)
        .trips((per_part * (trips + 1)) as u64);
    (dispatch, parts)
}

crate::kernel! {
    /// A thread per row.
    mod serial = "shaders/row_norm_backward/serial.wgsl";
    params { rows: u32, d: u32, inner: u32, groups: u32, eps: f32 }
    bind { x: Read, dy: Read, variance: Read, gamma: Read, scales: ReadWrite, dx: ReadWrite }
}

crate::kernel! {
    /// A workgroup per row.
    mod row = "shaders/row_norm_backward/row.wgsl";
    params { rows: u32, d: u32, inner: u32, groups: u32, eps: f32 }
    bind { x: Read, dy: Read, variance: Read, gamma: Read, scales: ReadWrite, dx: ReadWrite }
}

crate::kernel! {
    /// An 8-lane subgroup per row.
    mod subgroup8 = "shaders/row_norm_backward/subgroup8.wgsl";
    params {
        rows: u32, octets: u32, inner: u32, magic: u32, shift: u32, channels: u32, groups: u32, eps: f32,
    }
    bind { x: Read, dy: Read, variance: Read, gamma: Read, scales: ReadWrite, dx: ReadWrite }
}

crate::kernel! {
    /// An 8-lane subgroup per row, which holds it in registers.
    mod held8 = "shaders/row_norm_backward/held8.wgsl";
    params {
        rows: u32, octets: u32, inner: u32, magic: u32, shift: u32, channels: u32, groups: u32, eps: f32,
    }
    bind { x: Read, dy: Read, variance: Read, gamma: Read, scales: ReadWrite, dx: ReadWrite }
}

crate::kernel! {
    /// Sums of parts of a row, a thread each.
    mod sums_strided = "shaders/row_norm_backward/sums_strided.wgsl";
    params { rows: u32, d: u32, inner: u32, groups: u32, parts: u32, trips: u32 }
    bind { x: Read, dy: Read, gamma: Read, parts: ReadWrite }
}

crate::kernel! {
    /// Joins the sums of parts of rows.
    mod merge = "shaders/row_norm_backward/merge.wgsl";
    params { rows: u32, d: u32, parts: u32, eps: f32 }
    bind { x: Read, parts: Read, variance: Read, scales: ReadWrite }
}

crate::kernel! {
    /// One thread per element.
    mod apply = "shaders/row_norm_backward/apply.wgsl";
    params { len: u32, rows: u32, d: u32, inner: u32, groups: u32 }
    bind { x: Read, dy: Read, scales: Read, gamma: Read, dx: ReadWrite }
}

crate::kernel! {
    /// Sums of parts of a channel, a thread each.
    mod channels_strided = "shaders/row_norm_backward/channels_strided.wgsl";
    params { n: u32, c: u32, l: u32, groups: u32, parts: u32, step_n: u32, step_l: u32, trips: u32 }
    bind { x: Read, dy: Read, scales: Read, parts: ReadWrite }
}

crate::kernel! {
    /// Sums of parts of eight columns, a thread each.
    mod channels_octets = "shaders/row_norm_backward/channels_octets.wgsl";
    params { n: u32, octets: u32, groups: u32, parts: u32, per_part: u32 }
    bind { x: Read, dy: Read, scales: Read, parts: ReadWrite }
}

crate::kernel! {
    /// Sums of parts of a channel, an 8-lane subgroup each.
    mod channels_subgroup8 = "shaders/row_norm_backward/channels_subgroup8.wgsl";
    params { n: u32, c: u32, l: u32, groups: u32, parts: u32, per_part: u32 }
    bind { x: Read, dy: Read, scales: Read, parts: ReadWrite }
}

crate::kernel! {
    /// Joins the sums of parts of channels.
    mod channels_merge = "shaders/row_norm_backward/channels_merge.wgsl";
    params { c: u32, parts: u32 }
    bind { parts: Read, dgamma: ReadWrite, dbeta: ReadWrite }
}

/// Test cases. The variance is given apart from x, so its values need only be positive.
pub fn cases() -> Vec<Case> {
    let of = |rows: Rows, affine: Affine, shape: &[usize], mean: f64| {
        let c = affine_shape(rows, shape);
        let variance = [rows.of(Shape::new(shape)).expect("operands that fit").rows()];
        let gamma: &[&[usize]] = if affine == Affine::Vectors { &[&c] } else { &[] };
        Case::new(RowNormBackward { rows, affine }, &[&[shape, shape, &variance], gamma].concat())
            .scalars(&[Scalar::F(1e-5)])
            .input(0, Spec::f32(Shape::new(shape)), Fill::Normal { mean, std: 1.0 })
            .input(2, Spec::f32(variance), Fill::Uniform { low: 0.8, high: 1.2 })
    };
    let mut cases: Vec<Case> =
        CASES.iter().map(|&(rows, shape)| of(rows, Affine::Vectors, shape, 0.5)).collect();
    cases.push(of(Rows::LastAxes(1), Affine::None, &[9, 40], 0.0));
    cases.push(of(Rows::LastAxes(1), Affine::None, &[9, 41], 0.0));
    cases.push(of(Rows::LastAxes(1), Affine::None, &[9, 1032], 0.0));
    cases.push(of(Rows::Groups(3), Affine::None, &[2, 24, 7, 7], 0.0));
    cases.push(of(Rows::LastAxes(1), Affine::Vectors, &[64, 96], 1e4));
    cases.push(of(Rows::Groups(2), Affine::Vectors, &[3, 6, 10, 10], 1e4));
    cases
}
