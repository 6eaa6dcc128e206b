//! Norms of gradients, for clipping them.
//!
//! `grad_norm`: `partial[j] = Σ |x[i]|^p` over the elements i that belong to j (`max |x[i]|` for p = ∞).
//! `clip_factor`: `norm = (Σ partial[j])^(1/p)`, `factor = min(1, max_norm / (norm + 1e-6))`.
//!
//! | tensor | shape |
//! |---|---|
//! | x | any |
//! | partial | `[partials(n)]`; `[m]` where those of several tensors are joined |
//! | norm, factor | `[]` |
//!
//! Pascanu et al., On the difficulty of training recurrent neural networks, 2013 (arXiv 1211.5063), with PyTorch's
//! `clip_grad_norm_` for the constant. Which elements form a partial result depends on the number of elements alone, so the
//! norm is the same bits at every run. Optimisers multiply by the factor when they read a gradient; the gradients
//! themselves stay as they are.

use crate::kernel::{Bind, Candidate, Dispatch, Target};
use crate::op::{Case, Expected, Fill, GradIo, Io, Op, RefIo, Scalar, Tolerance, expected};
use crate::shape::{DType, Spec};
use crate::tensor::Tensor;

crate::kernel! {
    /// Each thread sums a strided set of fours, each workgroup its threads.
    mod partial = "shaders/clip_grad/partial.wgsl";
    params { n: u32, groups: u32, power: f32 }
    bind { x: Read, partial: ReadWrite }
}

crate::kernel! {
    /// One workgroup joins the partial results.
    mod factor = "shaders/clip_grad/factor.wgsl";
    params { n: u32, power: f32, max_norm: f32 }
    bind { partial: Read, norm: ReadWrite, factor: ReadWrite }
}

/// Threads per workgroup of both kernels.
const WORKGROUP: usize = 64;
/// Elements per workgroup, until there are as many groups as there can be.
const PER_GROUP: usize = 4096;
/// More groups would only make the second kernel's work longer.
const MAX_PARTIALS: usize = 1024;

/// Which norm is taken. The number is the value of the kernels' constant `NORM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Norm {
    /// Σ|x|
    One = 1,
    /// √Σx²
    Two = 2,
    /// max|x|
    Max = 0,
    /// (Σ|x|^p)^(1/p); p is a scalar.
    Power = 3,
}

impl Norm {
    /// The norm with exponent `p`, and the exponent as the ops' scalar.
    pub fn of(p: f64) -> (Norm, f64) {
        match p {
            1.0 => (Norm::One, 1.0),
            2.0 => (Norm::Two, 2.0),
            f64::INFINITY => (Norm::Max, 1.0),
            p => (Norm::Power, p),
        }
    }

    fn term(self, x: f64, p: f64) -> f64 {
        match self {
            Norm::One | Norm::Max => x.abs(),
            Norm::Two => x * x,
            Norm::Power => x.abs().powf(p),
        }
    }

    fn join(self, a: f64, b: f64) -> f64 {
        match self {
            Norm::Max => a.max(b),
            _ => a + b,
        }
    }

    fn root(self, sum: f64, p: f64) -> f64 {
        match self {
            Norm::One | Norm::Max => sum,
            Norm::Two => sum.sqrt(),
            Norm::Power => sum.powf(1.0 / p),
        }
    }
}

/// How an optimiser treats gradients as it reads them. The number is the value of its kernel's constant `CLIP`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Clipping {
    /// Takes them as they are.
    #[default]
    None = 0,
    /// Multiplies by a factor, the op's last operand.
    Factor = 1,
    /// Cuts at ± the op's first scalar.
    Value = 2,
}

impl Clipping {
    /// The gradient as the update sees it.
    pub(super) fn apply(self, g: f64, bound: f64, factor: f64) -> f64 {
        match self {
            Clipping::None => g,
            Clipping::Factor => g * factor,
            Clipping::Value => g.clamp(-bound, bound),
        }
    }

    /// Checks an optimiser's operands: equally long f32 tensors `1 + 1 + states`, and a factor.
    pub(super) fn check(self, inputs: &[Spec], states: usize) -> Result<Vec<Spec>, Expected> {
        let flat = 2 + states;
        let count = flat + (self == Clipping::Factor) as usize;
        let fits = inputs.len() == count
            && inputs.iter().all(|s| s.dtype == DType::F32)
            && inputs[..flat].iter().all(|s| s.shape == inputs[0].shape)
            && inputs[flat..].iter().all(|s| s.elements() == 1);
        match fits {
            true => Ok(Vec::new()),
            false => expected(format!(
                "parameter, gradient and {states} states of one shape{}, all f32",
                if self == Clipping::Factor { ", and one factor" } else { "" }
            )),
        }
    }

    /// The buffer that the kernel's factor is read from: the gradient where there is none, and nothing is read.
    pub(super) fn bind(self, inputs: usize) -> Bind {
        Bind::Input(if self == Clipping::Factor { inputs - 1 } else { 1 })
    }
}

/// Partial norms of one tensor. Scalar: the exponent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GradNorm {
    /// Which norm.
    pub norm: Norm,
}

/// Workgroups that share the work on `n` elements.
pub(super) fn partials(n: usize) -> usize {
    n.div_ceil(PER_GROUP).clamp(1, MAX_PARTIALS)
}

