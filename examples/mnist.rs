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
use recurve::{DEVICE_VARIABLE, Device, Error, Pick};
use std::error::Error as StdError;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use train::{Ended, Training};

fn main() -> ExitCode {
    env_logger::init();
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn StdError>> {
    let dev = open(&options.device)?;
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

/// Opens the device, and says so when that is only the CPU reference.
fn open(name: &str) -> Result<Device, Error> {
    let pick: Pick = name.parse().unwrap_or_default();
    let dev = Device::open_blocking(pick.clone())?;
    let asked_for =
        pick == Pick::Cpu || std::env::var(DEVICE_VARIABLE).is_ok_and(|v| v.parse() == Ok(Pick::Cpu));
    if dev.is_reference() && !asked_for {
        println!(
            "No GPU adapter: training on the CPU reference, on all cores. It is correct but slow; a Vulkan driver \
             makes this several times faster (Debian: apt-get install mesa-vulkan-drivers)."
        );
    }
    Ok(dev)
}
