//! Layer normalisation (Ba, Kiros and Hinton 2016, arXiv 1607.06450) and group normalisation (Wu and He 2018, arXiv
//! 1803.08494): rows of values, each normalised by its own statistics.
//!
//! Per row, over its D values: `mean = Σ x / D`, `var = Σ (x - mean)² / D`,
//! `y = (x - mean) / √(var + eps) · gamma + beta`.
//!
//! | tensor | layer: the last k axes are a row | group: C / G channels of a sample are a row |
//! |---|---|---|
//! | x, y | `[.., d1, .., dk]` | `[N, C, ..]`, seen as `[N, C, L]` |
//! | gamma, beta, with [`Affine::Vectors`] | `[d1, .., dk]` | `[C]` |
//! | var (biased) | `[R]` with R the product of the other axes | `[N·G]` |
//!
//! The scalar is eps. Statistics take two passes over a row, counted from its first element, so means far larger than the
//! deviations cost no digits. Layer normalisation is group normalisation of `[N, C, 1]` in one group, which is how the
//! kernels see it.

mod rows;

pub use rows::Rows;
pub(crate) use rows::{Grouped, Ways, octet_params};

use crate::kernel::{Bind, Candidate, Dispatch, Needs, Target};
use crate::op::{
    Activation, Case, Cost, Expected, Fill, Follow, GradIo, Io, Op, RefIo, Scalar, Tolerance, expected,
};
use crate::ops::batch_norm::{Affine, Channels, floats, statistics_strided};
use crate::ops::row_norm_backward::RowNormBackward;
use crate::ops::softmax::TREE;
use crate::shape::{DType, Shape, Spec};
use crate::tensor::Tensor;
use std::sync::Arc;

/// Layer or group normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowNorm {
    /// Which values are normalised together.
    pub rows: Rows,
    /// Whether gamma and beta are inputs.
    pub affine: Affine,
    /// What is applied last: nothing or relu.
    pub activation: Activation,
}

/// The mean and the biased variance of a row.
pub(crate) fn statistics(row: &[f64]) -> (f64, f64) {
    let n = row.len() as f64;
    let mean = row.iter().sum::<f64>() / n;
    (mean, row.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n)
}

impl Op for RowNorm {
    fn name(&self) -> &'static str {
        self.rows.name("layer_norm", "group_norm")
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let operands = if self.affine == Affine::None { 1 } else { 3 };
        if inputs.len() != operands || inputs.iter().any(|i| i.dtype != DType::F32) {
            return expected(format!("{operands} operands of f32"));
        }
        let s = self.rows.of(inputs[0].shape)?;
        let affine = self.rows.affine(inputs[0].shape);
        if inputs[1..].iter().any(|v| v.shape != affine) {
            return expected(format!("gamma and beta of shape {affine}"));
        }
        Ok(vec![inputs[0], Spec::f32([s.rows()])])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let x = io.inputs[0];
        let (s, eps) = (self.rows.of(x.shape).expect("the shape rule has accepted it"), io.scalars[0]);
        let [y, variance] = &mut io.outputs[..] else { unreachable!("two outputs") };
        let d = s.d();
        let affine = (self.affine == Affine::Vectors).then(|| (io.inputs[1].data, io.inputs[2].data));
        crate::parallel::rows(variance.data, 1, 4 * d, |row, v| v[0] = statistics(&x.data[row * d..][..d]).1);
        crate::parallel::rows(y.data, d, 8 * d, |row, y| {
            let x = &x.data[row * d..][..d];
            let (mean, variance) = statistics(x);
            for (k, (y, x)) in y.iter_mut().zip(x).enumerate() {
                let value = (x - mean) / (variance + eps).sqrt();
                let c = s.channel(row, k);
                *y = self.activation.apply(affine.map_or(value, |(gamma, beta)| value * gamma[c] + beta[c]));
            }
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let (x, variance) = (&g.inputs[0], &g.outputs[1]);
        let mut grads = vec![None; g.inputs.len()];
        if let Some(dy) = &g.dy[0] {
            let op = RowNormBackward { rows: self.rows, affine: self.affine };
            let inputs: Vec<&Tensor> = [x, dy, variance].into_iter().chain(g.inputs.get(1)).collect();
            let all = Tensor::apply(op, &inputs, &g.scalars[..1]);
            grads.iter_mut().zip(all).for_each(|(g, d)| *g = Some(d));
        }
        // The variance itself: dvar/dx = 2 (x - mean) / D.
        if let Some(dvar) = &g.dy[1] {
            let s = self.rows.of(x.shape()).expect("the shape rule has accepted it");
            let rows = x.reshape([s.rows(), s.d()]);
            let away = rows.sub(&rows.sum_keep(&[1]).mul_scalar(1.0 / s.d() as f64));
            let d = away.mul(&dvar.reshape([s.rows(), 1]).mul_scalar(2.0 / s.d() as f64)).reshape(x.shape());
            grads[0] = Some(grads[0].as_ref().map_or(d.clone(), |g| g.add(&d)));
        }
        grads
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

    fn absorb(&self, _: &[Spec], follow: Follow) -> Option<Arc<dyn Op>> {
        match (follow, self.activation) {
            (Follow::Activate(Activation::Relu), Activation::None) => {
                Some(Arc::new(RowNorm { activation: Activation::Relu, ..*self }))
            }
            _ => None,
        }
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::OfMax(1e-5)
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: 8 * io.inputs[0].elements() as u64, bytes: io.bytes() }
    }
}

impl RowNorm {
    fn row(&self, s: Grouped) -> Candidate {
        let params = row::Params {
            rows: s.rows() as u32,
            d: s.d() as u32,
            inner: s.l as u32,
            groups: s.groups as u32,
            eps: 0.0,
        };
        let dispatch = self
            .finishing(row::dispatch(params))
            .constant("AFFINE", self.affine == Affine::Vectors)
            .constant("PLANES", s.l > 1)
            .scalar("eps", 0)
            .groups(s.rows() as u64)
            .trips(3 * s.d().div_ceil(64) as u64 + 12);
        Candidate::new("row").needs(TREE).dispatch(dispatch)
    }

