//! AlexNet: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, 2012, in the form for one
//! GPU of Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014 (arXiv 1404.5997), as
//! torchvision has it.
//!
//! | layer | gives, from 224×224 pixels | parameters |
//! |---|---|---|
//! | `features.0`: convolution of 11×11, stride 4 | 64 × 55×55 | 23,296 |
//! | pooling of 3×3, stride 2 | 64 × 27×27 | |
//! | `features.3`: convolution of 5×5 | 192 × 27×27 | 307,392 |
//! | pooling of 3×3, stride 2 | 192 × 13×13 | |
//! | `features.6`: convolution of 3×3 | 384 × 13×13 | 663,936 |
//! | `features.8`: convolution of 3×3 | 256 × 13×13 | 884,992 |
//! | `features.10`: convolution of 3×3 | 256 × 13×13 | 590,080 |
//! | pooling of 3×3, stride 2; adaptive mean pooling | 256 × 6×6 | |
//! | `classifier.1`: dropout, dense | 4,096 | 37,752,832 |
//! | `classifier.4`: dropout, dense | 4,096 | 16,781,312 |
//! | `classifier.6`: dense | 1,000 | 4,097,000 |
//! | together | | 61,100,840 |
//!
//! Without the local response norms of 2012, as in 2014.
//!
//! The first dense layer is one tensor of 151 MB. Devices that bind no more than the 128 MiB that WebGPU guarantees, software
//! Vulkan among them, cannot hold it ([`Error::TensorTooLarge`](crate::Error::TensorTooLarge)); with a smaller `hidden` or
//! `pooled` they can.

use crate::nn::{Conv2d, Dropout, Linear, Mode, Size2d};
use crate::ops::conv2d::Conv2dConfig;
use crate::ops::max_pool2d::MaxPool2dConfig;
use crate::params::Scope;
use crate::tensor::Tensor;

/// The first convolution of an [`AlexNet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stem {
    /// 11×11 pixels at stride 4: for pictures of 224×224 pixels, from 63×63 on.
    ImageNet,
    /// 3×3 pixels at stride 1: for pictures of some 32×32 pixels, from 15×15 on.
    Cifar,
}

/// What an [`AlexNet`] is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct AlexNetConfig {
    /// The first convolution.
    pub stem: Stem,
    /// Channels of a picture.
    pub in_channels: usize,
    /// Channels of the five convolutions.
    pub channels: [usize; 5],
    /// Size that features are pooled to.
    pub pooled: Size2d,
    /// Features of both hidden dense layers.
    pub hidden: usize,
    /// Probability of a dense layer's input to be dropped in training.
    pub dropout: f64,
    /// Classes.
    pub classes: usize,
}

impl Default for AlexNetConfig {
    /// torchvision's.
    fn default() -> Self {
        AlexNetConfig {
            stem: Stem::ImageNet,
            in_channels: 3,
            channels: [64, 192, 384, 256, 256],
            pooled: 6.into(),
            hidden: 4096,
            dropout: 0.5,
            classes: 1000,
        }
    }
}

impl AlexNetConfig {
    /// For pictures of 32×32 pixels and ten classes: another stem, 3×3 pixels of features, 1,024 hidden ones.
    pub fn cifar() -> Self {
        AlexNetConfig {
            stem: Stem::Cifar,
            pooled: 3.into(),
            hidden: 1024,
            classes: 10,
            ..AlexNetConfig::default()
        }
    }
}

/// AlexNet.
///
/// ```
/// use recurve::models::{AlexNet, AlexNetConfig};
/// use recurve::nn::Mode;
/// use recurve::{Device, Params};
/// let dev = Device::cpu();
/// let params = Params::new(&dev, 0);
/// let small = AlexNetConfig { channels: [8, 12, 24, 16, 16], hidden: 32, ..AlexNetConfig::cifar() };
/// let net = AlexNet::new(&params.root(), small);
/// let logits = net.forward(&dev.tensor([0.5; 6144], [2, 3, 32, 32]), Mode::Eval);
/// assert_eq!(logits.shape().dims(), [2, 10]);
/// ```
#[derive(Clone, Debug)]
pub struct AlexNet {
    /// `features.0`, `features.3`, `features.6`, `features.8` and `features.10`.
    pub convolutions: [Conv2d; 5],
    /// `classifier.1`, `classifier.4` and `classifier.6`.
    pub classifier: [Linear; 3],
    /// In front of the first two of them.
    pub dropout: Dropout,
    /// What it is made of.
    pub config: AlexNetConfig,
}

impl AlexNet {
    /// Registers torchvision's names, with its initial values.
    ///
    /// # Panics
    /// When a name is taken, or the probability of dropout is none.
    #[track_caller]
    pub fn new(scope: &Scope, config: AlexNetConfig) -> Self {
        let (kernel_size, stride, padding) = match config.stem {
            Stem::ImageNet => (11, 4, 2),
            Stem::Cifar => (3, 1, 1),
        };
        let conv =
            |index: usize, from: usize, to: usize, kernel_size: usize, stride: usize, padding: usize| {
                let options =
                    Conv2dConfig { stride: [stride; 2], padding: padding.into(), ..Conv2dConfig::default() };
                Conv2d::new(&scope.at(&format!("features.{index}")), from, to, kernel_size, options)
            };
        let [a, b, c, d, e] = config.channels;
        let dense = |index: usize, from: usize, to: usize| {
            Linear::new(&scope.at(&format!("classifier.{index}")), from, to)
        };
        let pooled = e * config.pooled.height * config.pooled.width;
        AlexNet {
            convolutions: [
                conv(0, config.in_channels, a, kernel_size, stride, padding),
                conv(3, a, b, 5, 1, 2),
                conv(6, b, c, 3, 1, 1),
                conv(8, c, d, 3, 1, 1),
                conv(10, d, e, 3, 1, 1),
            ],
            classifier: [
                dense(1, pooled, config.hidden),
                dense(4, config.hidden, config.hidden),
                dense(6, config.hidden, config.classes),
            ],
            dropout: Dropout::new(scope, config.dropout),
            config,
        }
    }

    /// `[N, in_channels, H, W]` to features `[N, C, H', W']`, before adaptive pooling.
    ///
    /// # Panics
    /// When `x` has another number of axes or channels, or is too small for the [stem](Stem).
    #[track_caller]
    pub fn features(&self, x: &Tensor) -> Tensor {
        let pool = MaxPool2dConfig { stride: Some([2, 2]), ..MaxPool2dConfig::default() };
        let mut y = x.clone();
        for (i, conv) in self.convolutions.iter().enumerate() {
            y = conv.forward(&y).relu();
            if matches!(i, 0 | 1 | 4) {
                y = y.max_pool2d_with([3, 3], pool);
            }
        }
        y
    }

    /// `[N, in_channels, H, W]` to logits `[N, classes]`.
    ///
    /// # Panics
    /// As [`features`](AlexNet::features).
    #[track_caller]
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let [first, second, last] = &self.classifier;
        let y = self.features(x).adaptive_avg_pool2d(self.config.pooled.into()).flatten(1);
        let y = first.forward(&self.dropout.forward(&y, mode)).relu();
        let y = second.forward(&self.dropout.forward(&y, mode)).relu();
        last.forward(&y)
    }
}
