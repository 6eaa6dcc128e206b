//! Matrix product, batched: `C[b] = f(A[b]·B[b] + bias)`.
//!
//! | tensor | shape |
//! |---|---|
//! | A | `[.., M, K]`, or `[.., K, M]` with [`Layout::Transposed`] |
//! | B | `[.., K, N]`, or `[.., N, K]` with [`Layout::Transposed`] |
//! | bias, with [`Bias::Columns`] | `[N]` |
//! | C | `[.., M, N]` |
//!
//! The axes before the last two are the batch. They are equal, or those of one operand have one element, which then
//! serves every batch. Transposed operands are read where they lie. `f` is an [`Activation`].

mod gemv;
mod wide;
mod workgroup_tile;

pub(in crate::ops) use wide::{OctetTile, octet_tiles, pack, pack_panels, subgroup8, subgroup8_quads};
use wide::Wide;

use crate::kernel::{Bind, Candidate, Dispatch, MAX_TRIPS, Needs, Target, TargetClass};
use crate::op::{Activation, Case, Cost, Expected, Fill, Follow, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::shape::{ALIGN, DType, Shape, Spec};
use crate::tensor::Tensor;
use std::sync::Arc;

/// How a matrix operand is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Rows of the operand are rows in memory.
    #[default]
    AsIs,
    /// The stored matrix is the operand's transpose.
    Transposed,
}

impl Layout {
    /// The layout under which the same memory is the operand's transpose.
    pub fn flipped(self) -> Self {
        match self {
            Layout::AsIs => Layout::Transposed,
            Layout::Transposed => Layout::AsIs,
        }
    }

    /// `(rows, columns)` of the operand, from its stored shape.
    fn size(self, stored: Shape) -> (usize, usize) {
        let (r, c) = (stored[stored.rank() - 2], stored[stored.rank() - 1]);
        match self {
            Layout::AsIs => (r, c),
            Layout::Transposed => (c, r),
        }
    }

    /// Strides along the operand's rows and columns.
    fn strides(self, rows: usize, columns: usize) -> (usize, usize) {
        match self {
            Layout::AsIs => (columns, 1),
            Layout::Transposed => (1, rows),
        }
    }
}

/// What is added to a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Bias {
    /// Nothing.
    #[default]
    None,
    /// A third input `[N]`, to every row.
    Columns,
}

/// The product of two (batches of) matrices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Matmul {
    /// How A is stored.
    pub a: Layout,
    /// How B is stored.
    pub b: Layout,
    /// What is added.
    pub bias: Bias,
    /// What is applied last.
    pub activation: Activation,
}

/// Sizes of one product; the batch strides are 0 for an operand that serves every batch.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    a_batch: usize,
    b_batch: usize,
}

impl Matmul {
    fn sizes(&self, a: Shape, b: Shape) -> Result<(Sizes, Shape), Expected> {
        if a.rank() < 2 || b.rank() < 2 {
            return expected("matrices: operands of at least two axes");
        }
        let ((m, k), (k2, n)) = (self.a.size(a), self.b.size(b));
        if k != k2 {
            return expected(format!("equal inner lengths, got {k} and {k2}"));
        }
        let lead = |s: Shape| Shape::new(&s.dims()[..s.rank() - 2]);
        let (la, lb) = (lead(a), lead(b));
        let batch = match la.broadcast(lb) {
            Some(all) if [la, lb].iter().all(|l| l.elements() == all.elements() || l.elements() == 1) => all,
            _ => return expected("equal batch axes, or one operand without a batch"),
        };
        let step = |l: Shape, size: usize| if l.elements() == 1 && batch.elements() != 1 { 0 } else { size };
        let sizes =
            Sizes { batch: batch.elements(), m, n, k, a_batch: step(la, m * k), b_batch: step(lb, k * n) };
        Ok((sizes, Shape::new(&[batch.dims(), &[m, n]].concat())))
    }

    fn of(&self, io: &Io<'_>) -> Sizes {
        let sizes = self.sizes(io.inputs[0].shape, io.inputs[1].shape);
        sizes.expect("the shape rule has accepted these operands").0
    }
}

