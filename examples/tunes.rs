//! Folk tunes, character by character: a recurrent network learns ABC notation and invents tunes of its own.
//!
//! `cargo run --example tunes` trains an LSTM on 2,924 tunes, tells how many bits it needs for a character of tunes it
//! has not seen, and writes tunes that it invents to runs/tunes, as ABC, as MIDI and as a picture. `--resume` goes on
//! where a checkpoint stands, bit for bit; `--sample-only` invents tunes with the weights of the checkpoint. Ctrl-C
//! saves and leaves.

#[path = "tunes/abc.rs"]
mod abc;
#[path = "tunes/model.rs"]
mod model;
#[path = "tunes/options.rs"]
mod options;
#[path = "tunes/report.rs"]
mod report;
#[path = "tunes/sample.rs"]
mod sample;
#[path = "tunes/sheets.rs"]
mod sheets;
mod support;
#[path = "tunes/text.rs"]
mod text;
#[path = "tunes/train.rs"]
mod train;

use clap::Parser;
use options::Options;
use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;
use support::canvas::thousands;
use support::command;
use text::Corpus;
use train::{Ended, Training};

fn main() -> ExitCode {
    env_logger::init();
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let dev = command::open(&options.device)?;
    println!("device: {}", dev.name());
    std::fs::create_dir_all(&options.out).map_err(|e| format!("{}: {e}", options.out.display()))?;
    if options.sample_only {
        report::tunes(&report::load(&dev, options)?, options)?;
        return Ok(());
    }
    let corpus = Corpus::load(&options.data)?;
    let ((train, test), (learnt, tested)) = (corpus.tunes(), corpus.characters());
    println!(
        "{train} tunes to learn from, {test} to test on: {} and {} characters, {} different ones",
        thousands(learnt as u64),
        thousands(tested as u64),
        corpus.symbols.len()
    );
    let mut training = Training::new(&dev, options, &corpus)?;
    println!(
        "{} parameters, {} steps of {} streams by {} characters",
        thousands(training.model.trained()),
        training.steps(),
        options.streams,
        options.steps
    );
    let interrupted = training.interrupted();
    ctrlc::set_handler(move || interrupted.store(true, Ordering::Relaxed))?;
    let start = Instant::now();
    if training.run()? == Ended::Interrupted {
        println!("interrupted; {} is saved, --resume goes on", options.checkpoint().display());
        return Ok(());
    }
    println!("trained for {:.0} s", start.elapsed().as_secs_f64());
    sheets::curve(&options.out.join("learning_curve.png"), &training.losses, &training.tests)?;
    report::tunes(&training.model, options)?;
    println!("checkpoint, tunes and pictures are in {}", options.out.display());
    if let Some((_, bits)) = training.tests.last() {
        println!("test: {bits:.3} bits per character");
    }
    Ok(())
}