    fn serial(&self, s: Grouped) -> Candidate {
        let params = serial::Params {
            rows: s.rows() as u32,
            d: s.d() as u32,
            inner: s.l as u32,
            groups: s.groups as u32,
            eps: 0.0,
        };
        let dispatch = self
            .finishing(serial::dispatch(params))
            .constant("AFFINE", self.affine == Affine::Vectors)
            .constant("PLANES", s.l > 1)
            .scalar("eps", 0)
            .groups(s.rows().div_ceil(64) as u64)
            .trips(3 * s.d() as u64);
        Candidate::new("serial").dispatch(dispatch)
    }

    /// Rows by octets: held in registers where they are short enough.
    fn octets(&self, s: Grouped) -> Option<Candidate> {
        let affine = s.octets(self.affine)?;
        let (variant, dispatch) = match s.held() {
            Some(held) => ("held8", held8::dispatch(octet_params!(held8, s)).constant("HELD", held)),
            None => ("subgroup8", subgroup8::dispatch(octet_params!(subgroup8, s))),
        };
        let dispatch = self
            .finishing(dispatch)
            .constant("AFFINE", affine)
            .scalar("eps", 0)
            .groups(s.rows() as u64)
            .trips(3 * s.d().div_ceil(64) as u64);
        Some(Candidate::new(variant).needs(Needs::SUBGROUP8).dispatch(dispatch))
    }

    /// Buffers of the kernels that do it all at once.
    fn finishing(&self, dispatch: Dispatch) -> Dispatch {
        let [gamma, beta] = self.affine_binds();
        dispatch.constant("ACTIVATION", self.activation as u32).bind(&[
            Bind::Input(0),
            gamma,
            beta,
            Bind::Output(0),
            Bind::Output(1),
        ])
    }

    fn affine_binds(&self) -> [Bind; 2] {
        match self.affine {
            Affine::None => [Bind::Input(0); 2],
            Affine::Vectors => [Bind::Input(1), Bind::Input(2)],
        }
    }

