//! CREPE (Kim, Salamon, Li and Bello 2018, arXiv 1802.06182), the smallest of its sizes: which of 360 pitches, 20 cents
//! apart, does this sixteenth of a second have?
//!
//! Six blocks of convolution, ReLU, batch normalisation and max pooling turn 1024 samples into 64 features at 4 places, a
//! dense layer these into probabilities. ReLU stands before the normalisation, so that cannot be folded into the
//! convolution's weights.

use recurve::nn::Linear;
use recurve::ops::conv2d::Conv2dConfig;
use recurve::{Device, Init, Param, Params, Predictor, Result, Scope, Tensor};
use std::path::Path;

/// Samples that are seen at once.
pub const FRAME: usize = 1024;
/// Pitches that are told apart.
pub const BINS: usize = 360;
/// Of the normalisations.
const EPS: f64 = 1e-3;
/// Taps of a row of an image: see [`Block::convolve`].
const TAPS: usize = 8;
/// Features of each block.
const FEATURES: [usize; 6] = [128, 16, 16, 16, 32, 64];
/// Places that are left of a frame.
const PLACES: usize = 4;

/// The network.
pub struct Crepe {
    params: Params,
    blocks: Vec<Block>,
    classifier: Linear,
}

struct Block {
    weight: Param,
    bias: Param,
    /// Scale and shift.
    affine: [Param; 2],
    /// Running mean and variance.
    statistics: [Param; 2],
    stride: usize,
    /// Zeros before a row; behind it there are so many that each stride has a result.
    before: usize,
}

impl Block {
    /// Block `i`, counted from 1 as in the file, where rows are images of width 1.
    fn new(root: &Scope, i: usize, from: usize, to: usize) -> Block {
        let (conv, bn) = (root.at(&format!("conv{i}")), root.at(&format!("conv{i}_BN")));
        let (kernel, stride, before) = if i == 1 { (512, 4, 254) } else { (64, 1, 31) };
        Block {
            weight: conv.param("weight", [to, from, kernel, 1], Init::Zeros),
            bias: conv.param("bias", [to], Init::Zeros),
            affine: ["weight", "bias"].map(|name| bn.param(name, [to], Init::Zeros)),
            statistics: ["running_mean", "running_var"].map(|name| bn.buffer(name, [to], Init::Zeros)),
            stride,
            before,
        }
    }

    /// `[N, C, L]` to half the places (an eighth in the first block).
    fn forward(&self, x: &Tensor) -> Tensor {
        let [scale, shift] = self.affine.each_ref().map(Param::tensor);
        let [mean, var] = self.statistics.each_ref().map(Param::tensor);
        self.convolve(x).batch_norm_eval(&mean, &var, Some((&scale, &shift)), EPS).max_pool1d(2)
    }

    /// The convolution and ReLU, as of images: kernels of so many taps are slow on software adapters, and a row of taps is as
    /// well an image of some rows of [`TAPS`]. The image has as many samples in a row, and again those of the next one, which
    /// the taps reach. With a stride, each remainder of the places is a channel of its own.
    fn convolve(&self, x: &Tensor) -> Tensor {
        let weight = self.weight.tensor();
        let [to, from, kernel] = [0, 1, 2].map(|axis| weight.shape()[axis]);
        let ([n, _, length], stride) = ([0, 1, 2].map(|axis| x.shape()[axis]), self.stride);
        let (rows, results, channels) = (kernel / stride / TAPS, length / stride / TAPS, from * stride);
        // One row more than the convolution goes over, for the last one's overlap.
        let height = results + rows;
        let after = height * TAPS * stride - self.before - length;
        let split = |x: Tensor, first: usize, rows: usize| {
            let apart = x.reshape([first, from, rows, TAPS, stride]);
            let apart = if stride > 1 { apart.permute(&[0, 1, 4, 2, 3]) } else { apart };
            apart.reshape([first, channels, rows, TAPS])
        };
        let image = split(x.pad(&[(0, 0), (0, 0), (self.before, after)], 0.0), n, height);
        let next = image.narrow(2, 1, height - 1).narrow(3, 0, TAPS - 1);
        let image = Tensor::concat(&[&image.narrow(2, 0, height - 1), &next], 3);
        let weight = split(weight, to, rows);
        let y = image.conv2d(&weight, Some(&self.bias.tensor()), Conv2dConfig::default()).relu();
        y.reshape([n, to, results * TAPS])
    }
}

impl Crepe {
    /// Reads the weights from a file.
    pub fn load(dev: &Device, path: &Path) -> Result<Crepe> {
        let params = Params::new(dev, 0);
        let root = params.root();
        let mut from = 1;
        let mut block = |(i, &to)| Block::new(&root, i + 1, std::mem::replace(&mut from, to), to);
        let blocks = FEATURES.iter().enumerate().map(&mut block).collect();
        let classifier = Linear::new(&root.at("classifier"), FEATURES[5] * PLACES, BINS);
        let crepe = Crepe { params, blocks, classifier };
        crepe.params.load(path)?;
        Ok(crepe)
    }

    /// Frames `[N, 1024]` to probabilities `[N, 360]`.
    pub fn forward(&self, frames: &Tensor) -> Tensor {
        let n = frames.shape()[0];
        let h = self.blocks.iter().fold(frames.reshape([n, 1, FRAME]), |h, block| block.forward(&h));
        // Places come before features in the weights.
        self.classifier.forward(&h.permute(&[0, 2, 1]).flatten(1)).sigmoid()
    }

    /// The network in use, on `batch` frames at once.
    pub fn predictor(&self, batch: usize) -> Result<Predictor> {
        Predictor::new(self.params.device(), [batch, FRAME], |frames| self.forward(frames))
    }
}
