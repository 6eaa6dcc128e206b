//! The command line.

use clap::Parser;
use std::path::PathBuf;

/// Trains a small convolutional network on MNIST and draws what it learned.
#[derive(Parser, Debug, Clone)]
pub struct Options {
    /// Passes over the training set; by default 3, or 1 on the CPU reference.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: Option<u64>,
    /// Images per step.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub batch: u64,
    /// best, gpu, software, cpu, or part of an adapter's name.
    #[arg(long, default_value = "best")]
    pub device: String,
    /// Seed of weights and order.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The learning rate at its highest.
    #[arg(long, default_value_t = 2e-3)]
    pub lr: f64,
    /// Goes on from the checkpoint in the output folder.
    #[arg(long)]
    pub resume: bool,
    /// Folder with the four MNIST files, plain or gzipped.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/mnist-data"))]
    pub data: PathBuf,
    /// Folder for the checkpoint and the pictures.
    #[arg(long, default_value = "runs/mnist")]
    pub out: PathBuf,
    /// Steps between checkpoints.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub save_every: u64,
    /// Trains on the first images only.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Reads the digit in this PNG with the checkpoint's weights, and does not train.
    #[arg(long, value_name = "PNG")]
    pub predict: Option<PathBuf>,
}

impl Options {
    /// Where the checkpoint lies.
    pub fn checkpoint(&self) -> PathBuf {
        self.out.join("checkpoint.safetensors")
    }
}