    /// Statistics of parts, as batch normalisation has them for channels; what joins them; and what applies them.
    fn strided(&self, s: Grouped) -> Candidate {
        let (rows, d) = (s.rows(), s.d());
        let t = Channels { n: 1, c: rows, l: d }.strided();
        let params = statistics_strided::Params {
            n: 1,
            c: rows as u32,
            l: d as u32,
            parts: t.parts as u32,
            step_n: t.step_n as u32,
            step_l: t.step_l as u32,
            trips: t.trips as u32,
        };
        let statistics = statistics_strided::dispatch(params)
            .bind(&[Bind::Input(0), Bind::Scratch(0)])
            .groups((rows * t.parts).div_ceil(64) as u64)
            .trips(2 * t.trips as u64);
        let params = merge::Params { rows: rows as u32, d: d as u32, parts: t.parts as u32, eps: 0.0 };
        let merge = merge::dispatch(params)
            .scalar("eps", 0)
            .bind(&[Bind::Input(0), Bind::Scratch(0), Bind::Output(1), Bind::Scratch(1)])
            .groups(rows.div_ceil(64) as u64)
            .trips(2 * t.parts.div_ceil(4) as u64);
        let params = apply::Params {
            len: (rows * d) as u32,
            rows: rows as u32,
            d: d as u32,
            inner: s.l as u32,
            groups: s.groups as u32,
        };
        let [gamma, beta] = self.affine_binds();
        let apply = apply::dispatch(params)
            .constant("AFFINE", self.affine == Affine::Vectors)
            .constant("ACTIVATION", self.activation as u32)
            .bind(&[Bind::Input(0), Bind::Scratch(1), gamma, beta, Bind::Output(0)])
            .groups((rows * d).div_ceil(64) as u64);
        Candidate::new("strided")
            .scratch(floats(3 * rows * t.parts))
            .scratch(floats(3 * rows))
            .dispatch(statistics)
            .dispatch(merge)
            .dispatch(apply)
    }
}

impl Tensor {
    /// Layer normalisation over the last `axes` axes: each row of their values gets mean 0 and variance 1 (biased), then
    /// `affine`, (gamma, beta) of the shape of those axes. (PyTorch's `layer_norm`; Ba et al. 2016.)
    ///
    /// # Panics
    /// When there are fewer axes, a row has no value, or gamma or beta has another shape.
    #[track_caller]
    pub fn layer_norm(&self, axes: usize, affine: Option<(&Tensor, &Tensor)>, eps: f64) -> Tensor {
        self.row_norm(Rows::LastAxes(axes), affine, eps)
    }

    /// Group normalisation of `[N, C, ..]`: the values of each of `groups` groups of neighbouring channels of a sample get
    /// mean 0 and variance 1 (biased), then `affine`, (gamma, beta) of shape `[C]`. (PyTorch's `group_norm`; Wu and He
    /// 2018.)
    ///
    /// # Panics
    /// When there are fewer than two axes, `groups` does not divide C, a group has no value, or gamma or beta has another
    /// shape.
    #[track_caller]
    pub fn group_norm(&self, groups: usize, affine: Option<(&Tensor, &Tensor)>, eps: f64) -> Tensor {
        self.row_norm(Rows::Groups(groups), affine, eps)
    }