impl Op for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let operands = if self.bias == Bias::None { 2 } else { 3 };
        if inputs.len() != operands || inputs.iter().any(|i| i.dtype != DType::F32) {
            return expected(format!("{operands} operands of f32"));
        }
        let (sizes, shape) = self.sizes(inputs[0].shape, inputs[1].shape)?;
        if self.bias == Bias::Columns && inputs[2].elements() != sizes.n {
            return expected(format!("a bias of {} elements", sizes.n));
        }
        Ok(vec![Spec::f32(shape)])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (a, b) = (io.inputs[0], io.inputs[1]);
        let (s, _) = self.sizes(a.shape, b.shape).expect("the shape rule has accepted these operands");
        let ((am, ak), (bk, bn)) = (self.a.strides(s.m, s.k), self.b.strides(s.k, s.n));
        let bias = (self.bias == Bias::Columns).then(|| io.inputs[2].data);
        crate::parallel::rows(io.outputs[0].data, s.n, s.n * s.k, |row, c| {
            let (batch, m) = (row / s.m, row % s.m);
            match bias {
                Some(bias) => c.copy_from_slice(bias),
                None => c.fill(0.0),
            }
            for k in 0..s.k {
                let x = a.data[batch * s.a_batch + m * am + k * ak];
                let b0 = batch * s.b_batch + k * bk;
                c.iter_mut().enumerate().for_each(|(n, c)| *c += x * b.data[b0 + n * bn]);
            }
            c.iter_mut().for_each(|c| *c = self.activation.apply(*c));
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let (a, b) = (&g.inputs[0], &g.inputs[1]);
        let Some(dy) = &g.dy[0] else { return vec![None; g.inputs.len()] };
        let product = |a: &Tensor, la, b: &Tensor, lb| {
            Tensor::apply1(Matmul { a: la, b: lb, ..Matmul::default() }, &[a, b], &[])
        };
        let da = g.wants[0].then(|| match self.a {
            Layout::AsIs => product(dy, Layout::AsIs, b, self.b.flipped()),
            Layout::Transposed => product(b, self.b, dy, Layout::Transposed),
        });
        let db = g.wants[1].then(|| match self.b {
            Layout::AsIs => product(a, self.a.flipped(), dy, Layout::AsIs),
            Layout::Transposed => product(dy, Layout::Transposed, a, self.a),
        });
        vec![da.map(|d| fold_batch(d, a.shape())), db.map(|d| fold_batch(d, b.shape()))]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let s = self.of(&io);
        let octets = octet_tiles(s.m, s.batch * s.m * s.n * s.k);
        let octets = octets.into_iter().map(|t| self.wide(s, Wide::octets(s, t)).needs(Needs::SUBGROUP8));
        let octets: Vec<Candidate> = octets.collect();
        let quads = self.wide(s, Wide::quads(s));
        let (tile, base) = (self.workgroup_tile(s), self.register_tile(s));
        let small = s.batch * s.m * s.n * s.k <= SMALL;
        let mut all = match target.class {
            // A barrier costs software adapters more than what sharing saves.
            TargetClass::Software if small => [vec![base.clone()], octets, vec![quads, tile]].concat(),
            TargetClass::Software => [octets, vec![quads, tile]].concat(),
            TargetClass::Hardware => [vec![tile, quads], octets].concat(),
        };
        if let Some(gemv) = self.gemv(s) {
            all.insert(if target.class == TargetClass::Hardware { 0 } else { all.len() }, gemv);
        }
        all.push(base);
        all
    }

    fn absorb(&self, inputs: &[Spec], follow: Follow) -> Option<Arc<dyn Op>> {
        let (_, c) = self.sizes(inputs[0].shape, inputs[1].shape).ok()?;
        match follow {
            _ if self.activation != Activation::None => None,
            Follow::AddVector { axis } if self.bias == Bias::None && axis + 1 == c.rank() => {
                Some(Arc::new(Matmul { bias: Bias::Columns, ..*self }))
            }
            Follow::AddVector { .. } => None,
            Follow::Activate(activation) => Some(Arc::new(Matmul { activation, ..*self })),
        }
    }

    fn tolerance(&self, io: Io<'_>, _output: usize) -> Tolerance {
        // A bias is one more summand.
        let inner = self.of(&io).k + (self.bias == Bias::Columns) as usize;
        match self.activation {
            Activation::None | Activation::Relu => Tolerance::Product { inner },
            // Slopes are at most 1, and the errors of a sum about one unit for each summand.
            Activation::Sigmoid | Activation::Tanh => {
                Tolerance::Absolute((inner + 1) as f64 * 2f64.powi(-22))
            }
        }
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        let s = self.of(&io);
        Cost { flops: 2 * (s.batch * s.m * s.n) as u64 * s.k as u64, bytes: io.bytes() }
    }
}

