//! Batch normalisation with its parameters and running statistics.

use super::Mode;
use crate::params::{Counter, Init, Param, Scope};
use crate::tensor::Tensor;

/// Options of [`BatchNorm2d`], with PyTorch's defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm2dConfig {
    /// Added to the variance.
    pub eps: f64,
    /// How far running statistics move towards those of a batch; `None` for the mean over all batches so far.
    pub momentum: Option<f64>,
    /// Whether the result is multiplied by `weight` and `bias` is added.
    pub affine: bool,
    /// Whether running statistics are kept; without them, evaluation uses the batch's own.
    pub track_running_stats: bool,
}

impl Default for BatchNorm2dConfig {
    fn default() -> Self {
        BatchNorm2dConfig { eps: 1e-5, momentum: Some(0.1), affine: true, track_running_stats: true }
    }
}

/// Batch normalisation of images. PyTorch's `BatchNorm2d`; [`ops::batch_norm`](crate::ops::batch_norm) has the formula.
#[derive(Clone, Debug)]
pub struct BatchNorm2d {
    /// `weight` (ones) and `bias` (zeros), each `[C]`.
    pub affine: Option<(Param, Param)>,
    /// What is kept of the batches.
    pub running: Option<RunningStats>,
    /// Options.
    pub config: BatchNorm2dConfig,
}

/// Running statistics of a [`BatchNorm2d`].
#[derive(Clone, Debug)]
pub struct RunningStats {
    /// `[C]`, starts at 0.
    pub running_mean: Param,
    /// `[C]`, unbiased, starts at 1.
    pub running_var: Param,
    /// Batches seen in training.
    pub num_batches_tracked: Counter,
}

impl BatchNorm2d {
    /// Registers `weight`, `bias`, `running_mean`, `running_var` and `num_batches_tracked`, as far as `config` has them.
    ///
    /// # Panics
    /// When a name is taken.
    #[track_caller]
    pub fn new(scope: &Scope, num_features: usize, config: BatchNorm2dConfig) -> Self {
        let affine = config.affine.then(|| {
            let weight = scope.param("weight", [num_features], Init::Ones);
            (weight, scope.param("bias", [num_features], Init::Zeros))
        });
        let running = config.track_running_stats.then(|| RunningStats {
            running_mean: scope.buffer("running_mean", [num_features], Init::Zeros),
            running_var: scope.buffer("running_var", [num_features], Init::Ones),
            num_batches_tracked: scope.counter("num_batches_tracked"),
        });
        BatchNorm2d { affine, running, config }
    }

    /// Normalises `[N, C, H, W]`; in training it also moves the running statistics, once per call.
    ///
    /// # Panics
    /// When `x` has another number of axes or channels, or, where batch statistics are used, only one value per channel.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let shape = x.shape();
        assert_eq!(shape.rank(), 4, "BatchNorm2d takes images [N, C, H, W], not a tensor of shape {shape}");
        let affine = self.affine.as_ref().map(|(weight, bias)| (weight.tensor(), bias.tensor()));
        let affine = affine.as_ref().map(|(weight, bias)| (weight, bias));
        if let (Mode::Eval, Some(running)) = (mode, &self.running) {
            let (mean, var) = (running.running_mean.tensor(), running.running_var.tensor());
            return x.batch_norm_eval(&mean, &var, affine, self.config.eps);
        }
        let n = shape[0] * shape.span(2, 4);
        assert!(n != 1, "BatchNorm2d: the batch statistics of {shape} are of one value per channel");
        let (y, mean, var) = x.batch_norm_train(affine, self.config.eps);
        if let (Mode::Train, Some(running)) = (mode, &self.running) {
            let batches = running.num_batches_tracked.increment();
            let momentum = self.config.momentum.unwrap_or(1.0 / batches as f64);
            let (running_mean, running_var) = (running.running_mean.tensor(), running.running_var.tensor());
            running_mean.batch_norm_update(&running_var, &mean, &var, momentum, n);
        }
        y
    }
}
