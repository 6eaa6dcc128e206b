//! Max pooling against average pooling: on a small array, on a picture, and what remains after several of them.
//!
//! `cargo run --example pooling` draws four sheets into runs/pooling.

#[path = "pooling/pool.rs"]
mod pool;
#[path = "pooling/sheets.rs"]
mod sheets;
mod support;

use clap::Parser;
use std::error::Error;
use std::process::ExitCode;
use support::command::{self, Common};
use support::scene::{self, HEIGHT, WIDTH};

/// Max pooling against average pooling.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
}

fn main() -> ExitCode {
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (dev, out) = options.common.start("pooling")?;
    let file = |name: &str| out.join(name).with_extension("png");
    sheets::numbers(&dev, &file("numbers"))?;
    let planes = scene::scene()?;
    let scene = dev.tensor(planes.clone(), [1, 3, HEIGHT, WIDTH]);
    sheets::windows(&scene, &file("windows"))?;
    sheets::repeated_picture(&scene, &file("repeated"))?;
    let all = sheets::repeated_edges(&sheets::edges(&dev, &planes), &file("edges"))?;
    println!("how strong the strongest edge still is after 0 to 6 poolings of 2×2:");
    for (kind, shares) in sheets::fading(&all) {
        let shares: Vec<String> = shares.iter().map(|s| format!("{:3.0} %", 100.0 * s)).collect();
        println!("  {:8} {}", kind.name().to_lowercase(), shares.join("  "));
    }
    println!("pictures are in {}", out.display());
    Ok(())
}