    #[track_caller]
    fn row_norm(&self, rows: Rows, affine: Option<(&Tensor, &Tensor)>, eps: f64) -> Tensor {
        let op = RowNorm {
            rows,
            affine: if affine.is_some() { Affine::Vectors } else { Affine::None },
            activation: Activation::None,
        };
        let mut inputs = vec![self];
        inputs.extend(affine.iter().flat_map(|(gamma, beta)| [*gamma, *beta]));
        Tensor::apply(op, &inputs, &[Scalar::F(eps)]).swap_remove(0)
    }
}

crate::kernel! {
    /// A thread per row.
    mod serial = "shaders/row_norm/serial.wgsl";
    params { rows: u32, d: u32, inner: u32, groups: u32, eps: f32 }
    bind { x: Read, gamma: Read, beta: Read, y: ReadWrite, variance: ReadWrite }
}

crate::kernel! {
    /// A workgroup per row.
    mod row = "shaders/row_norm/row.wgsl";
    params { rows: u32, d: u32, inner: u32, groups: u32, eps: f32 }
    bind { x: Read, gamma: Read, beta: Read, y: ReadWrite, variance: ReadWrite }
}

crate::kernel! {
    /// An 8-lane subgroup per row.
    mod subgroup8 = "shaders/row_norm/subgroup8.wgsl";
    params {
        rows: u32, octets: u32, inner: u32, magic: u32, shift: u32, channels: u32, groups: u32, eps: f32,
    }
    bind { x: Read, gamma: Read, beta: Read, y: ReadWrite, variance: ReadWrite }
}

crate::kernel! {
    /// An 8-lane subgroup per row, which holds it in registers.
    mod held8 = "shaders/row_norm/held8.wgsl";
    params {
        rows: u32, octets: u32, inner: u32, magic: u32, shift: u32, channels: u32, groups: u32, eps: f32,
    }
    bind { x: Read, gamma: Read, beta: Read, y: ReadWrite, variance: ReadWrite }
}

crate::kernel! {
    /// Joins the statistics of parts.
    mod merge = "shaders/row_norm/merge.wgsl";
    params { rows: u32, d: u32, parts: u32, eps: f32 }
    bind { x: Read, parts: Read, variance: ReadWrite, scales: ReadWrite }
}

crate::kernel! {
    /// One thread per element.
    mod apply = "shaders/row_norm/apply.wgsl";
    params { len: u32, rows: u32, d: u32, inner: u32, groups: u32 }
    bind { x: Read, scales: Read, gamma: Read, beta: Read, y: ReadWrite }
}

/// What every variant must get right.
pub(crate) const CASES: &[(Rows, &[usize])] = &[
    (Rows::LastAxes(1), &[1, 1]),
    (Rows::LastAxes(1), &[0, 3]),
    (Rows::LastAxes(1), &[7]),
    (Rows::LastAxes(1), &[5, 16]),
    (Rows::LastAxes(1), &[3, 11, 10]),
    (Rows::LastAxes(1), &[130, 72]),
    (Rows::LastAxes(1), &[67, 512]),
    (Rows::LastAxes(1), &[5, 520]),
    (Rows::LastAxes(2), &[9, 13, 8]),
    (Rows::LastAxes(3), &[2, 3, 5, 7]),
    (Rows::LastAxes(1), &[66_000, 3]),
    (Rows::LastAxes(1), &[2, 20_001]),
    (Rows::LastAxes(1), &[3, 20_000]),
    (Rows::Groups(1), &[3, 4]),
    (Rows::Groups(2), &[0, 4, 3]),
    (Rows::Groups(1), &[0, 2, 4, 5]),
    (Rows::Groups(2), &[70, 16]),
    (Rows::Groups(4), &[3, 4, 5]),
    (Rows::Groups(2), &[3, 6, 2, 2]),
    (Rows::Groups(3), &[2, 24, 7, 7]),
    (Rows::Groups(3), &[5, 6, 14, 14]),
    (Rows::Groups(1), &[2, 5, 100, 100]),
    (Rows::Groups(5), &[2, 5, 160, 160]),
];

/// Shapes of gamma and beta for operands that fit.
pub(crate) fn affine_shape(rows: Rows, shape: &[usize]) -> Vec<usize> {
    rows.affine(Shape::new(shape)).dims().to_vec()
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let of = |rows: Rows, affine: Affine, activation: Activation, shape: &[usize]| {
        let c = affine_shape(rows, shape);
        let shapes: Vec<&[usize]> = match affine {
            Affine::None => vec![shape],
            Affine::Vectors => vec![shape, &c, &c],
        };
        Case::new(RowNorm { rows, affine, activation }, &shapes).scalars(&[Scalar::F(1e-5)])
    };
    let affine = |rows, shape: &[usize]| of(rows, Affine::Vectors, Activation::None, shape);
    let plain = |rows, shape: &[usize]| of(rows, Affine::None, Activation::None, shape);
    let relu = |rows, shape: &[usize]| of(rows, Affine::Vectors, Activation::Relu, shape);
    let mut cases = vec![
        plain(Rows::LastAxes(1), &[4, 3]).with_gradient(),
        affine(Rows::LastAxes(1), &[2, 3, 5]).with_gradient(),
        affine(Rows::LastAxes(2), &[3, 4, 2]).with_gradient(),
        affine(Rows::Groups(2), &[2, 4, 2, 3]).with_gradient(),
        affine(Rows::Groups(3), &[2, 3, 4]).with_gradient(),
        plain(Rows::Groups(1), &[3, 4]).with_gradient(),
    ];
    cases.extend(CASES.iter().map(|&(rows, shape)| affine(rows, shape)));
    for &(rows, shape) in &CASES[3..6] {
        cases.push(plain(rows, shape));
        cases.push(relu(rows, shape));
    }
    cases.push(plain(Rows::LastAxes(1), &[5, 1032]));
    cases.push(relu(Rows::LastAxes(1), &[5, 1032]));
    cases.push(plain(Rows::Groups(3), &[2, 24, 7, 7]));
    cases.push(relu(Rows::Groups(3), &[2, 24, 7, 7]));
    let large = Fill::Normal { mean: 1e4, std: 1.0 };
    for (rows, shape) in [(Rows::LastAxes(1), &[64usize, 96][..]), (Rows::Groups(2), &[3, 6, 10, 10])] {
        cases.push(affine(rows, shape).input(0, Spec::f32(shape), large));
    }
    cases
}
