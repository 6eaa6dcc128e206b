//! The network that learns MNIST: twice convolution, batch normalisation, ReLU and pooling, then two dense layers.

use recurve::nn::{BatchNorm2d, Conv2d, Linear, Mode};
use recurve::{Params, Tensor};

/// Two convolutional stages and two dense layers: 421,834 parameters.
pub struct Net {
    pub conv1: Conv2d,
    pub bn1: BatchNorm2d,
    pub conv2: Conv2d,
    pub bn2: BatchNorm2d,
    pub fc1: Linear,
    pub fc2: Linear,
}

impl Net {
    /// Registers the parameters under PyTorch-like names (`conv1.weight`).
    pub fn new(params: &Params) -> Self {
        let root = params.root();
        let padded = || recurve::ops::conv2d::Conv2dConfig { padding: 1.into(), ..Default::default() };
        Net {
            conv1: Conv2d::new(&root.at("conv1"), 1, 32, 3, padded()),
            bn1: BatchNorm2d::new(&root.at("bn1"), 32, Default::default()),
            conv2: Conv2d::new(&root.at("conv2"), 32, 64, 3, padded()),
            bn2: BatchNorm2d::new(&root.at("bn2"), 64, Default::default()),
            fc1: Linear::new(&root.at("fc1"), 64 * 7 * 7, 128),
            fc2: Linear::new(&root.at("fc2"), 128, 10),
        }
    }

    /// `[N, 1, 28, 28]` to `[N, 32, 14, 14]`.
    pub fn stage1(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.bn1.forward(&self.conv1.forward(x), mode).relu().max_pool2d(2)
    }

    /// `[N, 32, 14, 14]` to `[N, 64, 7, 7]`.
    pub fn stage2(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.bn2.forward(&self.conv2.forward(x), mode).relu().max_pool2d(2)
    }

    /// `[N, 1, 28, 28]` to logits `[N, 10]`.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let h = self.stage2(&self.stage1(x, mode), mode).flatten(1);
        self.fc2.forward(&self.fc1.forward(&h).relu())
    }
}
