//! VGG: Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2014 (arXiv 1409.1556).
//!
//! Five stages of convolutions of 3×3 pixels, each with ReLU behind it and pooling of 2×2 at its end; adaptive mean pooling
//! to 7×7; three dense layers.
//!
//! | configuration | in the paper | convolutions | parameters at 1,000 classes | with batch norms |
//! |---|---|---|---|---|
//! | [`vgg11`](VggConfig::vgg11) | A | 1 1 2 2 2 | 132,863,336 | 132,868,840 |
//! | [`vgg13`](VggConfig::vgg13) | B | 2 2 2 2 2 | 133,047,848 | 133,053,736 |
//! | [`vgg16`](VggConfig::vgg16) | D | 2 2 3 3 3 | 138,357,544 | 138,365,992 |
//! | [`vgg19`](VggConfig::vgg19) | E | 2 2 4 4 4 | 143,667,240 | 143,678,248 |
//!
//! Batch norms, which the paper could not have, are those of torchvision's `vgg11_bn` and so on: [`VggConfig::with_norms`].
//!
//! The first dense layer is one tensor of 411 MB. Devices that bind no more than the 128 MiB that WebGPU guarantees, software
//! Vulkan among them, cannot hold it ([`Error::TensorTooLarge`](crate::Error::TensorTooLarge)); with a smaller `hidden` or
//! `pooled` they can.

use crate::nn::{BatchNorm2d, BatchNormConfig, Conv2d, Dropout, Linear, Mode, Size2d};
use crate::ops::conv2d::Conv2dConfig;
use crate::params::{Fan, Init, Nonlinearity, Scope};
use crate::tensor::Tensor;

/// What a [`Vgg`] is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct VggConfig {
    /// Channels of each convolution of each stage.
    pub stages: Vec<Vec<usize>>,
    /// Batch norms between convolutions and activations.
    pub norm: Option<BatchNormConfig>,
    /// Channels of a picture.
    pub in_channels: usize,
    /// Size that features are pooled to.
    pub pooled: Size2d,
    /// Features of both hidden dense layers.
    pub hidden: usize,
    /// Probability of a hidden feature to be dropped in training.
    pub dropout: f64,
    /// Classes.
    pub classes: usize,
}

impl VggConfig {
    fn imagenet(convolutions: [usize; 5]) -> Self {
        let channels = [64, 128, 256, 512, 512];
        VggConfig {
            stages: channels.into_iter().zip(convolutions).map(|(c, n)| vec![c; n]).collect(),
            norm: None,
            in_channels: 3,
            pooled: 7.into(),
            hidden: 4096,
            dropout: 0.5,
            classes: 1000,
        }
    }

    /// VGG-11.
    pub fn vgg11() -> Self {
        VggConfig::imagenet([1, 1, 2, 2, 2])
    }

    /// VGG-13.
    pub fn vgg13() -> Self {
        VggConfig::imagenet([2, 2, 2, 2, 2])
    }

    /// VGG-16.
    pub fn vgg16() -> Self {
        VggConfig::imagenet([2, 2, 3, 3, 3])
    }

    /// VGG-19.
    pub fn vgg19() -> Self {
        VggConfig::imagenet([2, 2, 4, 4, 4])
    }

    /// The same with batch norms.
    pub fn with_norms(self) -> Self {
        VggConfig { norm: Some(BatchNormConfig::default()), ..self }
    }

    /// The same for pictures of 32×32 pixels and ten classes: one pixel of features, 512 hidden ones.
    pub fn cifar(self) -> Self {
        VggConfig { pooled: 1.into(), hidden: 512, classes: 10, ..self }
    }

    /// The same with every number of channels divided by `divisor`, but at least 1.
    ///
    /// # Panics
    /// When `divisor` is 0.
    #[track_caller]
    pub fn narrowed(mut self, divisor: usize) -> Self {
        assert!(divisor > 0, "channels divided by 0");
        self.stages.iter_mut().flatten().for_each(|channels| *channels = (*channels / divisor).max(1));
        self
    }
}

/// A convolution with its norm, if there is one; ReLU follows.
#[derive(Clone, Debug)]
pub struct VggLayer {
    /// 3×3 pixels, with a bias.
    pub conv: Conv2d,
    /// Behind it.
    pub norm: Option<BatchNorm2d>,
}

