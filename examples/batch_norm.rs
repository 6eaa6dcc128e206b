//! What batch normalisation does to training: the same network with and without it, by plain SGD, at several learning
//! rates.
//!
//! `cargo run --example batch_norm` draws two charts into runs/batch_norm.

#[path = "batch_norm/race.rs"]
mod race;
#[path = "batch_norm/sheets.rs"]
mod sheets;
mod support;

use clap::Parser;
use std::error::Error;
use std::process::ExitCode;
use support::classifier;
use support::command::{self, Common};

/// Trains a network with and without batch normalisation at several learning rates.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Steps of each training.
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// Learning rates.
    #[arg(long, value_delimiter = ',', default_values_t = [0.01, 0.1, 0.5])]
    rates: Vec<f64>,
}

fn main() -> ExitCode {
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (dev, out) = options.common.start("batch_norm")?;
    let mnist = classifier::load_mnist()?;
    let steps = options.steps;
    let mut runs = Vec::new();
    println!("mean loss of the last ten of {steps} steps (guessing is {:.2}):", 10f64.ln());
    println!("  learning rate   without   with batch normalisation");
    for &lr in &options.rates {
        let run = |normed| race::run(&dev, &mnist.train, normed, lr, steps, options.common.seed);
        let (plain, normed) = (run(false)?, run(true)?);
        let outcome = |run: &race::Run| match run.outcome(steps) {
            loss if loss.is_finite() => format!("{loss:.2}"),
            _ => format!("broke down at step {}", run.losses.len()),
        };
        println!("  {lr:<15} {:<9} {}", outcome(&plain), outcome(&normed));
        runs.extend([plain, normed]);
    }
    sheets::losses(&out.join("losses.png"), &runs, steps)?;
    // The middle one of the learning rates.
    let middle = options.rates.len() / 2 * 2;
    if let Some([plain, normed]) = runs.get(middle..middle + 2) {
        sheets::activations(&out.join("activations.png"), plain, normed, steps)?;
    }
    println!("pictures are in {}", out.display());
    Ok(())
}
