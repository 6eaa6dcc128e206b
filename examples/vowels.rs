//! Who is speaking: nine speakers told apart by two vowels, of 7 to 29 frames.
//!
//! `cargo run --example vowels` trains a plain recurrent network, an LSTM and a GRU on the 270 utterances of JapaneseVowels,
//! tests them on the other 370, and draws into runs/vowels.

#[path = "vowels/net.rs"]
mod net;
#[path = "vowels/sheets.rs"]
mod sheets;
mod support;
#[path = "vowels/utterances.rs"]
mod utterances;

use clap::Parser;
use net::{History, Kind, Net};
use recurve::Params;
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;
use support::command::{self, Common};
use support::pictures::confusion_matrix;
use utterances::Utterances;

/// Tells speakers apart by two vowels.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Passes over the training utterances.
    #[arg(long, default_value_t = 40)]
    epochs: usize,
}

fn main() -> ExitCode {
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (dev, out) = options.common.start("vowels")?;
    let seed = options.common.seed;
    let train = Utterances::load("JapaneseVowels_TRAIN.ts.gz")?;
    let test = Utterances::load("JapaneseVowels_TEST.ts.gz")?;
    let (shortest, longest) = train.lengths();
    println!(
        "{} utterances of {} speakers to learn from, {} to test on: {} coefficients, {shortest} to {longest} frames",
        train.len(),
        train.set.classes.len(),
        test.len(),
        train.set.channels,
    );
    let mut histories: Vec<(Kind, History)> = Vec::new();
    let mut best: Option<(f64, Kind, Vec<u32>)> = None;
    for kind in Kind::ALL {
        let params = Params::new(&dev, seed);
        let net = Net::new(&params, kind, train.set.channels, train.set.classes.len());
        let start = Instant::now();
        let history = net::train(&params, &net, [&train, &test], options.epochs, seed)?;
        let found = net::classes(&dev, &net, &test, &train.scale)?;
        let accuracy = net::accuracy(&test, &found);
        println!(
            "{:8} {:>6} parameters, {} epochs in {:5.1} s: {accuracy:.1} % of the test utterances right",
            kind.name(),
            params.elements(),
            options.epochs,
            start.elapsed().as_secs_f64(),
        );
        histories.push((kind, history));
        if best.as_ref().is_none_or(|b| accuracy > b.0) {
            best = Some((accuracy, kind, net::confusion(&test, &found)));
        }
    }
    sheets::utterance(&out.join("utterance.png"), &test)?;
    sheets::curves(&out.join("curves.png"), &histories)?;
    if let Some((_, kind, counts)) = best {
        let title = format!("Speakers of the test utterances, as the {} hears them", kind.name());
        let names: Vec<&str> = test.set.classes.iter().map(String::as_str).collect();
        confusion_matrix(out.join("confusion.png"), &title, &counts, &names)?;
    }
    println!("pictures are in {}", out.display());
    Ok(())
}
