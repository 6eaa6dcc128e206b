//! Bach's chorales: a network reads four voices, sixteenth by sixteenth, and predicts what each sings next.
//!
//! `cargo run --example chorales` trains an LSTM on 211 chorales, tells how many nats it needs for a step of a voice of
//! chorales that it has not heard, and writes chorales of its own to runs/chorales, as MIDI and as a picture.
//! `--data Jsb16thSeparated.json` takes the canonical split instead, as published; `--sample-only` writes chorales with
//! the weights of an earlier run.

#[path = "chorales/data.rs"]
mod data;
#[path = "chorales/generate.rs"]
mod generate;
#[path = "chorales/net.rs"]
mod net;
#[path = "chorales/sheets.rs"]
mod sheets;
mod support;
#[path = "chorales/train.rs"]
mod train;
#[path = "chorales/windows.rs"]
mod windows;

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use data::{Chorale, Chorales};
use generate::Request;
use net::Net;
use recurve::data::loader::permutation;
use recurve::{Device, Params};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use support::canvas::thousands;
use support::command::{self, Common};
use train::Plan;

/// Learns chorales and writes some.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// File of chorales.
    #[arg(long, default_value = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/chorales-data/bach_chorales_music21_satb16.json.gz"
    ))]
    data: PathBuf,
    /// Length of the network's states.
    #[arg(long, default_value_t = 200, value_parser = RangedU64ValueParser::<usize>::new().range(1..=4096))]
    hidden: usize,
    /// Probability that a value in front of the last layer is dropped in training.
    #[arg(long, default_value_t = 0.0, value_parser = command::probability)]
    dropout: f64,
    /// Passes over the training chorales.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: u64,
    /// Chorales side by side.
    #[arg(long, default_value_t = 16, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    streams: usize,
    /// Sixteenths after which backpropagation through time is cut.
    #[arg(long, default_value_t = 32, value_parser = RangedU64ValueParser::<usize>::new().range(1..=4096))]
    steps: usize,
    /// The learning rate at its highest.
    #[arg(long, default_value_t = 5e-3, value_parser = command::positive)]
    lr: f64,
    /// Keeps the learning rate, which otherwise falls along half a cosine.
    #[arg(long)]
    constant: bool,
    /// Writes chorales with the weights in the output folder, and does not train.
    #[arg(long)]
    sample_only: bool,
    /// Chorales to write.
    #[arg(long, default_value_t = 4, value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    chorales: usize,
    /// Their length in bars of 4/4.
    #[arg(long, default_value_t = 16, value_parser = RangedU64ValueParser::<usize>::new().range(1..=256))]
    bars: usize,
    /// Sixteenths that are taken from the beginning of a chorale of the test, to go on from.
    #[arg(long, default_value_t = 4, value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    given: usize,
    /// Below 1 the likely becomes likelier, which is mostly to sing on; at 0 nothing is left to chance.
    #[arg(long, default_value_t = 0.9)]
    temperature: f64,
}

fn main() -> ExitCode {
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (dev, out) = options.common.start("chorales")?;
    let chorales = Chorales::load(&options.data)?;
    let steps = |chorales: &[Chorale]| thousands(chorales.iter().map(Vec::len).sum::<usize>() as u64);
    let Chorales { train, valid, test } = &chorales;
    println!(
        "{} chorales to learn from, {} for validation, {} to test on: {}, {} and {} steps",
        train.len(),
        valid.len(),
        test.len(),
        steps(train),
        steps(valid),
        steps(test)
    );
    let params = Params::new(&dev, options.common.seed);
    let net = Net::new(&params, options.hidden, options.dropout);
    let best = out.join("best.safetensors");
    if options.sample_only {
        params.load(&best)?;
        return compose(&dev, &net, &chorales, options, &out);
    }
    let by_frequency = net::by_frequency(train, test);
    println!(
        "{} parameters; guessing at random costs {:.3} nats per voice and step, by frequency {by_frequency:.3}",
        thousands(params.elements() as u64),
        (data::CLASSES as f64).ln()
    );
    let plan = Plan {
        epochs: options.epochs,
        streams: options.streams,
        steps: options.steps,
        lr: options.lr,
        constant: options.constant,
        seed: options.common.seed,
    };
    let start = Instant::now();
    let history = train::train(&params, &net, &chorales, &plan, &best)?;
    println!("trained for {:.0} s", start.elapsed().as_secs_f64());
    sheets::curve(&out.join("learning_curve.png"), &history, by_frequency)?;
    compose(&dev, &net, &chorales, options, &out)?;
    println!("weights, chorales and pictures are in {}", out.display());
    let nats = net.nats(&dev, test)?;
    println!("test: {:.4} nats per voice and step ({})", net::mean(nats), train::by_voice(nats));
    Ok(())
}

/// Writes chorales that go on from beginnings of the test's.
fn compose(
    dev: &Device,
    net: &Net,
    chorales: &Chorales,
    options: &Options,
    out: &Path,
) -> Result<(), Box<dyn Error>> {
    let (seed, temperature) = (options.common.seed, options.temperature);
    let order = permutation(seed, 0, chorales.test.len());
    let models: Vec<&Chorale> = order.iter().take(options.chorales).map(|&i| &chorales.test[i]).collect();
    let given = models.iter().map(|c| c.len()).fold(options.given, usize::min);
    let beginnings: Vec<&[[u8; data::VOICES]]> = models.iter().map(|c| &c[..given]).collect();
    let request = Request { length: 16 * options.bars, temperature, seed };
    let new = generate::generate(dev, net, &beginnings, &request)?;
    for (i, chorale) in new.iter().enumerate() {
        let path = out.join(format!("chorale-{}.mid", i + 1));
        let song = generate::song(&format!("Chorale {} of the network, seed {seed}", i + 1), chorale);
        std::fs::write(&path, song.to_bytes()).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("  {}: {} notes", path.display(), generate::notes(chorale).len());
    }
    let mut shown: Vec<(String, &Chorale)> = (new.iter().take(2).enumerate())
        .map(|(i, c)| (format!("Chorale {} of the network, at a temperature of {temperature}", i + 1), c))
        .collect();
    shown.push(("For comparison: the chorale by Bach whose beginning the first one has".into(), models[0]));
    sheets::rolls(&out.join("chorales.png"), "Four voices, sixteenth by sixteenth", &shown)?;
    Ok(())
}
