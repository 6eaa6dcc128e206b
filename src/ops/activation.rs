//! Activations as chains of element-wise functions: fused into one kernel where they are used, and so are their gradients.
//!
//! Derivatives at kinks are PyTorch's.

use crate::ops::elementwise::{Operand, call};
use crate::pointwise::Function;
use crate::tensor::Tensor;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

/// `yes` where `condition` > 0, else `no`.
#[track_caller]
pub(crate) fn choose(condition: &Tensor, yes: impl Into<Operand>, no: impl Into<Operand>) -> Tensor {
    call(Function::Where, &[condition.into(), yes.into(), no.into()])
}

/// How [`Tensor::gelu`] is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Gelu {
    /// By the error function.
    #[default]
    Erf,
    /// By the hyperbolic tangent of a cubic: within 5e-4 of the other.
    Tanh,
}

impl Tensor {
    /// x where x > 0, else slope·x. (PyTorch's `leaky_relu`; Maas et al. 2013.)
    ///
    /// # Panics
    /// When the tensor is not f32.
    #[track_caller]
    pub fn leaky_relu(&self, slope: f64) -> Tensor {
        choose(self, self, self.mul_scalar(slope))
    }

    /// x where x > 0, else alpha·(exp(x) - 1). (PyTorch's `elu`; Clevert et al. 2015, arXiv 1511.07289.)
    ///
    /// # Panics
    /// When the tensor is not f32.
    #[track_caller]
    pub fn elu(&self, alpha: f64) -> Tensor {
        // What is not chosen must not overflow: infinity times 0 would be its gradient.
        let negative = choose(self, 0.0, self);
        choose(self, self, negative.expm1().mul_scalar(alpha))
    }

    /// x·Φ(x), where Φ is the standard normal distribution function. (PyTorch's `gelu`; Hendrycks and Gimpel 2016, arXiv
    /// 1606.08415.)
    ///
    /// # Panics
    /// When the tensor is not f32.
    #[track_caller]
    pub fn gelu(&self, by: Gelu) -> Tensor {
        match by {
            Gelu::Erf => self.mul_scalar(0.5).mul(&self.mul_scalar(-FRAC_1_SQRT_2).erfc()),
            // (1 + tanh(u)) / 2 is the sigmoid of 2u, which keeps its digits where it is small.
            Gelu::Tanh => {
                let cubic = self.square().mul_scalar(0.044715).add_scalar(1.0).mul(self);
                self.mul(&cubic.mul_scalar(2.0 * FRAC_2_PI.sqrt()).sigmoid())
            }
        }
    }

    /// x / (1 + exp(-x)), also called swish. (PyTorch's `silu`.)
    ///
    /// # Panics
    /// When the tensor is not f32.
    #[track_caller]
    pub fn silu(&self) -> Tensor {
        self.mul(&self.sigmoid())
    }

    /// log(1 + exp(x)), without overflow. (PyTorch's `softplus`.)
    ///
    /// # Panics
    /// When the tensor is not f32.
    #[track_caller]
    pub fn softplus(&self) -> Tensor {
        call(Function::Softplus, &[self.into()])
    }

    /// log(1 + exp(beta·x)) / beta, and x itself where beta·x > threshold. (PyTorch's `softplus(beta, threshold)`, whose
    /// defaults are 1 and 20.)
    ///
    /// # Panics
    /// When the tensor is not f32.
    #[track_caller]
    pub fn softplus_with(&self, beta: f64, threshold: f64) -> Tensor {
        let scaled = self.mul_scalar(beta);
        choose(&scaled.add_scalar(-threshold), self, scaled.softplus().mul_scalar(1.0 / beta))
    }

    /// x, but at least `low` and at most `high`; the gradient is 0 where it is either. (PyTorch's `hardtanh`.)
    ///
    /// # Panics
    /// When the tensor is not f32.
    #[track_caller]
    pub fn hardtanh(&self, low: f64, high: f64) -> Tensor {
        let below = choose(&(high - self), self, high);
        choose(&(self - low), below, low)
    }

    /// x, but at least 0 and at most 6; the gradient is 0 where it is either. (PyTorch's `relu6`.)
    ///
    /// # Panics
    /// When the tensor is not f32.
    #[track_caller]
    pub fn relu6(&self) -> Tensor {
        self.hardtanh(0.0, 6.0)
    }
}
