//! Convolution over rows: `y[n,k,q] = b[k] + Σ_{c,r} x[n, c, q·stride + r·dilation - before]·w[k,c,r]`, where x counts
//! as 0 outside of the row, and the sum over c goes over the channels of k's group.
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[N, C, L]` |
//! | w | `[K, C / groups, R]` |
//! | b | `[K]` |
//! | y | `[N, K, Q]`, `Q = (L + before + after - dilation·(R - 1) - 1) / stride + 1`, rounded down |
//!
//! The ops and their kernels are those of [`conv2d`](crate::ops::conv2d), on images of height 1.

use crate::op::{Activation, Case, Op};
use crate::ops::conv2d::{
    Bias, Conv2d, Conv2dConfig, Conv2dInputGrad, Conv2dWeightGrad, Padding, apply_as, convolution,
};
use crate::shape::Spec;
use crate::tensor::Tensor;

/// Zeros around a row: `1.into()` for both ends, `[8, 0].into()` for a causal convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Padding1d {
    /// So many at each end.
    Ends {
        /// Before the row.
        before: usize,
        /// Behind it.
        after: usize,
    },
    /// As many as give a result of the row's length: `dilation·(kernel size - 1)`, the half of them before and, where
    /// their number is odd, one more behind. For stride 1. (PyTorch's `padding='same'`.)
    Same,
}

impl Default for Padding1d {
    /// None.
    fn default() -> Self {
        0.into()
    }
}

impl From<usize> for Padding1d {
    /// The same at both ends.
    fn from(n: usize) -> Self {
        [n, n].into()
    }
}

impl From<[usize; 2]> for Padding1d {
    /// `[before, after]`.
    fn from([before, after]: [usize; 2]) -> Self {
        Padding1d::Ends { before, after }
    }
}

/// How [`Tensor::conv1d`] moves its kernel. The default is PyTorch's: stride 1, no padding, dilation 1, one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv1dConfig {
    /// Distance of results.
    pub stride: usize,
    /// Zeros around the row.
    pub padding: Padding1d,
    /// Distance of taps.
    pub dilation: usize,
    /// Groups of channels.
    pub groups: usize,
}

impl Default for Conv1dConfig {
    fn default() -> Self {
        Conv1dConfig { stride: 1, padding: Padding1d::default(), dilation: 1, groups: 1 }
    }
}

impl From<Conv1dConfig> for Conv2dConfig {
    /// The same on images of height 1.
    fn from(c: Conv1dConfig) -> Self {
        let padding = match c.padding {
            Padding1d::Ends { before, after } => [[0, 0], [before, after]].into(),
            Padding1d::Same => Padding::Same,
        };
        Conv2dConfig { stride: [1, c.stride], padding, dilation: [1, c.dilation], groups: c.groups }
    }
}

impl Tensor {
    /// Convolves rows `[N, C, L]` with `weight` `[K, C / groups, R]` and adds `bias` `[K]`: `[N, K, Q]`. (PyTorch's
    /// `conv1d`; the formula stands at the head of [`ops::conv1d`](crate::ops::conv1d).)
    ///
    /// # Panics
    /// When the shapes do not fit together, the padded row is shorter than the kernel, or [`Padding1d::Same`] meets a
    /// stride above 1.
    #[track_caller]
    pub fn conv1d(&self, weight: &Tensor, bias: Option<&Tensor>, config: Conv1dConfig) -> Tensor {
        let inputs: Vec<&Tensor> = [self, weight].into_iter().chain(bias).collect();
        apply_as("conv1d", convolution(3, &inputs, config.into()), &inputs)
    }
}

/// A convolution and its two gradients.
fn setting(x: [usize; 3], k: usize, r: usize, config: Conv1dConfig) -> [Case; 3] {
    let w = [k, x[1] / config.groups, r];
    let window = Conv2dConfig::from(config).window([1, r]).expect("the settings are valid");
    let bias = if k.is_multiple_of(2) { Bias::Channels } else { Bias::None };
    let plain = Conv2d { window, ..Conv2d::default() };
    let y = plain.outputs(&[Spec::f32(x), Spec::f32(w)]).expect("the settings are valid")[0].shape;
    let forward = Conv2d { bias, ..plain };
    [
        match bias {
            Bias::None => Case::new(forward, &[&x, &w]),
            Bias::Channels => Case::new(forward, &[&x, &w, &[k]]),
        },
        Case::new(Conv2dInputGrad { window, height: 1, width: x[2] }, &[y.dims(), &w]),
        Case::new(Conv2dWeightGrad { window, kernel_height: 1, kernel_width: r }, &[&x, y.dims()]),
    ]
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let plain = Conv1dConfig::default();
    let pad = |padding: Padding1d| Conv1dConfig { padding, ..plain };
    let causal = Conv1dConfig { padding: [8, 0].into(), dilation: 4, ..plain };
    let small = [
        setting([2, 2, 7], 2, 3, pad(1.into())),
        setting([1, 3, 9], 3, 3, causal),
        setting([2, 4, 8], 6, 2, Conv1dConfig { stride: 3, padding: [0, 2].into(), groups: 2, ..plain }),
    ];
    let mut cases: Vec<Case> = small.into_iter().flatten().map(Case::with_gradient).collect();
    let settings = [
        setting([1, 1, 1], 1, 1, plain),
        setting([3, 5, 13], 7, 1, plain),
        setting([2, 3, 31], 8, 2, pad(Padding1d::Same)),
        setting([2, 3, 17], 5, 4, Conv1dConfig { padding: Padding1d::Same, dilation: 3, ..plain }),
        // Long rows and kernels.
        setting([2, 4, 4099], 6, 3, pad(1.into())),
        setting([1, 3, 1000], 4, 64, pad([63, 0].into())),
        setting([2, 8, 257], 16, 5, Conv1dConfig { stride: 2, padding: 2.into(), ..plain }),
        setting([4, 16, 64], 12, 3, Conv1dConfig { padding: [16, 0].into(), dilation: 8, ..plain }),
        // Strides larger than the kernel, and of no common measure with the dilation.
        setting([1, 2, 50], 3, 2, Conv1dConfig { stride: 7, ..plain }),
        setting([2, 3, 41], 4, 3, Conv1dConfig { stride: 3, padding: [1, 4].into(), dilation: 2, ..plain }),
        setting([1, 1, 5], 1, 2, Conv1dConfig { stride: 3, dilation: 2, ..plain }),
        // Groups.
        setting([2, 7, 30], 7, 3, Conv1dConfig { groups: 7, padding: 1.into(), ..plain }),
        setting([2, 5, 133], 10, 4, Conv1dConfig { groups: 5, padding: [3, 0].into(), ..plain }),
        setting([1, 6, 20], 9, 3, Conv1dConfig { groups: 3, ..plain }),
        // Many short rows, and none.
        setting([70_001, 1, 3], 1, 3, pad(1.into())),
        setting([0, 3, 5], 2, 3, plain),
    ];
    cases.extend(settings.into_iter().flatten());
    let relu = Conv2d {
        window: Conv2dConfig::from(pad(1.into())).window([1, 3]).expect("no padding Same"),
        bias: Bias::Channels,
        activation: Activation::Relu,
    };
    cases.push(Case::new(relu, &[&[2, 3, 21], &[5, 3, 3], &[5]]));
    cases
}
