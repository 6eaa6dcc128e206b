//! Residual connections: `y = F(x) + S(x)`, and the two blocks of residual networks.
//!
//! F is the body and S the shortcut around it: x itself, or where F changes the shape, a projection (He et al., Deep
//! Residual Learning for Image Recognition, 2015, arXiv 1512.03385, equations 1 and 2).

mod blocks;

pub use blocks::{BasicBlock, BlockConfig, BlockOrder, Bottleneck, ShortcutKind};

use super::{BatchNorm2d, Conv2d, Linear, Mode};
use crate::ops::avg_pool2d::AvgPool2dConfig;
use crate::ops::conv2d::Conv2dConfig;
use crate::params::{Fan, Init, Nonlinearity, Scope};
use crate::tensor::Tensor;
use std::fmt;

/// The way around a body.
#[derive(Clone, Debug)]
pub enum Shortcut {
    /// x as it is.
    Identity,
    /// A convolution of single pixels with a batch norm, if there is one: option B of the paper.
    Projection {
        /// Takes every stride-th pixel to the number of channels that the body puts out.
        conv: Conv2d,
        /// Normalises what it gives.
        norm: Option<BatchNorm2d>,
    },
    /// Every stride-th pixel, with channels of zeros before and behind: option A of the paper, without parameters.
    Padding {
        /// `[vertical, horizontal]` distance of the pixels that are kept.
        stride: [usize; 2],
        /// Channels of zeros before the first.
        before: usize,
        /// Channels of zeros behind the last.
        after: usize,
    },
    /// A matrix, for dense and recurrent bodies: `[.., in_features]` becomes `[.., out_features]`.
    Linear(Linear),
}

impl Shortcut {
    /// Option B: registers `0.weight` of the convolution, started as those of the [blocks](BasicBlock), and `1.weight`
    /// and so on of the batch norm.
    ///
    /// # Panics
    /// When a name is taken.
    #[track_caller]
    pub fn projection(scope: &Scope, in_channels: usize, out_channels: usize, stride: usize) -> Self {
        Shortcut::Projection {
            conv: convolution(&scope.at("0"), in_channels, out_channels, 1, stride, 1),
            norm: Some(BatchNorm2d::new(&scope.at("1"), out_channels, Default::default())),
        }
    }

    /// Option A. Zeros are shared out evenly before and behind; one more goes behind where their number is odd.
    ///
    /// # Panics
    /// When there are fewer channels behind the shortcut than before it.
    #[track_caller]
    pub fn padding(in_channels: usize, out_channels: usize, stride: usize) -> Self {
        assert!(in_channels <= out_channels, "{in_channels} channels cannot be padded to {out_channels}");
        let zeros = out_channels - in_channels;
        Shortcut::Padding { stride: [stride; 2], before: zeros / 2, after: zeros - zeros / 2 }
    }

    /// Registers `weight` of a matrix without bias.
    ///
    /// # Panics
    /// When the name is taken.
    #[track_caller]
    pub fn linear(scope: &Scope, in_features: usize, out_features: usize) -> Self {
        Shortcut::Linear(Linear::without_bias(scope, in_features, out_features))
    }

    /// S(x).
    ///
    /// # Panics
    /// When `x` does not have the shape that the shortcut takes.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        match self {
            Shortcut::Identity => x.clone(),
            Shortcut::Projection { conv, norm } => {
                let y = conv.forward(x);
                norm.as_ref().map_or_else(|| y.clone(), |norm| norm.forward(&y, mode))
            }
            Shortcut::Padding { stride, before, after } => {
                let kept = match stride {
                    [1, 1] => x.clone(),
                    _ => {
                        let config = AvgPool2dConfig { stride: Some(*stride), ..Default::default() };
                        x.avg_pool2d_with([1, 1], config)
                    }
                };
                match before + after {
                    0 => kept,
                    _ => kept.pad(&[(0, 0), (*before, *after), (0, 0), (0, 0)], 0.0),
                }
            }
            Shortcut::Linear(matrix) => matrix.forward(x),
        }
    }
}

/// A residual connection around any body: dense, convolutional, recurrent, or a stack of such.
///
/// ```
/// use recurve::nn::{Linear, Mode, Residual, Shortcut};
/// use recurve::{Device, Params};
/// let dev = Device::cpu();
/// let params = Params::new(&dev, 0);
/// let (a, b) = (Linear::new(&params.at("a"), 8, 16), Linear::new(&params.at("b"), 16, 8));
/// let block = Residual::new(move |x, _| b.forward(&a.forward(x).relu()), Shortcut::Identity);
/// let y = block.forward(&dev.tensor([0.5; 16], [2, 8]), Mode::Train);
/// assert_eq!(y.shape().dims(), [2, 8]);
/// ```
#[derive(Clone)]
pub struct Residual<F> {
    /// F.
    pub body: F,
    /// S.
    pub shortcut: Shortcut,
}

impl<F: Fn(&Tensor, Mode) -> Tensor> Residual<F> {
    /// A connection around `body`, which owns its layers.
    pub fn new(body: F, shortcut: Shortcut) -> Self {
        Residual { body, shortcut }
    }

    /// F(x) + S(x).
    ///
    /// # Panics
    /// When F(x) and S(x) are of different shapes.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        join(&(self.body)(x, mode), &self.shortcut.forward(x, mode))
    }
}

impl<F> fmt::Debug for Residual<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Residual").field("shortcut", &self.shortcut).finish_non_exhaustive()
    }
}

/// The sum of both ways. A shape that would be stretched is an error here: it hides a shortcut that does not fit.
#[track_caller]
fn join(body: &Tensor, shortcut: &Tensor) -> Tensor {
    let (f, s) = (body.shape(), shortcut.shape());
    assert!(f == s, "residual connection: the body gives {f}, its shortcut {s}");
    body.add(shortcut)
}

/// A convolution without bias, padded to keep its size at stride 1, started as in He et al., Delving Deep into Rectifiers,
/// 2015 (arXiv 1502.01852), by the way back, as torchvision does.
#[track_caller]
pub(crate) fn convolution(
    scope: &Scope,
    in_channels: usize,
    out_channels: usize,
    kernel_size: usize,
    stride: usize,
    groups: usize,
) -> Conv2d {
    let config = Conv2dConfig {
        stride: [stride; 2],
        padding: (kernel_size / 2).into(),
        groups,
        ..Conv2dConfig::default()
    };
    let init = Init::KaimingNormal { fan: Fan::Out, nonlinearity: Nonlinearity::Relu };
    Conv2d::with_init(scope, in_channels, out_channels, kernel_size, init, config)
}
