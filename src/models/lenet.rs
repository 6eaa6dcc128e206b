//! LeNet-5: LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998, section II.B.
//!
//! | layer | gives, from 32×32 pixels | parameters |
//! |---|---|---|
//! | C1: convolution of 5×5 | 6 × 28×28 | 156 |
//! | S2: pooling of 2×2 | 6 × 14×14 | |
//! | C3: convolution of 5×5 | 16 × 10×10 | 2,416 |
//! | S4: pooling of 2×2 | 16 × 5×5 | |
//! | C5: convolution of 5×5 | 120 × 1×1 | 48,120 |
//! | F6: dense | 84 | 10,164 |
//! | output: dense | 10 | 850 |
//! | together | | 61,706 |
//!
//! What is not as in 1998: each map of C3 sees all of S2 (there: some of it, 1,516 parameters); S2 and S4 have no
//! coefficients of their own and no sigmoid behind them; the activation is tanh or ReLU (there: 1.7159·tanh(2x/3)); the
//! output gives logits for cross entropy (there: distances to drawn characters).

use crate::nn::{Conv2d, Linear, Size2d};
use crate::ops::avg_pool2d::AvgPool2dConfig;
use crate::ops::conv2d::Conv2dConfig;
use crate::params::Scope;
use crate::tensor::Tensor;

/// How S2 and S4 take 2×2 pixels together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Subsampling {
    /// Their mean, as in 1998.
    #[default]
    Mean,
    /// The largest.
    Max,
}

/// What follows C1, C3, C5 and F6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// tanh.
    #[default]
    Tanh,
    /// max(x, 0).
    Relu,
}

/// What a [`LeNet`] is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeNetConfig {
    /// Channels of a picture.
    pub in_channels: usize,
    /// Size of a picture, without padding.
    pub input_size: Size2d,
    /// Rows and columns of zeros that C1 puts on each side of a picture: 2 make 28×28 pixels 32×32.
    pub padding: usize,
    /// Channels of C1, C3 and C5.
    pub channels: [usize; 3],
    /// Features of F6.
    pub hidden: usize,
    /// Classes.
    pub classes: usize,
    /// S2 and S4.
    pub subsampling: Subsampling,
    /// Activations.
    pub activation: Activation,
}

impl Default for LeNetConfig {
    /// LeNet-5 for grey pictures of 32×32 pixels and ten classes.
    fn default() -> Self {
        LeNetConfig {
            in_channels: 1,
            input_size: 32.into(),
            padding: 0,
            channels: [6, 16, 120],
            hidden: 84,
            classes: 10,
            subsampling: Subsampling::Mean,
            activation: Activation::Tanh,
        }
    }
}

impl LeNetConfig {
    /// For MNIST: pictures of 28×28 pixels, padded to 32×32.
    pub fn mnist() -> Self {
        LeNetConfig { input_size: 28.into(), padding: 2, ..LeNetConfig::default() }
    }

    /// Size of what C5 gives.
    #[track_caller]
    fn output_size(&self) -> [usize; 2] {
        <[usize; 2]>::from(self.input_size).map(|side| {
            let padded = side + 2 * self.padding;
            // Each of C1 and C3 takes 4 pixels away, each pooling a half; C5 needs 5.
            let kept = padded.saturating_sub(4) / 2;
            let kept = kept.saturating_sub(4) / 2;
            assert!(kept >= 5, "LeNet-5 needs 32 pixels with the padding, not {padded}");
            kept - 4
        })
    }
}

/// LeNet-5.
///
/// ```
/// use recurve::models::{LeNet, LeNetConfig};
/// use recurve::{Device, Params};
/// let dev = Device::cpu();
/// let params = Params::new(&dev, 0);
/// let net = LeNet::new(&params.root(), LeNetConfig::mnist());
/// let logits = net.forward(&dev.tensor([0.5; 1568], [2, 1, 28, 28]));
/// assert_eq!(logits.shape().dims(), [2, 10]);
/// assert_eq!(params.elements(), 61_706);
/// ```
#[derive(Clone, Debug)]
pub struct LeNet {
    /// The first convolution.
    pub c1: Conv2d,
    /// The second.
    pub c3: Conv2d,
    /// The third, as large as what it takes.
    pub c5: Conv2d,
    /// The hidden dense layer.
    pub f6: Linear,
    /// Gives the logits.
    pub output: Linear,
    /// What it is made of.
    pub config: LeNetConfig,
}

impl LeNet {
    /// Registers `weight` and `bias` of `c1`, `c3`, `c5`, `f6` and `output`, with PyTorch's initial values.
    ///
    /// # Panics
    /// When a name is taken, or pictures are smaller than 32×32 pixels with their padding.
    #[track_caller]
    pub fn new(scope: &Scope, config: LeNetConfig) -> Self {
        let [height, width] = config.output_size();
        let [c1, c3, c5] = config.channels;
        let padded = Conv2dConfig { padding: config.padding.into(), ..Conv2dConfig::default() };
        LeNet {
            c1: Conv2d::new(&scope.at("c1"), config.in_channels, c1, 5, padded),
            c3: Conv2d::new(&scope.at("c3"), c1, c3, 5, Conv2dConfig::default()),
            c5: Conv2d::new(&scope.at("c5"), c3, c5, 5, Conv2dConfig::default()),
            f6: Linear::new(&scope.at("f6"), c5 * height * width, config.hidden),
            output: Linear::new(&scope.at("output"), config.hidden, config.classes),
            config,
        }
    }

    fn activate(&self, x: &Tensor) -> Tensor {
        match self.config.activation {
            Activation::Tanh => x.tanh(),
            Activation::Relu => x.relu(),
        }
    }

    fn subsample(&self, x: &Tensor) -> Tensor {
        match self.config.subsampling {
            Subsampling::Mean => x.avg_pool2d_with([2, 2], AvgPool2dConfig::default()),
            Subsampling::Max => x.max_pool2d(2),
        }
    }

    /// `[N, in_channels, H, W]` of the configured size to logits `[N, classes]`.
    ///
    /// # Panics
    /// When `x` has another shape.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let y = self.subsample(&self.activate(&self.c1.forward(x)));
        let y = self.subsample(&self.activate(&self.c3.forward(&y)));
        let y = self.activate(&self.c5.forward(&y)).flatten(1);
        self.output.forward(&self.activate(&self.f6.forward(&y)))
    }
}
