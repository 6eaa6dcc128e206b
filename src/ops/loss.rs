//! Losses between tensors of one shape, as chains of element-wise functions and one reduction. Gradients flow to both
//! operands, except where a method says otherwise.
//!
//! Losses of classes are [`cross_entropy`](crate::ops::cross_entropy) and [`nll_loss`](crate::ops::nll_loss).

use crate::ops::activation::choose;
use crate::ops::cross_entropy::Reduction;
use crate::ops::elementwise::call;
use crate::pointwise::Function;
use crate::tensor::Tensor;

impl Reduction {
    /// What becomes of `losses`.
    #[track_caller]
    fn of(self, losses: Tensor) -> Tensor {
        let axes: Vec<usize> = (0..losses.shape().rank()).collect();
        match self {
            Reduction::None => losses,
            Reduction::Sum => losses.sum(&axes),
            Reduction::Mean => losses.mean(&axes),
        }
    }
}

/// What binary cross-entropy takes besides its operands.
#[derive(Clone, Copy, Debug, Default)]
pub struct BinaryCrossEntropyConfig<'a> {
    /// A factor of each element's loss, of a shape that broadcasts to that of the operands.
    pub weight: Option<&'a Tensor>,
    /// A factor of the loss where the target is 1, of a shape that broadcasts to that of the operands.
    pub pos_weight: Option<&'a Tensor>,
    /// What becomes of the elements' losses.
    pub reduction: Reduction,
}

impl Tensor {
    #[track_caller]
    fn check_target(&self, target: &Tensor, loss: &str) {
        let (x, t) = (self.shape(), target.shape());
        assert!(x == t, "{loss}: an input of shape {x} and a target of shape {t} are not of one shape");
    }

    /// (x - target)². (PyTorch's `mse_loss`.)
    ///
    /// # Panics
    /// When the shapes differ, or a mean is asked of nothing.
    #[track_caller]
    pub fn mse_loss(&self, target: &Tensor, reduction: Reduction) -> Tensor {
        self.check_target(target, "mse_loss");
        reduction.of(self.sub(target).square())
    }

    /// |x - target|. (PyTorch's `l1_loss`.)
    ///
    /// # Panics
    /// When the shapes differ, or a mean is asked of nothing.
    #[track_caller]
    pub fn l1_loss(&self, target: &Tensor, reduction: Reduction) -> Tensor {
        self.check_target(target, "l1_loss");
        reduction.of(self.sub(target).abs())
    }

    /// With d = |x - target|: d² / (2·beta) where d < beta, else d - beta / 2. (PyTorch's `smooth_l1_loss`; Girshick 2015,
    /// arXiv 1504.08083.)
    ///
    /// # Panics
    /// When the shapes differ, `beta` is negative, or a mean is asked of nothing.
    #[track_caller]
    pub fn smooth_l1_loss(&self, target: &Tensor, beta: f64, reduction: Reduction) -> Tensor {
        assert!(beta >= 0.0, "smooth_l1_loss: a beta of {beta}");
        if beta == 0.0 {
            return self.l1_loss(target, reduction);
        }
        self.check_target(target, "smooth_l1_loss");
        reduction.of(self.huber(target, beta).mul_scalar(1.0 / beta))
    }

    /// With d = |x - target|: d² / 2 where d < delta, else delta·(d - delta / 2). (PyTorch's `huber_loss`; Huber 1964.)
    ///
    /// # Panics
    /// When the shapes differ, `delta` is not positive, or a mean is asked of nothing.
    #[track_caller]
    pub fn huber_loss(&self, target: &Tensor, delta: f64, reduction: Reduction) -> Tensor {
        assert!(delta > 0.0, "huber_loss: a delta of {delta}");
        self.check_target(target, "huber_loss");
        reduction.of(self.huber(target, delta))
    }

    /// m·(d - m / 2) with m = min(d, delta): both branches in one.
    #[track_caller]
    fn huber(&self, target: &Tensor, delta: f64) -> Tensor {
        let d = self.sub(target).abs();
        let m = choose(&(delta - &d), &d, delta);
        m.mul(&d.sub(&m.mul_scalar(0.5)))
    }

    /// Cross-entropy between probabilities `target` and those of these logits x: `-(target·log σ(x) + (1 - target)·log(1 -
    /// σ(x)))`, with σ the sigmoid, without overflow. No gradient flows to the weights. (PyTorch's `binary_cross_entropy_with_logits`.)
    ///
    /// # Panics
    /// When the shapes differ, a weight does not broadcast to them, or a mean is asked of nothing.
    #[track_caller]
    pub fn binary_cross_entropy_with_logits(
        &self,
        target: &Tensor,
        config: BinaryCrossEntropyConfig<'_>,
    ) -> Tensor {
        self.check_target(target, "binary_cross_entropy_with_logits");
        // -log σ(x) = softplus(-x), and -log(1 - σ(x)) is x more.
        let mut losses = self.neg().softplus();
        if let Some(weight) = config.pos_weight {
            losses = losses.mul(&weight.detach().add_scalar(-1.0).mul(target).add_scalar(1.0));
        }
        losses = losses.add(&(1.0 - target).mul(self));
        config.reduction.of(self.weighted(losses, config.weight))
    }

    /// Cross-entropy between probabilities `target` and these probabilities p: `-(target·log p + (1 - target)·log(1 - p))`,
    /// each logarithm at least -100. The gradient with respect to p is PyTorch's, finite at 0 and 1:
    /// `(p - target) / max(p·(1 - p), 1e-12)`. No gradient flows to the weight. (PyTorch's `binary_cross_entropy`.)
    ///
    /// # Panics
    /// When the shapes differ, the weight does not broadcast to them, or a mean is asked of nothing.
    #[track_caller]
    pub fn binary_cross_entropy(
        &self,
        target: &Tensor,
        weight: Option<&Tensor>,
        reduction: Reduction,
    ) -> Tensor {
        self.check_target(target, "binary_cross_entropy");
        let p = self.detach();
        let log = |v: &Tensor| call(Function::Max, &[choose(v, v.log(), -100.0).into(), (-100.0).into()]);
        let losses = -target.mul(&log(&p)).add(&(1.0 - target).mul(&log(&(1.0 - &p))));
        // What is added is 0, and carries the gradient that the detached value does not.
        let room = call(Function::Max, &[p.mul(&(1.0 - &p)).into(), 1e-12.into()]);
        let slope = p.sub(&target.detach()).div(&room);
        let losses = losses.add(&self.sub(&p).mul(&slope));
        reduction.of(self.weighted(losses, weight))
    }

    /// `losses` of this tensor's shape times `weight`.
    #[track_caller]
    fn weighted(&self, losses: Tensor, weight: Option<&Tensor>) -> Tensor {
        let losses = weight.map_or(losses.clone(), |w| losses.mul(&w.detach()));
        let (got, want) = (losses.shape(), self.shape());
        assert!(got == want, "binary cross-entropy: weights that make losses of shape {got} out of {want}");
        losses
    }
}