/// A VGG network.
///
/// ```
/// use recurve::models::{Vgg, VggConfig};
/// use recurve::nn::Mode;
/// use recurve::{Device, Params};
/// let dev = Device::cpu();
/// let params = Params::new(&dev, 0);
/// let config = VggConfig { hidden: 16, ..VggConfig::vgg11().with_norms().cifar().narrowed(32) };
/// let net = Vgg::new(&params.root(), config);
/// let logits = net.forward(&dev.tensor([0.5; 6144], [2, 3, 32, 32]), Mode::Eval);
/// assert_eq!(logits.shape().dims(), [2, 10]);
/// ```
#[derive(Clone, Debug)]
pub struct Vgg {
    /// `features`, by stage.
    pub stages: Vec<Vec<VggLayer>>,
    /// `classifier.0`, `classifier.3` and `classifier.6`.
    pub classifier: [Linear; 3],
    /// Behind the first two of them.
    pub dropout: Dropout,
    /// What it is made of.
    pub config: VggConfig,
}

impl Vgg {
    /// Registers torchvision's names, `features.0.weight` to `classifier.6.bias`, with its initial values: convolutions
    /// normally distributed (He et al., arXiv 1502.01852, by the way back), dense layers with standard deviation 0.01,
    /// biases 0.
    ///
    /// # Panics
    /// When a name is taken, a stage has no convolution, or the probability of dropout is none.
    #[track_caller]
    pub fn new(scope: &Scope, config: VggConfig) -> Self {
        let filled = !config.stages.is_empty() && config.stages.iter().all(|stage| !stage.is_empty());
        assert!(filled, "a network has at least one stage, and a stage at least one convolution");
        let mut in_channels = config.in_channels;
        let mut index = 0;
        let mut stages = Vec::new();
        for stage in &config.stages {
            let mut layers = Vec::new();
            for &channels in stage {
                let at = |index: usize| scope.at(&format!("features.{index}"));
                let conv = convolution(&at(index), in_channels, channels);
                let norm = config.norm.map(|norm| BatchNorm2d::new(&at(index + 1), channels, norm));
                // Convolution, norm and ReLU have a number each.
                index += if norm.is_some() { 3 } else { 2 };
                layers.push(VggLayer { conv, norm });
                in_channels = channels;
            }
            // So does pooling.
            index += 1;
            stages.push(layers);
        }
        let pooled = in_channels * config.pooled.height * config.pooled.width;
        let classifier = [
            dense(&scope.at("classifier.0"), pooled, config.hidden),
            dense(&scope.at("classifier.3"), config.hidden, config.hidden),
            dense(&scope.at("classifier.6"), config.hidden, config.classes),
        ];
        Vgg { stages, classifier, dropout: Dropout::new(scope, config.dropout), config }
    }

    /// What each stage gives after its pooling, `[N, C, H, W]` each.
    ///
    /// # Panics
    /// When `x` has another number of axes or channels, or fewer than 2 pixels on a side for each pooling.
    #[track_caller]
    pub fn maps(&self, x: &Tensor, mode: Mode) -> Vec<Tensor> {
        let mut y = x.clone();
        let mut maps = Vec::new();
        for stage in &self.stages {
            for VggLayer { conv, norm } in stage {
                y = conv.forward(&y);
                if let Some(norm) = norm {
                    y = norm.forward(&y, mode);
                }
                y = y.relu();
            }
            y = y.max_pool2d(2);
            maps.push(y.clone());
        }
        maps
    }

    /// `[N, in_channels, H, W]` to logits `[N, classes]`.
    ///
    /// # Panics
    /// As [`maps`](Vgg::maps).
    #[track_caller]
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let [first, second, last] = &self.classifier;
        let maps = self.maps(x, mode);
        let y =
            maps.last().expect("there is a stage").adaptive_avg_pool2d(self.config.pooled.into()).flatten(1);
        let y = self.dropout.forward(&first.forward(&y).relu(), mode);
        let y = self.dropout.forward(&second.forward(&y).relu(), mode);
        last.forward(&y)
    }
}

#[track_caller]
fn convolution(scope: &Scope, in_channels: usize, out_channels: usize) -> Conv2d {
    let init = Init::KaimingNormal { fan: Fan::Out, nonlinearity: Nonlinearity::Relu };
    let config = Conv2dConfig { padding: 1.into(), ..Conv2dConfig::default() };
    let conv = Conv2d::with_init(scope, in_channels, out_channels, 3, init, config);
    Conv2d { bias: Some(scope.param("bias", [out_channels], Init::Zeros)), ..conv }
}

#[track_caller]
fn dense(scope: &Scope, in_features: usize, out_features: usize) -> Linear {
    let init = Init::Normal { mean: 0.0, std: 0.01 };
    let weight = scope.param("weight", [out_features, in_features], init);
    Linear { weight, bias: Some(scope.param("bias", [out_features], Init::Zeros)) }
}