impl Op for GradNorm {
    fn name(&self) -> &'static str {
        "grad_norm"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        match inputs {
            [x] if x.dtype == DType::F32 => Ok(vec![Spec::f32([partials(x.elements())])]),
            _ => expected("one f32 operand"),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (x, p) = (io.inputs[0].data, io.scalars[0]);
        let out = &mut io.outputs[0].data;
        let count = out.len();
        // The kernels' share of the work: fours, dealt out to all threads in turn.
        out.fill(0.0);
        for (i, &v) in x.iter().enumerate() {
            let group = i / 4 / WORKGROUP % count;
            out[group] = self.norm.join(out[group], self.norm.term(v, p));
        }
    }

    fn grad(&self, _: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let (n, groups) = (io.inputs[0].elements(), io.outputs[0].elements());
        let params = partial::Params { n: n as u32, groups: groups as u32, power: 0.0 };
        let dispatch = partial::dispatch(params)
            .constant("NORM", self.norm as u32)
            .scalar("power", 0)
            .bind(&[Bind::Input(0), Bind::Output(0)])
            .groups(groups as u64)
            .trips((n.div_ceil(4 * WORKGROUP * groups) + 6) as u64);
        vec![Candidate::new("strided").dispatch(dispatch)]
    }

    fn tolerance(&self, io: Io<'_>, _: usize) -> Tolerance {
        tolerance(self.norm, io.inputs[0].elements())
    }
}

/// Powers are formed by logarithm and exponential, which lose as many bits as the exponent has.
fn tolerance(norm: Norm, n: usize) -> Tolerance {
    match norm {
        Norm::Max => Tolerance::Exact,
        Norm::One | Norm::Two => Tolerance::Sum { n: n.max(1) },
        Norm::Power => Tolerance::OfMax(2e-5),
    }
}

/// The norm of partial results, and the factor that brings it down. Scalars: the exponent, the largest norm.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClipFactor {
    /// Which norm.
    pub norm: Norm,
}

impl Op for ClipFactor {
    fn name(&self) -> &'static str {
        "clip_factor"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        match inputs {
            [p] if p.dtype == DType::F32 && p.shape.rank() == 1 => Ok(vec![Spec::f32(()), Spec::f32(())]),
            _ => expected("partial norms [m], f32"),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (p, max_norm) = (io.scalars[0], io.scalars[1]);
        let sum = io.inputs[0].data.iter().fold(0.0, |a, &b| self.norm.join(a, b));
        let norm = self.norm.root(sum, p);
        io.outputs[0].data[0] = norm;
        io.outputs[1].data[0] = (max_norm / (norm + 1e-6)).min(1.0);
    }

    fn grad(&self, _: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let n = io.inputs[0].elements();
        let dispatch: Dispatch = factor::dispatch(factor::Params { n: n as u32, power: 0.0, max_norm: 0.0 })
            .constant("NORM", self.norm as u32)
            .scalar("power", 0)
            .scalar("max_norm", 1)
            .bind(&[Bind::Input(0), Bind::Output(0), Bind::Output(1)])
            .groups(1)
            .trips((n.div_ceil(WORKGROUP) + 6) as u64);
        vec![Candidate::new("one_group").dispatch(dispatch)]
    }

    fn tolerance(&self, io: Io<'_>, _: usize) -> Tolerance {
        // The norm is a sum of its own absolute terms, so relative errors bound all of it.
        let n = io.inputs[0].elements().max(2) as f64;
        match self.norm {
            Norm::Power => Tolerance::OfMax(2e-5),
            _ => Tolerance::OfMax((n.log2() + 12.0) * 2f64.powi(-24)),
        }
    }
}

/// Total norm and factor of several tensors together, as tensors without axes.
pub(crate) fn clip_factor(tensors: &[Tensor], max_norm: f64, norm_type: f64) -> (Tensor, Tensor) {
    let (norm, p) = Norm::of(norm_type);
    let partials: Vec<Tensor> =
        tensors.iter().map(|t| Tensor::apply1(GradNorm { norm }, &[t], &[Scalar::F(p)])).collect();
    let joined = match &partials[..] {
        [one] => one.clone(),
        many => Tensor::concat(&many.iter().collect::<Vec<_>>(), 0),
    };
    let mut results = Tensor::apply(ClipFactor { norm }, &[&joined], &[Scalar::F(p), Scalar::F(max_norm)]);
    let factor = results.remove(1);
    (results.remove(0), factor)
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (norm, p) in [(Norm::One, 1.0), (Norm::Two, 2.0), (Norm::Max, 1.0), (Norm::Power, 3.5)] {
        for n in [0, 1, 3, 257, 4096, 20_011] {
            cases.push(Case::new(GradNorm { norm }, &[&[n]]).scalars(&[Scalar::F(p)]));
        }
        for (n, max_norm) in [(0, 1.0), (1, 0.1), (2, 1e6), (63, 1.0), (1024, 0.5)] {
            let case = Case::new(ClipFactor { norm }, &[&[n]]).fill(Fill::Uniform { low: 0.0, high: 2.0 });
            cases.push(case.scalars(&[Scalar::F(p), Scalar::F(max_norm)]));
        }
    }
    cases.push(Case::new(GradNorm { norm: Norm::Two }, &[&[3, 1_500_001]]).scalars(&[Scalar::F(2.0)]));
    cases
}
