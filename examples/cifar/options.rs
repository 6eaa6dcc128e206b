//! The command line.

use super::train::Plan;
use crate::support::command::{Common, positive};
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use std::path::PathBuf;

/// Trains a residual network on CIFAR-10.
#[derive(Parser, Debug, Clone)]
pub struct Options {
    #[command(flatten)]
    pub common: Common,
    /// The folder cifar-10-batches-bin, or one of its files; by default looked for at the usual places.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Layers of the network: 20, 32, 44, 56 or 110.
    #[arg(long, default_value_t = 20)]
    pub depth: usize,
    /// Passes over the training pictures.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: u64,
    /// Pictures per step.
    #[arg(long, default_value_t = 32, value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pub batch: usize,
    /// The learning rate at its highest.
    #[arg(long, default_value_t = 0.05, value_parser = positive)]
    pub lr: f64,
    /// L2 penalty of matrices and filters.
    #[arg(long, default_value_t = 1e-3)]
    pub weight_decay: f64,
    /// How much of the target is spread over all classes.
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    pub label_smoothing: f64,
    /// α of mixup; 0 mixes nothing.
    #[arg(long, default_value_t = 0.0, value_parser = amount)]
    pub mixup: f64,
    /// Decay of the averaged weights that are tested; 0 tests the weights themselves.
    #[arg(long, default_value_t = 0.99, value_parser = share)]
    pub ema: f64,
    /// Goes on from the checkpoint in the output folder, if there is one.
    #[arg(long)]
    pub resume: bool,
    /// Steps between checkpoints.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub save_every: u64,
    /// Epochs between tests.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    pub test_every: u64,
}

impl Options {
    /// How to train.
    pub fn plan(&self) -> Plan {
        Plan {
            epochs: self.epochs,
            batch: self.batch,
            lr: self.lr,
            weight_decay: self.weight_decay,
            label_smoothing: self.label_smoothing,
            mixup: self.mixup,
            ema: self.ema,
            flip: true,
            seed: self.common.seed,
            save_every: self.save_every,
            test_every: self.test_every,
            log: true,
        }
    }
}

/// Reads a number of at least 0 and below 1.
fn share(text: &str) -> Result<f64, String> {
    crate::support::command::probability(text)
}

/// Reads a number that is not negative.
fn amount(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|n: &f64| *n >= 0.0 && n.is_finite());
    number.ok_or_else(|| "a number of at least 0 is needed".into())
}
