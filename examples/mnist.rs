//! Trains a small convolutional network on MNIST and draws what it learned.
//!
//! `cargo run --example mnist` trains; `--resume` goes on where a checkpoint stands, in mid-epoch, bit for bit;
//! `--predict digit.png` reads a digit with the weights of the checkpoint. Ctrl-C saves and leaves.

#[path = "support/net.rs"]
mod net;
#[path = "mnist/options.rs"]
mod options;
#[path = "mnist/report.rs"]
mod report;
mod support;
#[path = "mnist/train.rs"]
mod train;

use clap::Parser;
use options::Options;
use recurve::data::mnist::Mnist;
use std::error::Error as StdError;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use support::command;
use train::{Ended, Training};

fn main() -> ExitCode {
    env_logger::init();
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn StdError>> {
    let dev = command::open(&options.device)?;
    println!("device: {}", dev.name());
    if let Some(picture) = &options.predict {
        return report::predict(&dev, options, picture);
    }
    std::fs::create_dir_all(&options.out).map_err(|e| format!("{}: {e}", options.out.display()))?;
    let mnist = Mnist::load(&options.data)?;
    let train = mnist.train.first(options.limit.unwrap_or(mnist.train.len()));
    let mut training = Training::new(&dev, options, &mnist, &train)?;
    let interrupted = training.interrupted();
    ctrlc::set_handler(move || interrupted.store(true, Ordering::Relaxed))?;
    match training.run()? {
        Ended::Interrupted => {
            println!("interrupted; {} is saved, --resume goes on", options.checkpoint().display());
            Ok(())
        }
        Ended::Finished => report::finish(&mut training, options),
    }
}