/// Sums over the batch axes that `shape` does not have, or has as 1.
fn fold_batch(d: Tensor, shape: Shape) -> Tensor {
    if d.shape().elements() == shape.elements() {
        return d.reshape(shape);
    }
    let axes: Vec<usize> = (0..d.shape().rank() - 2).collect();
    d.sum(&axes).reshape(shape)
}

impl Tensor {
    /// The matrix product `self·other`: `[.., M, K]` and `[.., K, N]` give `[.., M, N]`. Axes before the last two
    /// are a batch: equal, or absent (or 1) in one operand. (PyTorch's `matmul` for matrices.)
    ///
    /// # Panics
    /// When the inner lengths or the batch axes differ, or an operand has fewer than two axes.
    #[track_caller]
    pub fn matmul(&self, other: &Tensor) -> Tensor {
        self.matmul_stored(Layout::AsIs, other, Layout::AsIs)
    }

    /// The matrix product of operands that may be stored transposed; nothing is copied.
    /// `x.matmul_stored(AsIs, &w, Transposed)` is a linear layer: `[.., I]` and `[O, I]` give `[.., O]`.
    ///
    /// # Panics
    /// As [`Tensor::matmul`].
    #[track_caller]
    pub fn matmul_stored(&self, a: Layout, other: &Tensor, b: Layout) -> Tensor {
        let op = Matmul { a, b, ..Matmul::default() };
        let (sa, sb) = (self.shape(), other.shape());
        // One matrix B for a whole batch: the batch is only more rows, and the gradient of B one product.
        if a == Layout::AsIs && sa.rank() > 2 && sb.rank() == 2 && sa[sa.rank() - 1] == b.size(sb).0 {
            let last = sa.rank() - 1;
            let flat = self.reshape([sa.span(0, last), sa[last]]);
            return Tensor::apply1(op, &[&flat, other], &[]).reshape(sa.with(last, b.size(sb).1));
        }
        Tensor::apply1(op, &[self, other], &[])
    }

    /// A linear layer: `[.., I]` with a weight `[O, I]` gives `x·Wᵀ + b`, `[.., O]`. (PyTorch's `functional.linear`.)
    ///
    /// # Panics
    /// As [`Tensor::matmul`], and when the bias is not `[O]`.
    #[track_caller]
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let shape = self.shape();
        let Some(bias) = bias else { return self.matmul_stored(Layout::AsIs, weight, Layout::Transposed) };
        let (rows, given) = (weight.shape(), bias.shape());
        assert!(
            rows.rank() == 2 && given == Shape::new(&[rows[0]]),
            "a linear layer takes a weight [O, I] and a bias [O], not {rows} and {given}"
        );
        if shape.rank() <= 2 {
            return self.matmul_stored(Layout::AsIs, weight, Layout::Transposed).add(bias);
        }
        // Added to rows, the bias is a part of the product.
        let last = shape.rank() - 1;
        let rows = self.reshape([shape.span(0, last), shape[last]]);
        let y = rows.matmul_stored(Layout::AsIs, weight, Layout::Transposed).add(bias);
        let columns = y.shape()[1];
        y.reshape(shape.with(last, columns))
    }
}

/// Below this many multiply-adds a product is one small dispatch whichever way it is done, and the base variant's
/// pipeline is the one that compiles fastest.
pub(in crate::ops) const SMALL: usize = 1 << 18;

crate::kernel! {
    /// An 8 x 8 tile per thread, any strides.
    mod register_tile = "shaders/matmul/register_tile.wgsl";
    params {
        batch: u32, m: u32, n: u32, k: u32, splits: u32, k_split: u32, tiles_m: u32, tiles_n: u32,
        a_m: u32, a_k: u32, a_batch: u32, b_k: u32, b_n: u32, b_batch: u32,
    }
    bind { a: Read, b: Read, bias: Read, c: ReadWrite }
}

