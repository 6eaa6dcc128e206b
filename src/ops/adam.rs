//! Adam and AdamW: g' = clip(g) + weight_decay·w; m ← m + (1 - β1)·(g' - m); v ← β2·v + (1 - β2)·g'²;
//! w ← w - decay·w - step_size·m / (√v·correction2 + eps), with v's largest value so far in place of v for AMSGrad.
//!
//! | tensor | shape |
//! |---|---|
//! | w (updated) | `[n]` |
//! | g | `[n]` |
//! | m, v (updated) | `[n]` |
//! | largest v (updated, for AMSGrad) | `[n]` |
//! | factor (when clipped by norm) | `[]` |
//!
//! Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015 (arXiv 1412.6980); Loshchilov and Hutter, Decoupled
//! Weight Decay Regularization, 2019 (arXiv 1711.05101); Reddi et al., On the Convergence of Adam and Beyond, 2018 (arXiv
//! 1904.09237). The corrections of step t come from the host: step_size = lr / (1 - β1^t), correction2 = 1 / √(1 - β2^t).
//! Scalars: bound, step_size, eps, 1 - β1, β2, 1 - β2, correction2, weight_decay, decay.

use super::clip_grad::Clipping;
use crate::kernel::{Bind, Candidate, Target};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Scalar, Tolerance};
use crate::shape::Spec;
use crate::tensor::Tensor;

crate::kernel! {
    /// Four elements per thread.
    mod vec4 = "shaders/adam/vec4.wgsl";
    params {
        n: u32, bound: f32, step_size: f32, eps: f32, share1: f32, beta2: f32, share2: f32, correction2: f32,
        weight_decay: f32, decay: f32,
    }
    bind {
        gradient: Read, factor: Read, weight: ReadWrite, first: ReadWrite, second: ReadWrite, largest: ReadWrite,
    }
}

/// Which second moment scales the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecondMoment {
    /// The present one.
    Present,
    /// The largest so far: AMSGrad.
    Largest,
}

/// One step of Adam or AdamW; they differ in their scalars.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Adam {
    /// Which second moment scales the step.
    pub second_moment: SecondMoment,
    /// How gradients are clipped.
    pub clipping: Clipping,
}

/// The least that a step is divided by: keeps 0 / 0 from spreading where eps is 0.
pub(super) const FLOOR: f64 = f32::MIN_POSITIVE as f64;

impl Op for Adam {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        self.clipping.check(inputs, self.updates().len() - 1)
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let [bound, step_size, eps, share1, beta2, share2, correction2, weight_decay, decay] = io.scalars[..] else {
            unreachable!("nine scalars")
        };
        let factor = if self.clipping == Clipping::Factor { io.inputs[io.inputs.len() - 1].data[0] } else { 1.0 };
        let [w, m, v, largest @ ..] = &mut io.updated[..] else { unreachable!("three updated operands or more") };
        for i in 0..w.data.len() {
            let g = self.clipping.apply(io.inputs[1].data[i], bound, factor) + weight_decay * w.data[i];
            m.data[i] += share1 * (g - m.data[i]);
            v.data[i] = beta2 * v.data[i] + share2 * g * g;
            let mut second = v.data[i];
            if let Some(largest) = largest.first_mut() {
                largest.data[i] = largest.data[i].max(second);
                second = largest.data[i];
            }
            let scale = (second.sqrt() * correction2 + eps).max(FLOOR);
            w.data[i] -= decay * w.data[i] + step_size * m.data[i] / scale;
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
            step_size: 0.0,
            eps: 0.0,
            share1: 0.0,
            beta2: 0.0,
            share2: 0.0,
            correction2: 0.0,
            weight_decay: 0.0,
            decay: 0.0,
        };
        let amsgrad = self.second_moment == SecondMoment::Largest;
        let mut candidate = Candidate::new("vec4");
        let mut largest = Bind::Input(4);
        if !amsgrad {
            candidate = candidate.scratch(crate::shape::ALIGN);
            largest = Bind::Scratch(0);
        }
        let factor = self.clipping.bind(io.inputs.len());
        let mut dispatch = vec4::dispatch(params)
            .constant("AMSGRAD", amsgrad)
            .constant("CLIP", self.clipping as u32)
            .bind(&[Bind::Input(1), factor, Bind::Input(0), Bind::Input(2), Bind::Input(3), largest])
            .groups(n.div_ceil(256) as u64);
        let names =
            ["bound", "step_size", "eps", "share1", "beta2", "share2", "correction2", "weight_decay", "decay"];
        for (index, name) in names.into_iter().enumerate() {
            dispatch = dispatch.scalar(name, index);
        }
        vec![candidate.dispatch(dispatch)]
    }

    fn updates(&self) -> &[usize] {
        match self.second_moment {
            SecondMoment::Present => &[0, 2, 3],
            SecondMoment::Largest => &[0, 2, 3, 4],
        }
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        // WGSL grants a root and a quotient 2.5 units each; the rest are single roundings.
        Tolerance::OfMax(16.0 * 2f64.powi(-24))
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        let n = io.inputs[0].elements() as u64;
        Cost { flops: 16 * n, bytes: io.bytes() + self.updates().len() as u64 * io.inputs[0].bytes() }
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for second_moment in [SecondMoment::Present, SecondMoment::Largest] {
        for clipping in [Clipping::None, Clipping::Factor, Clipping::Value] {
            let sizes: &[usize] = if clipping == Clipping::None { &[0, 1, 5, 64, 1031, 70_001] } else { &[7, 130] };
            for &n in sizes {
                let op = Adam { second_moment, clipping };
                let flat = [n];
                let mut shapes: Vec<&[usize]> = vec![&flat; op.updates().len() + 1];
                shapes.extend((clipping == Clipping::Factor).then_some(&[][..]));
                let mut case = Case::new(op, &shapes);
                // Second moments are not negative.
                for state in 3..=*case.op.updates().last().unwrap_or(&3) {
                    case = case.input(state, Spec::f32(flat), Fill::Uniform { low: 0.0, high: 1.0 });
                }
                let scalars = [0.7, 0.01, 1e-8, 0.1, 0.999, 0.001, 3.0, 0.01, 1e-4];
                cases.push(case.scalars(&scalars.map(Scalar::F)));
            }
        }
    }
    cases
}
