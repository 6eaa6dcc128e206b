//! A convolution over time: which of four activities a smart watch was worn at, from its six sensors.
//!
//! `cargo run --example motions` trains on the 40 recordings of BasicMotions, tests on the other 40, and draws into
//! runs/motions.

#[path = "motions/net.rs"]
mod net;
#[path = "motions/recordings.rs"]
mod recordings;
#[path = "motions/sheets.rs"]
mod sheets;
mod support;

use clap::Parser;
use net::Net;
use recordings::Recordings;
use recurve::Params;
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;
use support::command::{self, Common};
use support::pictures::confusion_matrix;

/// Tells activities apart by the sensors of a smart watch.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Passes over the training recordings.
    #[arg(long, default_value_t = 60)]
    epochs: usize,
}

fn main() -> ExitCode {
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (dev, out) = options.common.start("motions")?;
    let train = Recordings::load("BasicMotions_TRAIN.ts.gz")?;
    let test = Recordings::load("BasicMotions_TEST.ts.gz")?;
    println!(
        "{} recordings to learn from, {} to test on: {} sensors, {} steps of 0.1 s, {}",
        train.labels.len(),
        test.labels.len(),
        train.channels,
        train.length,
        train.classes.join(", ")
    );
    let params = Params::new(&dev, options.common.seed);
    let net = Net::new(&params, train.channels, train.classes.len());
    let start = Instant::now();
    let history = net::train(&params, &net, &train, &test, options.epochs)?;
    let predicted = net::classes(&dev, &net, &train.scale, &test)?;
    let counts = net::confusion(&test, &predicted);
    let right: u32 = (0..test.classes.len()).map(|i| counts[i * test.classes.len() + i]).sum();
    println!(
        "{} parameters, {} epochs in {:.1} s: {right} of {} test recordings right ({:.1} %)",
        params.elements(),
        options.epochs,
        start.elapsed().as_secs_f64(),
        test.labels.len(),
        100.0 * f64::from(right) / test.labels.len() as f64
    );
    println!("  {:10} {}", "true", test.classes.iter().map(|c| format!("{c:>10}")).collect::<String>());
    for (class, row) in test.classes.iter().zip(counts.chunks(test.classes.len())) {
        println!("  {class:10} {}", row.iter().map(|n| format!("{n:>10}")).collect::<String>());
    }
    sheets::signals(&out.join("signals.png"), &train)?;
    sheets::curves(&out.join("curves.png"), &history)?;
    sheets::kernels(&out.join("kernels.png"), &net.conv1.weight.tensor().to_vec()?, train.channels)?;
    let short: Vec<&str> = test.classes.iter().map(|c| &c[..c.len().min(5)]).collect();
    let title = "BasicMotions, test recordings";
    confusion_matrix(out.join("confusion.png"), title, &counts, &short)?;
    println!("pictures are in {}", out.display());
    Ok(())
}