crate::kernel! {
    /// Adds the parts of a split K.
    pub(in crate::ops) mod split_sum = "shaders/matmul/split_sum.wgsl";
    params { rows: u32, n: u32, pitch: u32, splits: u32 }
    bind { parts: Read, bias: Read, c: ReadWrite }
}

/// How K is cut into parts that are summed apart.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Split {
    pub splits: usize,
    pub length: usize,
}

/// Cuts `k` so that `workers` times the parts come near `wanted`, but no part gets shorter than `shortest` or longer
/// than `longest`. Parts start at multiples of `step`. Depends on sizes only, so results are the same everywhere.
pub(in crate::ops) fn split(
    k: usize,
    workers: usize,
    wanted: usize,
    shortest: usize,
    longest: usize,
    step: usize,
) -> Split {
    let for_balance = (wanted / workers.max(1)).min(k / shortest).max(1);
    let parts = for_balance.max(k.div_ceil(longest)).max(1);
    let length = k.div_ceil(parts).next_multiple_of(step).max(step);
    Split { splits: k.div_ceil(length).max(1), length }
}

impl Matmul {
    fn register_tile(&self, s: Sizes) -> Candidate {
        let (tiles_m, tiles_n) = (s.m.div_ceil(8), s.n.div_ceil(8));
        let threads = tiles_m * tiles_n * s.batch;
        let split = split(s.k, threads, 256, 128, MAX_TRIPS as usize - 8, 1);
        let ((a_m, a_k), (b_k, b_n)) = (self.a.strides(s.m, s.k), self.b.strides(s.k, s.n));
        let dispatch = register_tile::dispatch(register_tile::Params {
            batch: s.batch as u32,
            m: s.m as u32,
            n: s.n as u32,
            k: s.k as u32,
            splits: split.splits as u32,
            k_split: split.length as u32,
            tiles_m: tiles_m as u32,
            tiles_n: tiles_n as u32,
            a_m: a_m as u32,
            a_k: a_k as u32,
            a_batch: s.a_batch as u32,
            b_k: b_k as u32,
            b_n: b_n as u32,
            b_batch: s.b_batch as u32,
        })
        .groups((threads * split.splits).div_ceil(64) as u64)
        .trips(split.length as u64);
        self.in_parts(Candidate::new("register_tile"), s, split.splits, [0, 1], dispatch)
    }

    /// Gives `dispatch` its buffers: the kernel's A and B are `operands`. Where K is split it leaves copies of C, bare,
    /// and a second dispatch adds them.
    fn in_parts(
        &self,
        out: Candidate,
        s: Sizes,
        splits: usize,
        operands: [usize; 2],
        dispatch: Dispatch,
    ) -> Candidate {
        let bind = |c| [Bind::Input(operands[0]), Bind::Input(operands[1]), self.bias_bind(), c];
        if splits == 1 {
            return out.dispatch(self.finishing(dispatch).bind(&bind(Bind::Output(0))));
        }
        let sum = self.split_sum(s, splits, s.n, Bind::Scratch(0));
        let parts = padded(splits * s.batch * s.m * s.n);
        out.scratch(parts).dispatch(self.bare(dispatch).bind(&bind(Bind::Scratch(0)))).dispatch(sum)
    }

    fn split_sum(&self, s: Sizes, splits: usize, pitch: usize, parts: Bind) -> Dispatch {
        let rows = s.batch * s.m;
        let params = split_sum::Params {
            rows: rows as u32,
            n: s.n as u32,
            pitch: pitch as u32,
            splits: splits as u32,
        };
        self.finishing(split_sum::dispatch(params))
            .bind(&[parts, self.bias_bind(), Bind::Output(0)])
            .groups((rows * s.n).div_ceil(64) as u64)
            .trips(splits as u64)
    }

    /// Lets `dispatch`, which writes the result, add the bias and apply the activation.
    fn finishing(&self, dispatch: Dispatch) -> Dispatch {
        dispatch.constant("BIAS", self.bias == Bias::Columns).constant("ACTIVATION", self.activation as u32)
    }

