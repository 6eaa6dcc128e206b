//! Two convolutions over time, the mean over time, and a dense layer.

use super::recordings::Recordings;
use recurve::nn::{BatchNorm1d, Conv1d, Linear, Mode};
use recurve::ops::conv1d::{Conv1dConfig, Padding1d};
use recurve::optim::{Adam, AdamConfig};
use recurve::{Device, Params, Result, Tensor, no_grad};

/// Taps of the first convolution: 0.9 seconds.
pub const TAPS: usize = 9;
const CHANNELS: usize = 32;

/// The network.
pub struct Net {
    pub conv1: Conv1d,
    bn1: BatchNorm1d,
    conv2: Conv1d,
    bn2: BatchNorm1d,
    head: Linear,
}

impl Net {
    /// Registers the parameters.
    pub fn new(params: &Params, sensors: usize, classes: usize) -> Net {
        let root = params.root();
        let same = Conv1dConfig { padding: Padding1d::Same, ..Default::default() };
        Net {
            conv1: Conv1d::without_bias(&root.at("conv1"), sensors, CHANNELS, TAPS, same),
            bn1: BatchNorm1d::new(&root.at("bn1"), CHANNELS, Default::default()),
            conv2: Conv1d::without_bias(&root.at("conv2"), CHANNELS, CHANNELS, 5, same),
            bn2: BatchNorm1d::new(&root.at("bn2"), CHANNELS, Default::default()),
            head: Linear::new(&root.at("head"), CHANNELS, classes),
        }
    }

    /// `[N, sensors, L]` to logits `[N, classes]`. The mean over time makes it indifferent to when something happens.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let h = self.bn1.forward(&self.conv1.forward(x), mode).relu().max_pool1d(2);
        let h = self.bn2.forward(&self.conv2.forward(&h), mode).relu();
        self.head.forward(&h.mean(&[2]).flatten(1))
    }
}

/// Loss on the training recordings and shares of right answers, by epoch.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub losses: Vec<f32>,
    /// Per cent.
    pub train: Vec<f64>,
    /// Per cent.
    pub test: Vec<f64>,
}

/// Trains on all recordings at once, an update per epoch.
pub fn train(
    params: &Params,
    net: &Net,
    train: &Recordings,
    test: &Recordings,
    epochs: usize,
) -> Result<History> {
    let dev = params.device();
    let shape = [train.labels.len(), train.channels, train.length];
    let (x, y) = (dev.tensor(train.scaled(&train.scale), shape), dev.labels(&train.labels));
    let mut opt = Adam::new(params, AdamConfig { lr: 3e-3, ..Default::default() });
    let mut history = History::default();
    for _ in 0..epochs {
        let loss = net.forward(&x, Mode::Train).cross_entropy(&y);
        opt.step(&loss.backward())?;
        history.losses.push(loss.item()?);
        history.train.push(accuracy(dev, net, &train.scale, train)?);
        history.test.push(accuracy(dev, net, &train.scale, test)?);
    }
    Ok(history)
}

/// The class of each recording.
pub fn classes(dev: &Device, net: &Net, scale: &[(f32, f32)], of: &Recordings) -> Result<Vec<u32>> {
    let x = dev.tensor(of.scaled(scale), [of.labels.len(), of.channels, of.length]);
    no_grad(|| net.forward(&x, Mode::Eval).argmax(1)).to_vec_u32()
}

/// Per cent of recordings whose class is found.
pub fn accuracy(dev: &Device, net: &Net, scale: &[(f32, f32)], of: &Recordings) -> Result<f64> {
    let found = classes(dev, net, scale, of)?;
    let right = found.iter().zip(&of.labels).filter(|&(&f, &l)| i64::from(f) == l).count();
    Ok(100.0 * right as f64 / found.len().max(1) as f64)
}

/// How often each class was taken for each: `[true, predicted]`.
pub fn confusion(of: &Recordings, predicted: &[u32]) -> Vec<u32> {
    let n = of.classes.len();
    let mut counts = vec![0; n * n];
    for (&label, &found) in of.labels.iter().zip(predicted) {
        counts[label as usize * n + found as usize] += 1;
    }
    counts
}
