//! RMSprop: g' = clip(g) + weight_decay·w; s ← α·s + (1 - α)·g'²; a ← a + (1 - α)·(g' - a);
//! u = g' / (√s + eps), or g' / (√(s - a²) + eps) when centered; m ← momentum·m + u; w ← w - lr·m, or w - lr·u.
//!
//! | tensor | shape |
//! |---|---|
//! | w (updated) | `[n]` |
//! | g | `[n]` |
//! | s (updated) | `[n]` |
//! | a (updated, when centered) | `[n]` |
//! | m (updated, with momentum) | `[n]` |
//! | factor (when clipped by norm) | `[]` |
//!
//! Tieleman and Hinton, Lecture 6.5, COURSERA: Neural Networks for Machine Learning, 2012; centered: Graves, Generating
//! Sequences With Recurrent Neural Networks, 2013 (arXiv 1308.0850), in PyTorch's form with eps behind the root.
//! Scalars: bound, lr, weight_decay, α, 1 - α, eps, momentum.

use super::adam::FLOOR;
use super::clip_grad::Clipping;
use crate::kernel::{Bind, Candidate, Target};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Scalar, Tolerance};
use crate::shape::Spec;
use crate::tensor::Tensor;

crate::kernel! {
    /// Four elements per thread.
    mod vec4 = "shaders/rmsprop/vec4.wgsl";
    params {
        n: u32, bound: f32, lr: f32, weight_decay: f32, alpha: f32, share: f32, eps: f32, momentum: f32,
    }
    bind {
        gradient: Read, factor: Read, weight: ReadWrite, square: ReadWrite, mean: ReadWrite, momentum: ReadWrite,
    }
}

/// What the second moment is taken about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum About {
    /// Zero.
    Zero,
    /// The mean gradient: an estimate of the variance.
    Mean,
}

/// What becomes of earlier updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Earlier {
    /// They are forgotten.
    Forgotten,
    /// The update is their decaying sum.
    Summed,
}

/// One step of RMSprop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RmsProp {
    /// What the second moment is taken about.
    pub about: About,
    /// What becomes of earlier updates.
    pub earlier: Earlier,
    /// How gradients are clipped.
    pub clipping: Clipping,
}

impl Op for RmsProp {
    fn name(&self) -> &'static str {
        "rmsprop"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        self.clipping.check(inputs, self.updates().len() - 1)
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let [bound, lr, weight_decay, alpha, share, eps, momentum] = io.scalars[..] else {
            unreachable!("seven scalars")
        };
        let factor = if self.clipping == Clipping::Factor { io.inputs[io.inputs.len() - 1].data[0] } else { 1.0 };
        let [w, s, rest @ ..] = &mut io.updated[..] else { unreachable!("two updated operands or more") };
        let (mean, sum) = rest.split_at_mut((self.about == About::Mean) as usize);
        for i in 0..w.data.len() {
            let g = self.clipping.apply(io.inputs[1].data[i], bound, factor) + weight_decay * w.data[i];
            s.data[i] = alpha * s.data[i] + share * g * g;
            let mut variance = s.data[i];
            if let Some(mean) = mean.first_mut() {
                let a = &mut mean.data[i];
                *a += share * (g - *a);
                variance = (variance - *a * *a).max(0.0);
            }
            let mut step = g / (variance.sqrt() + eps).max(FLOOR);
            if let Some(sum) = sum.first_mut() {
                step += momentum * sum.data[i];
                sum.data[i] = step;
            }
            w.data[i] -= lr * step;
        }
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None; g.inputs.len()]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let n = io.inputs[0].elements();
        let params = vec4::Params {
            n: n as u32,
            bound: 0.0,
            lr: 0.0,
            weight_decay: 0.0,
            alpha: 0.0,
            share: 0.0,
            eps: 0.0,
            momentum: 0.0,
        };
        let mut candidate = Candidate::new("vec4");
        let mut next = 3;
        // States come one after the other; scratch stands in for those that there are not.
        let mut state = |present: bool| {
            if present {
                next += 1;
                return Bind::Input(next - 1);
            }
            let scratch = Bind::Scratch(candidate.scratch.len());
            candidate.scratch.push(crate::shape::ALIGN);
            scratch
        };
        let (centered, summed) = (self.about == About::Mean, self.earlier == Earlier::Summed);
        let (mean, momentum) = (state(centered), state(summed));
        let factor = self.clipping.bind(io.inputs.len());
        let mut dispatch = vec4::dispatch(params)
            .constant("CENTERED", centered)
            .constant("MOMENTUM", summed)
            .constant("CLIP", self.clipping as u32)
            .bind(&[Bind::Input(1), factor, Bind::Input(0), Bind::Input(2), mean, momentum])
            .groups(n.div_ceil(256) as u64);
        let names = ["bound", "lr", "weight_decay", "alpha", "share", "eps", "momentum"];
        for (index, name) in names.into_iter().enumerate() {
            dispatch = dispatch.scalar(name, index);
        }
        vec![candidate.dispatch(dispatch)]
    }

    fn updates(&self) -> &[usize] {
        match (self.about, self.earlier) {
            (About::Zero, Earlier::Forgotten) => &[0, 2],
            (About::Mean, Earlier::Summed) => &[0, 2, 3, 4],
            _ => &[0, 2, 3],
        }
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        // WGSL grants a root and a quotient 2.5 units each, and the variance loses bits where s and a² are close.
        match self.about {
            About::Zero => Tolerance::OfMax(16.0 * 2f64.powi(-24)),
            About::Mean => Tolerance::OfMax(64.0 * 2f64.powi(-24)),
        }
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        let n = io.inputs[0].elements() as u64;
        Cost { flops: 16 * n, bytes: io.bytes() + self.updates().len() as u64 * io.inputs[0].bytes() }
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for about in [About::Zero, About::Mean] {
        for earlier in [Earlier::Forgotten, Earlier::Summed] {
            for clipping in [Clipping::None, Clipping::Factor, Clipping::Value] {
                let sizes: &[usize] = if clipping == Clipping::None { &[0, 1, 5, 64, 1031, 70_001] } else { &[7, 130] };
                for &n in sizes {
                    let op = RmsProp { about, earlier, clipping };
                    let flat = [n];
                    let mut shapes: Vec<&[usize]> = vec![&flat; op.updates().len() + 1];
                    shapes.extend((clipping == Clipping::Factor).then_some(&[][..]));
                    let mut case = Case::new(op, &shapes);
                    // Second moments are not negative, and not below the square of the mean.
                    case = case.input(2, Spec::f32(flat), Fill::Uniform { low: 1.0, high: 2.0 });
                    if about == About::Mean {
                        case = case.input(3, Spec::f32(flat), Fill::Uniform { low: -0.5, high: 0.5 });
                    }
                    cases.push(case.scalars(&[0.7, 0.01, 0.01, 0.9, 0.1, 1e-8, 0.9].map(Scalar::F)));
                }
            }
        }
    }
    cases
}
