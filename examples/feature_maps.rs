//! What a convolutional network looks for: the kernels that it learned on MNIST, and what they make of digits.
//!
//! `cargo run --example feature_maps` trains for a few seconds; `--checkpoint runs/mnist/checkpoint.safetensors` takes
//! the network of the example `mnist` instead. Pictures go to runs/feature_maps.

#[path = "feature_maps/maps.rs"]
mod maps;
#[path = "support/net.rs"]
mod net;
#[path = "feature_maps/sheets.rs"]
mod sheets;
mod support;

use clap::Parser;
use net::Net;
use recurve::Params;
use recurve::data::mnist;
use recurve::nn::Mode;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use support::classifier::{self, Plan};
use support::command::{self, Common};

/// Shows what a network that reads digits has learned to look for.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// A checkpoint of the example mnist, instead of a short training.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Steps of the short training.
    #[arg(long, default_value_t = 80)]
    steps: u64,
}

/// The digits that are followed through the network.
const DIGITS: [u8; 3] = [2, 4, 7];

fn main() -> ExitCode {
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (dev, out) = options.common.start("feature_maps")?;
    let data = classifier::load_mnist()?;
    let params = Params::new(&dev, options.common.seed);
    let net = Net::new(&params);
    let weights = || -> recurve::Result<[Vec<f32>; 2]> {
        Ok([net.conv1.weight.tensor().to_vec()?, net.conv2.weight.tensor().to_vec()?])
    };
    let initial = weights()?;
    if let Some(path) = &options.checkpoint {
        params.load(path)?;
        println!("weights of {}", path.display());
    } else {
        let plan = Plan { steps: options.steps, seed: options.common.seed, ..Plan::default() };
        let start = Instant::now();
        let losses = classifier::train(&params, &data.train, &plan, |x, mode| net.forward(x, mode))?;
        println!(
            "{} steps of {} images in {:.0} s: loss {:.2} at first, {:.2} at last",
            plan.steps,
            plan.batch,
            start.elapsed().as_secs_f64(),
            losses.first().copied().unwrap_or(f32::NAN),
            losses.last().copied().unwrap_or(f32::NAN)
        );
    }
    let test = data.test.first(1000);
    let right = classifier::accuracy(&dev, &test, mnist::normalize(), |x| net.forward(x, Mode::Eval))?;
    println!("{right:.1} % of {} test digits right", test.len());

    let mut traced = Vec::new();
    for label in DIGITS {
        traced.extend(maps::trace(&dev, &net, &data.test, label)?);
    }
    for (i, name) in ["conv1", "conv2"].into_iter().enumerate() {
        let silent = traced.iter().map(|t| t.stages[i].relu.silent()).sum::<f64>() / traced.len() as f64;
        println!("{name}: {:.0} % of all values are zero after ReLU", 100.0 * silent);
    }
    let learned = weights()?;
    sheets::kernels(&out.join("kernels.png"), [&initial[0], &learned[0]], [&initial[1], &learned[1]])?;
    let title = "conv1: each column is one of 32 channels; 28×28 pixels become 14×14";
    sheets::stage(&out.join("conv1.png"), title, &traced, 0, &learned[0], 1)?;
    let title = "conv2: each column is one of 64 channels and sees all 32 maps of conv1; 14×14 become 7×7";
    sheets::stage(&out.join("conv2.png"), title, &traced, 1, &learned[1], 32)?;
    sheets::favourites(&out.join("favourites.png"), &maps::favourites(&dev, &net, &test, 9)?)?;
    println!("pictures are in {}", out.display());
    Ok(())
}
