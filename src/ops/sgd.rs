//! Stochastic gradient descent: g' = clip(g) + weight_decay·w; m ← momentum·m + share·g';
//! w ← w - lr·g', w - lr·m or w - lr·(g' + momentum·m) (Nesterov).
//!
//! | tensor | shape |
//! |---|---|
//! | w (updated) | `[n]` |
//! | g | `[n]` |
//! | m (updated, with momentum) | `[n]` |
//! | factor (when clipped by norm) | `[]` |
//!
//! Sutskever et al., On the importance of initialization and momentum in deep learning, 2013, in PyTorch's form: the
//! learning rate multiplies the whole momentum, and the first gradient enters it in full, later ones times
//! 1 - dampening. `share` is that factor. Scalars: bound, lr, weight_decay, momentum, share.

use super::clip_grad::Clipping;
use crate::kernel::{Bind, Candidate, Target};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Scalar, Tolerance};
use crate::shape::Spec;
use crate::tensor::Tensor;

crate::kernel! {
    /// Four elements per thread.
    mod vec4 = "shaders/sgd/vec4.wgsl";
    params { n: u32, bound: f32, lr: f32, weight_decay: f32, momentum: f32, share: f32 }
    bind { gradient: Read, factor: Read, weight: ReadWrite, momentum: ReadWrite }
}

/// What becomes of earlier gradients. The number is the value of the kernel's constant `MOMENTUM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Momentum {
    /// They are forgotten.
    None = 0,
    /// The update is their decaying sum.
    Classic = 1,
    /// The update looks one step ahead.
    Nesterov = 2,
}

/// One step of stochastic gradient descent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sgd {
    /// What becomes of earlier gradients.
    pub momentum: Momentum,
    /// How gradients are clipped.
    pub clipping: Clipping,
}

impl Op for Sgd {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        self.clipping.check(inputs, (self.momentum != Momentum::None) as usize)
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let [bound, lr, weight_decay, momentum, share] = io.scalars[..] else { unreachable!("five scalars") };
        let factor = if self.clipping == Clipping::Factor { io.inputs[io.inputs.len() - 1].data[0] } else { 1.0 };
        let (w, m) = io.updated.split_at_mut(1);
        for (i, (w, &g)) in w[0].data.iter_mut().zip(io.inputs[1].data).enumerate() {
            let mut g = self.clipping.apply(g, bound, factor) + weight_decay * *w;
            if self.momentum != Momentum::None {
                let m = &mut m[0].data[i];
                *m = momentum * *m + share * g;
                g = if self.momentum == Momentum::Nesterov { g + momentum * *m } else { *m };
            }
            *w -= lr * g;
        }
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None; g.inputs.len()]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let n = io.inputs[0].elements();
        let zero = vec4::Params { n: n as u32, bound: 0.0, lr: 0.0, weight_decay: 0.0, momentum: 0.0, share: 0.0 };
        let mut candidate = Candidate::new("vec4");
        let mut momentum = Bind::Input(2);
        if self.momentum == Momentum::None {
            candidate = candidate.scratch(crate::shape::ALIGN);
            momentum = Bind::Scratch(0);
        }
        let dispatch = vec4::dispatch(zero)
            .constant("MOMENTUM", self.momentum as u32)
            .constant("CLIP", self.clipping as u32)
            .scalar("bound", 0)
            .scalar("lr", 1)
            .scalar("weight_decay", 2)
            .scalar("momentum", 3)
            .scalar("share", 4)
            .bind(&[Bind::Input(1), self.clipping.bind(io.inputs.len()), Bind::Input(0), momentum])
            .groups(n.div_ceil(256) as u64);
        vec![candidate.dispatch(dispatch)]
    }

    fn updates(&self) -> &[usize] {
        match self.momentum {
            Momentum::None => &[0],
            _ => &[0, 2],
        }
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        // Half a dozen roundings of values no larger than the largest gradient or weight.
        Tolerance::OfMax(6.0 * 2f64.powi(-24))
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        let n = io.inputs[0].elements() as u64;
        Cost { flops: 8 * n, bytes: io.bytes() + self.updates().len() as u64 * io.inputs[0].bytes() }
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for momentum in [Momentum::None, Momentum::Classic, Momentum::Nesterov] {
        for clipping in [Clipping::None, Clipping::Factor, Clipping::Value] {
            let sizes: &[usize] = if clipping == Clipping::None { &[0, 1, 5, 64, 1031, 70_001] } else { &[7, 130] };
            for &n in sizes {
                let mut shapes: Vec<&[usize]> = Vec::new();
                let flat = [n];
                shapes.resize(2 + (momentum != Momentum::None) as usize, &flat);
                shapes.extend((clipping == Clipping::Factor).then_some(&[][..]));
                let case = Case::new(Sgd { momentum, clipping }, &shapes).fill(Fill::Normal { mean: 0.0, std: 1.0 });
                cases.push(case.scalars(&[0.7, 0.1, 0.01, 0.9, 0.5].map(Scalar::F)));
            }
        }
    }
    cases
}
