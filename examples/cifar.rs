//! A residual network learns CIFAR-10: ResNet-20 with crops, flips, label smoothing and averaged weights.
//!
//! `cargo run --example cifar -- --data PATH` trains on the ten classes, tests on pictures held out, and draws into
//! runs/cifar. `--resume` goes on where a checkpoint stands, in mid-epoch, bit for bit; Ctrl-C saves and leaves.

#[path = "cifar/data.rs"]
mod data;
#[path = "cifar/options.rs"]
mod options;
#[path = "cifar/report.rs"]
mod report;
mod support;
#[path = "cifar/train.rs"]
mod train;

use clap::Parser;
use options::Options;
use recurve::models::ResNetConfig;
use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use support::command;
use train::{Ended, Training};

fn main() -> ExitCode {
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let data = data::load(options.data.as_deref())?;
    let (dev, out) = options.common.start("cifar")?;
    println!("{} pictures to learn from, {} to test on", data.train.len(), data.test.len());
    if options.depth < 8 || !(options.depth - 2).is_multiple_of(6) {
        return Err(format!("a network of 6n + 2 layers is needed, not of {}", options.depth).into());
    }
    let config = ResNetConfig::cifar(options.depth);
    let mut training = Training::new(&dev, options.plan(), config, &data, &out, options.resume)?;
    println!("{} parameters, {}", training.params.elements(), training.plan);
    let interrupted = training.interrupted();
    ctrlc::set_handler(move || interrupted.store(true, Ordering::Relaxed))?;
    match training.run()? {
        Ended::Interrupted => {
            println!("interrupted; {} is saved, --resume goes on", training.checkpoint().display());
            Ok(())
        }
        Ended::Finished => report::finish(&mut training, &data, &out),
    }
}
