//! Batch normalisation with its parameters and running statistics.

use super::Mode;
use crate::params::{Counter, Init, Param, Scope};
use crate::tensor::Tensor;

/// Options of [`BatchNorm1d`] and [`BatchNorm2d`], with PyTorch's defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormConfig {
    /// Added to the variance.
    pub eps: f64,
    /// How far running statistics move towards those of a batch; `None` for the mean over all batches so far.
    pub momentum: Option<f64>,
    /// Whether the result is multiplied by `weight` and `bias` is added.
    pub affine: bool,
    /// Whether running statistics are kept; without them, evaluation uses the batch's own.
    pub track_running_stats: bool,
}

impl Default for BatchNormConfig {
    fn default() -> Self {
        BatchNormConfig { eps: 1e-5, momentum: Some(0.1), affine: true, track_running_stats: true }
    }
}

/// Running statistics of a batch normalisation.
#[derive(Clone, Debug)]
pub struct RunningStats {
    /// `[C]`, starts at 0.
    pub running_mean: Param,
    /// `[C]`, unbiased, starts at 1.
    pub running_var: Param,
    /// Batches seen in training.
    pub num_batches_tracked: Counter,
}

impl RunningStats {
    #[track_caller]
    fn new(scope: &Scope, num_features: usize) -> Self {
        RunningStats {
            running_mean: scope.buffer("running_mean", [num_features], Init::Zeros),
            running_var: scope.buffer("running_var", [num_features], Init::Ones),
            num_batches_tracked: scope.counter("num_batches_tracked"),
        }
    }
}

macro_rules! layers {
    ($($(#[$doc:meta])* $name:ident($ranks:pat, $takes:literal, $shapes:literal);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            /// C, the number of channels.
            pub num_features: usize,
            /// `weight` (ones) and `bias` (zeros), each `[C]`.
            pub affine: Option<(Param, Param)>,
            /// What is kept of the batches.
            pub running: Option<RunningStats>,
            /// Options.
            pub config: BatchNormConfig,
        }

        impl $name {
            /// Registers `weight`, `bias`, `running_mean`, `running_var` and `num_batches_tracked`, as far as `config`
            /// has them.
            ///
            /// # Panics
            /// When a name is taken.
            #[track_caller]
            pub fn new(scope: &Scope, num_features: usize, config: BatchNormConfig) -> Self {
                $name::with_init(scope, num_features, Init::Ones, config)
            }

            /// As [`new`](Self::new), with a choice of how `weight` starts.
            ///
            /// # Panics
            /// When a name is taken.
            #[track_caller]
            pub fn with_init(
                scope: &Scope,
                num_features: usize,
                weight: Init,
                config: BatchNormConfig,
            ) -> Self {
                let affine = config.affine.then(|| {
                    let weight = scope.param("weight", [num_features], weight);
                    (weight, scope.param("bias", [num_features], Init::Zeros))
                });
                let running = config.track_running_stats.then(|| RunningStats::new(scope, num_features));
                $name { num_features, affine, running, config }
            }

            #[doc = concat!("Normalises ", $shapes, "; in training it also moves the running statistics, once per call.")]
            ///
            /// # Panics
            /// When `x` has another number of axes or channels, or, where batch statistics are used, only one value per
            /// channel.
            #[track_caller]
            pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
                let shape = x.shape();
                assert!(
                    matches!(shape.rank(), $ranks),
                    concat!(stringify!($name), " takes ", $takes, ", not a tensor of shape {}"),
                    shape
                );
                let num_features = self.num_features;
                assert!(
                    shape[1] == num_features,
                    concat!(stringify!($name), " of {} channels does not take a tensor of shape {}"),
                    num_features,
                    shape
                );
                normalise(x, mode, &self.affine, &self.running, self.config)
            }
        }
    )*};
}

layers! {
    /// Batch normalisation of vectors or sequences. PyTorch's `BatchNorm1d`; [`ops::batch_norm`](crate::ops::batch_norm)
    /// has the formula.
    BatchNorm1d(2 | 3, "vectors [N, C] or sequences [N, C, L]", "`[N, C]` or `[N, C, L]`");
    /// Batch normalisation of images. PyTorch's `BatchNorm2d`; [`ops::batch_norm`](crate::ops::batch_norm) has the
    /// formula.
    BatchNorm2d(4, "images [N, C, H, W]", "`[N, C, H, W]`");
}

#[track_caller]
fn normalise(
    x: &Tensor,
    mode: Mode,
    affine: &Option<(Param, Param)>,
    running: &Option<RunningStats>,
    config: BatchNormConfig,
) -> Tensor {
    let shape = x.shape();
    let affine = affine.as_ref().map(|(weight, bias)| (weight.tensor(), bias.tensor()));
    let affine = affine.as_ref().map(|(weight, bias)| (weight, bias));
    if let (Mode::Eval, Some(running)) = (mode, running) {
        let (mean, var) = (running.running_mean.tensor(), running.running_var.tensor());
        return x.batch_norm_eval(&mean, &var, affine, config.eps);
    }
    let n = shape[0] * shape.span(2, shape.rank());
    assert!(n != 1, "batch normalisation: the batch statistics of {shape} are of one value per channel");
    let (y, mean, var) = x.batch_norm_train(affine, config.eps);
    if let (Mode::Train, Some(running)) = (mode, running) {
        let batches = running.num_batches_tracked.increment();
        let momentum = config.momentum.unwrap_or(1.0 / batches as f64);
        let (running_mean, running_var) = (running.running_mean.tensor(), running.running_var.tensor());
        running_mean.batch_norm_update(&running_var, &mean, &var, momentum, n);
    }
    y
}
