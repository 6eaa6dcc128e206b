//! Transposed convolution over rows: [`conv_transpose2d`](crate::ops::conv_transpose2d) without the vertical axis.
//!
//! `y[n, k, q·stride + r·dilation - padding] += x[n,c,q]·w[c,k,r]` over the channels c of k's group, plus `b[k]`.
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[N, C, L]` |
//! | w | `[C, K / groups, R]` |
//! | b | `[K]` |
//! | y | `[N, K, Q]`, `Q = (L - 1)·stride - 2·padding + dilation·(R - 1) + output_padding + 1` |

use crate::op::Case;
use crate::ops::conv_transpose2d::{ConvTranspose2dConfig, case, transposed};
use crate::tensor::Tensor;

/// How [`Tensor::conv_transpose1d`] moves its kernel. The default is PyTorch's: stride 1, no padding, dilation 1, one
/// group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvTranspose1dConfig {
    /// Distance at which the kernel is put down.
    pub stride: usize,
    /// Elements cut off at both ends.
    pub padding: usize,
    /// Elements more at the end, fewer than the stride or the dilation.
    pub output_padding: usize,
    /// Distance of taps.
    pub dilation: usize,
    /// Groups of channels.
    pub groups: usize,
}

impl Default for ConvTranspose1dConfig {
    fn default() -> Self {
        ConvTranspose1dConfig { stride: 1, padding: 0, output_padding: 0, dilation: 1, groups: 1 }
    }
}

impl From<ConvTranspose1dConfig> for ConvTranspose2dConfig {
    /// The same on images of height 1.
    fn from(c: ConvTranspose1dConfig) -> Self {
        ConvTranspose2dConfig {
            stride: [1, c.stride],
            padding: [0, c.padding],
            output_padding: [0, c.output_padding],
            dilation: [1, c.dilation],
            groups: c.groups,
        }
    }
}

impl Tensor {
    /// The transposed convolution of rows `[N, C, L]` with `weight` `[C, K / groups, R]`, plus `bias` `[K]`:
    /// `[N, K, Q]`. (PyTorch's `conv_transpose1d`; the formula stands at the head of
    /// [`ops::conv_transpose1d`](crate::ops::conv_transpose1d).)
    ///
    /// # Panics
    /// When the shapes do not fit together, `output_padding` is not below stride or dilation, or the padding cuts off
    /// everything.
    #[track_caller]
    pub fn conv_transpose1d(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        config: ConvTranspose1dConfig,
    ) -> Tensor {
        transposed("conv_transpose1d", 3, self, weight, bias, config.into())
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let plain = ConvTranspose1dConfig::default();
    let double = ConvTranspose1dConfig { stride: 2, padding: 1, ..plain };
    vec![
        case(&[2, 2, 4], &[2, 3, 4], double).with_gradient(),
        case(&[1, 4, 5], &[4, 2, 3], ConvTranspose1dConfig { output_padding: 1, groups: 2, ..double })
            .with_gradient(),
        case(&[1, 3, 1], &[3, 2, 1], plain),
        case(&[1, 1, 1], &[1, 1, 1], plain),
        case(&[0, 3, 5], &[3, 2, 3], double),
        case(&[2, 16, 129], &[16, 8, 4], double),
        case(&[1, 5, 500], &[5, 3, 16], ConvTranspose1dConfig { stride: 8, padding: 4, ..plain }),
        case(&[3, 6, 33], &[6, 1, 3], ConvTranspose1dConfig { groups: 6, ..double }),
        case(&[1, 4, 40], &[4, 7, 3], ConvTranspose1dConfig { stride: 3, dilation: 5, ..plain }),
    ]
}
