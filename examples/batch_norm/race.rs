//! The same network with and without batch normalisation, trained by plain SGD at several learning rates.

use crate::support::classifier::Batches;
use recurve::data::{Dataset, mnist};
use recurve::nn::{BatchNorm2d, Conv2d, Linear, Mode};
use recurve::ops::conv2d::Conv2dConfig;
use recurve::optim::{Sgd, SgdConfig};
use recurve::{Device, Params, Result, Tensor};

/// Convolutions of the network.
pub const LAYERS: usize = 5;
/// Images per step.
pub const BATCH: usize = 64;
/// Losses are read back so many at a time.
const READ_EVERY: usize = 25;

/// Five convolutions with ReLU, of which the first has stride 2 and the second is followed by pooling; one dense layer.
pub struct Net {
    convs: Vec<Conv2d>,
    norms: Vec<BatchNorm2d>,
    dense: Linear,
}

impl Net {
    /// Registers the parameters; `normed` tells whether there is batch normalisation between convolution and ReLU.
    pub fn new(params: &Params, normed: bool) -> Net {
        let root = params.root();
        let widths = [1, 8, 16, 16, 16, 16];
        let conv = |i: usize| {
            let stride = if i == 0 { [2, 2] } else { [1, 1] };
            let config = Conv2dConfig { padding: 1.into(), stride, ..Default::default() };
            Conv2d::new(&root.at(&format!("conv{}", i + 1)), widths[i], widths[i + 1], 3, config)
        };
        let norm =
            |i: usize| BatchNorm2d::new(&root.at(&format!("bn{}", i + 1)), widths[i + 1], Default::default());
        Net {
            convs: (0..LAYERS).map(conv).collect(),
            norms: (0..if normed { LAYERS } else { 0 }).map(norm).collect(),
            dense: Linear::new(&root.at("dense"), 16 * 7 * 7, 10),
        }
    }

    /// `[N, 1, 28, 28]` to logits `[N, 10]`, and what each ReLU gets.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> (Tensor, Vec<Tensor>) {
        let mut h = x.clone();
        let mut before = Vec::new();
        for (i, conv) in self.convs.iter().enumerate() {
            let y = conv.forward(&h);
            let y = match self.norms.get(i) {
                Some(norm) => norm.forward(&y, mode),
                None => y,
            };
            h = y.relu();
            if i == 1 {
                h = h.max_pool2d(2);
            }
            before.push(y);
        }
        (self.dense.forward(&h.flatten(1)), before)
    }
}

/// Mean and standard deviation over batch, channels and places, `[2]`.
fn moments(y: &Tensor) -> Tensor {
    let y = y.detach();
    let mean = y.mean(&[0, 1, 2, 3]);
    let away = y.sub(&mean);
    let std = away.mul(&away).mean(&[0, 1, 2, 3]).sqrt();
    Tensor::concat(&[&mean.reshape([1]), &std.reshape([1])], 0)
}

/// A training.
#[derive(Clone, Debug)]
pub struct Run {
    /// Whether there was batch normalisation.
    pub normed: bool,
    /// The learning rate.
    pub lr: f64,
    /// Loss of each step; ends where it stopped being a number.
    pub losses: Vec<f32>,
    /// For each of those steps and each layer, mean and standard deviation of what ReLU gets.
    pub moments: Vec<[(f32, f32); LAYERS]>,
}

impl Run {
    /// The mean loss of the last ten steps; infinite where training broke down.
    pub fn outcome(&self, steps: usize) -> f64 {
        if self.losses.len() < steps {
            return f64::INFINITY;
        }
        let last = &self.losses[steps.saturating_sub(10)..];
        last.iter().map(|&v| f64::from(v)).sum::<f64>() / last.len() as f64
    }
}

/// Trains from the same start, on the same batches, whatever `normed` and `lr` are.
pub fn run(dev: &Device, data: &Dataset, normed: bool, lr: f64, steps: usize, seed: u64) -> Result<Run> {
    let params = Params::new(dev, seed);
    let net = Net::new(&params, normed);
    let mut opt = Sgd::new(&params, SgdConfig { lr, ..Default::default() });
    let mut batches = Batches::new(data, BATCH, seed, mnist::normalize());
    let mut run = Run { normed, lr, losses: Vec::new(), moments: Vec::new() };
    let mut unread = Vec::new();
    for step in 1..=steps {
        let (x, y) = batches.next(dev);
        let (logits, before) = net.forward(&x, Mode::Train);
        let loss = logits.cross_entropy(&y);
        let moments: Vec<Tensor> = before.iter().map(moments).collect();
        let moments = Tensor::concat(&moments.iter().collect::<Vec<_>>(), 0);
        opt.step(&loss.backward())?;
        unread.push((loss.detach(), moments));
        if unread.len() == READ_EVERY || step == steps {
            for (loss, moments) in unread.drain(..) {
                let loss = loss.item()?;
                if !loss.is_finite() {
                    return Ok(run);
                }
                let values = moments.to_vec()?;
                run.losses.push(loss);
                run.moments.push(std::array::from_fn(|i| (values[2 * i], values[2 * i + 1])));
            }
        }
    }
    Ok(run)
}
