//! Trains a network on one half of the digits, and learns the other half from few pictures, from different starts.

use super::digits::CLASSES;
use crate::support::classifier::{Plan, accuracy, train};
use recurve::data::{Dataset, mnist};
use recurve::models::{ResNet, ResNetConfig};
use recurve::nn::{Linear, Mode};
use recurve::{Device, Params, Result, no_grad};
use std::path::Path;

/// Pictures per update.
const BATCH: usize = 25;

/// Where a training on the second half starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// From random weights.
    Scratch,
    /// From a trained body, which learns on.
    Tuned,
    /// From a trained body, which stays as it is: only the head learns.
    Frozen,
}

impl Start {
    /// In the order in which they are shown.
    pub const ALL: [Start; 3] = [Start::Scratch, Start::Tuned, Start::Frozen];

    /// What to call it.
    pub fn name(self) -> &'static str {
        match self {
            Start::Scratch => "from scratch",
            Start::Tuned => "fine-tuned",
            Start::Frozen => "only a new head",
        }
    }
}

/// What came of a training.
#[derive(Clone, Debug)]
pub struct Learned {
    pub size: usize,
    pub losses: Vec<f32>,
    /// Per cent of the test pictures.
    pub accuracy: f64,
}

/// A residual network of `blocks` blocks, the first of which has `channels` channels.
pub fn config(blocks: usize, channels: usize) -> ResNetConfig {
    ResNetConfig {
        layers: vec![1; blocks],
        stem_channels: channels,
        channels,
        in_channels: 1,
        classes: CLASSES,
        ..ResNetConfig::cifar(8)
    }
}

/// Trains on `many` pictures and writes the weights to `path`; returns per cent of `test` right.
pub fn pretrain(
    dev: &Device,
    config: &ResNetConfig,
    many: &Dataset,
    test: &Dataset,
    steps: u64,
    seed: u64,
    path: &Path,
) -> Result<f64> {
    let params = Params::new(dev, seed);
    let net = ResNet::new(&params.root(), config.clone());
    let plan = Plan { steps, batch: 32, lr: 4e-3, seed, ..Default::default() };
    train(&params, many, &plan, |x, mode| net.forward(x, mode))?;
    params.save(path)?;
    accuracy(dev, test, mnist::normalize(), |x| net.forward(x, Mode::Eval))
}

/// Trainings on the second half.
pub struct Study<'s> {
    pub dev: &'s Device,
    /// What the network is made of.
    pub config: &'s ResNetConfig,
    /// Of the network that knows the first half.
    pub weights: &'s Path,
    /// The most pictures to learn from.
    pub few: &'s Dataset,
    pub test: &'s Dataset,
    /// Updates of each training.
    pub steps: u64,
    pub seed: u64,
}

impl Study<'_> {
    /// Learns from the first `size` pictures.
    pub fn learn(&self, start: Start, size: usize) -> Result<Learned> {
        // Another seed than the first training's: from scratch means other weights.
        let seed = self.seed + 1;
        let params = Params::new(self.dev, seed);
        let net = ResNet::new(&params.root(), self.config.clone());
        if start != Start::Scratch {
            params.load_where(self.weights, |name| !name.starts_with("fc."))?;
        }
        let few = self.few.first(size);
        let plan = Plan { steps: self.steps, batch: BATCH.min(size), lr: 2e-3, seed, ..Default::default() };
        let losses;
        let accuracy = |forward: &dyn Fn(&recurve::Tensor) -> recurve::Tensor| {
            accuracy(self.dev, self.test, mnist::normalize(), forward)
        };
        let accuracy = if start == Start::Frozen {
            // The head has parameters of its own, so an optimiser of these leaves the body alone.
            let head_params = Params::new(self.dev, seed);
            let head = Linear::new(&head_params.at("fc"), net.config.features(), CLASSES);
            let forward = |x: &_| head.forward(&no_grad(|| net.features(x, Mode::Eval)));
            // So few weights bear larger steps.
            let plan = Plan { lr: 2e-2, ..plan };
            losses = train(&head_params, &few, &plan, |x, _| forward(x))?;
            accuracy(&forward)?
        } else {
            losses = train(&params, &few, &plan, |x, mode| net.forward(x, mode))?;
            accuracy(&|x| net.forward(x, Mode::Eval))?
        };
        Ok(Learned { size, losses, accuracy })
    }
}
