//! What kernel, padding, stride and dilation do to a picture, computed by `conv2d` on the device.
//!
//! `cargo run --example convolution` draws four sheets into runs/convolution.

#[path = "convolution/filter.rs"]
mod filter;
#[path = "convolution/sheets.rs"]
mod sheets;
mod support;

use clap::Parser;
use std::error::Error;
use std::process::ExitCode;
use support::command::{self, Common};

/// What kernel, padding, stride and dilation do to a picture.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (dev, out) = options.common.start("convolution")?;
    let scene = sheets::Scene::new(&dev)?;
    println!("size after a convolution: ⌊(size + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1");
    for (name, says, draw) in sheets::ALL {
        let path = out.join(name).with_extension("png");
        draw(&scene, &path)?;
        println!("{}: {says}", path.display());
    }
    Ok(())
}
