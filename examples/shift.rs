//! What a shift of the input does, measured: convolution is equivariant, pooling makes invariant.
//!
//! `cargo run --example shift` trains two small networks and draws two sheets into runs/shift.

#[path = "shift/equivariance.rs"]
mod equivariance;
#[path = "shift/heads.rs"]
mod heads;
#[path = "shift/moved.rs"]
mod moved;
#[path = "shift/sheets.rs"]
mod sheets;
mod support;

use clap::Parser;
use heads::{HEADS, LONGEST, POOLINGS, SIDE};
use std::error::Error;
use std::process::ExitCode;
use support::classifier;
use support::command::{self, Common};
use support::scene::{self, HEIGHT, WIDTH};

/// What a shift of the input does to convolution, pooling and a whole network.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Steps of each training.
    #[arg(long, default_value_t = 200)]
    steps: u64,
    /// Digits that the accuracy is measured on.
    #[arg(long, default_value_t = 250)]
    digits: usize,
}

fn main() -> ExitCode {
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (dev, out) = options.common.start("shift")?;
    let seed = options.common.seed;

    let planes = equivariance::exact(&scene::scene()?);
    let mut errors = Vec::new();
    println!(
        "conv(shift(x)) − shift(conv(x)) for shifts of 0 to {LONGEST} pixels, relative to the largest value:"
    );
    for stride in [1, 2, 4] {
        let e = equivariance::errors(&dev, &planes, (HEIGHT, WIDTH), stride, LONGEST, seed)?;
        println!("  stride {stride}: {}", row(e.iter().map(|&e| f64::from(e)), 2));
        errors.push((stride, e));
    }
    sheets::equivariance(&dev, &planes, &errors, &out.join("equivariance.png"))?;

    let mnist = classifier::load_mnist()?;
    let centred = moved::on_canvas(&mnist.train.first(options.steps as usize * heads::BATCH), SIDE, (0, 0));
    let digits = mnist.test.first(options.digits);
    let mut trained = Vec::new();
    let mut accuracies = Vec::new();
    println!("per cent of {} test digits right, moved by 0 to {LONGEST} pixels:", digits.len());
    for head in HEADS {
        let net = heads::train(&dev, &centred, head, options.steps, seed)?;
        let a = heads::accuracies(&dev, &net, &digits)?;
        println!("  {:22} {}", head.name(), row(a.iter().copied(), 1));
        accuracies.push((head, a));
        trained.push(net);
    }
    println!("change of the features of conv1 after max pooling:");
    let mut changes = Vec::new();
    for pooling in POOLINGS {
        let c = heads::changes(&dev, &trained[1], &mnist.test.first(100), pooling)?;
        println!("  {:7} {}", pooling.name(), row(c.iter().copied(), 2));
        changes.push((pooling, c));
    }
    sheets::invariance(&out.join("invariance.png"), &mnist.test.first(1), &changes, &accuracies)?;
    println!("pictures are in {}", out.display());
    Ok(())
}

fn row(values: impl Iterator<Item = f64>, decimals: usize) -> String {
    values
        .map(|v| if v == 0.0 { "    0".into() } else { format!("{v:5.decimals$}") })
        .collect::<Vec<_>>()
        .join(" ")
}
