//! Transfer: what a network has learned from some pictures helps with others, of which there are few.
//!
//! `cargo run --example transfer` trains a residual network on the digits 0 to 4, gives it a new head, and lets it learn
//! 5 to 9 from a handful of pictures; beside it the same network from scratch, and one whose body stays as it is.

#[path = "transfer/digits.rs"]
mod digits;
#[path = "transfer/sheet.rs"]
mod sheet;
#[path = "transfer/study.rs"]
mod study;
mod support;

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use digits::half;
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;
use study::{Start, Study};
use support::classifier::load_mnist;
use support::command::{self, Common};

/// Numbers of pictures of 5 to 9 to learn from.
const SIZES: [usize; 4] = [25, 50, 100, 200];

/// Lets a trained network learn other digits from few pictures.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Updates of the first training, on 0 to 4.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Updates of each training on 5 to 9.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    tune: u64,
    /// Channels of the first of three residual blocks; each has twice as many as the one before.
    #[arg(long, default_value_t = 16, value_parser = RangedU64ValueParser::<usize>::new().range(1..=256))]
    channels: usize,
    /// Pictures of 5 to 9 to test on.
    #[arg(long, default_value_t = 2000, value_parser = RangedU64ValueParser::<usize>::new().range(1..=4861))]
    test: usize,
}

fn main() -> ExitCode {
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let mnist = load_mnist()?;
    let (dev, out) = options.common.start("transfer")?;
    let seed = options.common.seed;
    let (many, known) = (half(&mnist.train, 0, 20_000), half(&mnist.test, 0, 1000));
    println!("learning 0 to 4 from {} pictures, {} updates", many.len(), options.steps);
    let weights = out.join("zero-to-four.safetensors");
    let began = Instant::now();
    let config = study::config(3, options.channels);
    let right = study::pretrain(&dev, &config, &many, &known, options.steps, seed, &weights)?;
    println!("  {right:.1} % of others right, {:.0} s", began.elapsed().as_secs_f64());

    let (few, test) = (half(&mnist.train, 5, SIZES[SIZES.len() - 1]), half(&mnist.test, 5, options.test));
    println!(
        "learning 5 to 9 from few pictures, {} updates each; per cent of {} right:",
        options.tune,
        test.len()
    );
    let study = Study {
        dev: &dev,
        config: &config,
        weights: &weights,
        few: &few,
        test: &test,
        steps: options.tune,
        seed,
    };
    println!("  pictures{}", Start::ALL.map(|s| format!("{:>20}", s.name())).concat());
    let mut results = Vec::new();
    for size in SIZES {
        let row = Start::ALL.map(|start| study.learn(start, size));
        let row = row.into_iter().collect::<Result<Vec<_>, _>>()?;
        println!("  {size:8}{}", row.iter().map(|r| format!("{:20.1}", r.accuracy)).collect::<String>());
        results.push(row);
    }
    sheet::results(&out.join("transfer.png"), &results)?;
    println!("the picture is in {}, {:.0} s in all", out.display(), began.elapsed().as_secs_f64());
    Ok(())
}