    /// Lets `dispatch`, which writes parts of the result, leave them bare. (The constants' own values, but equal lists
    /// of constants share a pipeline.)
    fn bare(&self, dispatch: Dispatch) -> Dispatch {
        Matmul { bias: Bias::None, activation: Activation::None, ..*self }.finishing(dispatch)
    }

    fn bias_bind(&self) -> Bind {
        Bind::Input(if self.bias == Bias::Columns { 2 } else { 1 })
    }
}

/// Bytes of storage for so many floats.
pub(in crate::ops) fn padded(floats: usize) -> u64 {
    (4 * floats as u64).next_multiple_of(ALIGN)
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    use Layout::{AsIs, Transposed};
    let of = |a: Layout, b: Layout, lead: &[usize], [m, n, k]: [usize; 3]| {
        let (a_last, b_last) =
            (if a == AsIs { [m, k] } else { [k, m] }, if b == AsIs { [k, n] } else { [n, k] });
        let op = Matmul { a, b, ..Matmul::default() };
        Case::new(op, &[&[lead, &a_last].concat(), &[lead, &b_last].concat()])
    };
    let joined = |mut case: Case, activation, [m, n, k]: [usize; 3]| {
        case.op = Arc::new(Matmul { bias: Bias::Columns, activation, ..Matmul::default() });
        case.inputs = vec![
            (Spec::f32([m, k]), case.inputs[0].1),
            (Spec::f32([k, n]), case.inputs[1].1),
            (Spec::f32([n]), case.inputs[0].1),
        ];
        case
    };
    let layouts = [(AsIs, AsIs), (AsIs, Transposed), (Transposed, AsIs), (Transposed, Transposed)];
    let mut cases = Vec::new();
    for (a, b) in layouts {
        cases.push(of(a, b, &[], [3, 4, 5]).with_gradient());
        cases.push(of(a, b, &[2], [2, 3, 4]).with_gradient());
        for mnk in [
            [1, 1, 1],
            [0, 3, 4],
            [3, 0, 4],
            [3, 4, 0],
            [7, 11, 13],
            [8, 64, 8],
            [33, 65, 17],
            [40, 72, 24],
            [64, 128, 784],
            [67, 131, 97],
            [10, 10, 3001],
            [5, 300, 200],
            [300, 3, 203],
            [20, 260, 40],
            [260, 20, 40],
            [1, 1, 70_001],
            [128, 64, 256],
        ] {
            cases.push(of(a, b, &[], mnk));
        }
        cases.push(of(a, b, &[3, 2], [9, 20, 31]));
        cases.push(of(a, b, &[5], [16, 24, 32]));
        // Many large tiles, whole and not.
        cases.push(of(a, b, &[256], [128, 128, 8]));
        cases.push(of(a, b, &[256], [121, 123, 11]));
    }
    for activation in [Activation::None, Activation::Relu, Activation::Sigmoid, Activation::Tanh] {
        for mnk in [[1, 5, 3], [33, 70, 40], [64, 64, 600], [8, 12, 3000], [40, 7, 50]] {
            cases.push(joined(of(AsIs, AsIs, &[], mnk), activation, mnk));
        }
    }
    // B in panels: its rows are a power of two apart, and many rows of tiles read them.
    cases.push(of(AsIs, AsIs, &[], [130, 1024, 24]));
    cases.push(of(AsIs, AsIs, &[2], [128, 512, 40]));
    cases.push(Case::new(Matmul::default(), &[&[2, 520, 16], &[16, 512]]));
    // One operand serves every batch.
    let op = Matmul { a: AsIs, b: Transposed, ..Matmul::default() };
    cases.push(Case::new(op, &[&[3, 2, 4], &[5, 4]]).with_gradient());
    cases.push(Case::new(op, &[&[2, 4], &[3, 5, 4]]).with_gradient());
    cases.push(Case::new(op, &[&[1, 17, 24], &[3, 5, 24]]));
    cases.push(Case::new(op, &[&[4, 3, 10, 24], &[1, 1, 72, 24]]));
    // More tiles than one dimension of the grid can count.
    cases.push(Case::new(op, &[&[66_000, 1, 2], &[66_000, 3, 2]]));
    cases.push(of(AsIs, AsIs, &[], [3, 5, 40]).fill(Fill::Normal { mean: 1e4, std: 1.0 }));
    cases
}
