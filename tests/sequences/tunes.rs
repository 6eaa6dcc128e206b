//! Folk tunes, small: the model learns, goes on bit for bit, and what it invents can be opened.

#[path = "../../examples/tunes/abc.rs"]
pub mod abc;
#[path = "../../examples/tunes/model.rs"]
mod model;
#[path = "../../examples/tunes/options.rs"]
mod options;
#[path = "../../examples/tunes/report.rs"]
mod report;
#[path = "../../examples/tunes/sample.rs"]
mod sample;
#[path = "../../examples/tunes/sheets.rs"]
mod sheets;
#[path = "../../examples/tunes/text.rs"]
pub mod text;
#[path = "../../examples/tunes/train.rs"]
mod train;

use crate::{device, folder, midi};
use abc::Tune;
use clap::Parser;
use model::Config;
use options::Options;
use sample::{Request, invent};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use text::{Corpus, Streams};
use train::{Ended, Training, bits_per_character};

/// Options of a small run whose files go to a folder of its own.
fn options(name: &str, arguments: &[&str]) -> Options {
    let out = folder(name);
    let small = ["--hidden", "32", "--embedding", "16", "--streams", "8", "--steps", "16"];
    let out = ["tunes", "--out", out.to_str().expect("a plain name")];
    Options::parse_from(out.iter().chain(&small).chain(arguments))
}

fn real() -> Corpus {
    Corpus::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tunes-data")).unwrap()
}

/// Two tunes that a small network can learn by heart.
const TUNES: [&str; 2] = [
    "M:6/8\nL:1/8\nK:D\n|:ABA dfd|AFA ded:|\n|:fed BAB|1 AFE D3:|2 AFA d3|]",
    "M:2/4\nL:1/16\nK:Em\nB2|e>dB2 (3ABA G2|E4 z2||",
];

fn by_heart() -> Corpus {
    let text = TUNES.join("\n\n");
    Corpus::new(&[&text; 12].map(String::as_str).join("\n\n"), &text).unwrap()
}

/// Bits per character of guessing by how often each occurs.
fn by_frequency(text: &str) -> f64 {
    let mut counts = HashMap::<char, f64>::new();
    text.chars().for_each(|c| *counts.entry(c).or_default() += 1.0);
    let n: f64 = counts.values().sum();
    counts.values().map(|k| k / n * (n / k).log2()).sum()
}

#[test]
fn streams_read_every_character_once() {
    let corpus = real();
    assert_eq!((corpus.tunes(), corpus.symbols.len()), ((2924, 154), 79));
    let targets = |streams: &Streams, steps: usize| -> Vec<i64> {
        let mut all: Vec<i64> = (0..streams.batches(steps))
            .flat_map(|i| streams.batch(i, steps).targets)
            .filter(|&t| t >= 0)
            .collect();
        all.sort_unstable();
        all
    };
    let (train, test) = corpus.characters();
    for streams in [1, 7, 32] {
        assert_eq!(targets(&corpus.test(streams), 50), targets(&corpus.test(1), 64));
        assert_eq!(targets(&corpus.test(streams), 50).len(), test);
    }
    let epoch = corpus.epoch(1, 0, 32, 64).unwrap();
    let read = targets(&epoch, 64).len();
    assert!(read <= train && train - read < 32 * 65, "{read} of {train}");
    // In each stream, what follows in one batch comes in next, also over the end of a batch.
    let (a, b) = (epoch.batch(0, 64), epoch.batch(1, 64));
    assert_eq!(a.targets[..63 * 32], a.inputs[32..]);
    assert_eq!(a.targets[63 * 32..], b.inputs[..32]);
    assert_ne!(corpus.epoch(1, 1, 32, 64).unwrap().batch(0, 64), a);
    assert_eq!(corpus.epoch(1, 0, 32, 64).unwrap().batch(0, 64), a);
    assert!(corpus.epoch(1, 0, 1024, 4096).unwrap_err().to_string().contains("too few"));
    assert!(Corpus::new("abc", "d").unwrap_err().to_string().contains("'d'"));
    assert!(Corpus::load(Path::new("nowhere")).unwrap_err().to_string().contains("nowhere"));
}

#[test]
fn it_learns_tunes_by_heart_and_writes_them() {
    let (dev, corpus) = (device(), by_heart());
    let options =
        options("tunes", &["--epochs", "14", "--lr", "0.02", "--tunes", "2", "--temperature", "0.3"]);
    let mut training = Training::new(&dev, &options, &corpus).unwrap();
    // Vectors of 16, four gates of 32 with two biases, and the head.
    let n = corpus.symbols.len() as u64;
    assert_eq!(training.model.trained(), 16 * n + 4 * 32 * (16 + 32 + 2) + 32 * n + n);
    assert_eq!(training.run().unwrap(), Ended::Finished);
    let bits = training.tests.last().unwrap().1;
    let guessing = by_frequency(&TUNES.join("\n\n"));
    assert!(bits < 1.0 && guessing > 4.0, "{bits} bits per character, {guessing} by frequency");
    sheets::curve(&options.out.join("curve.png"), &training.losses, &training.tests).unwrap();
    // The model of the checkpoint is the same one, and invents the same tunes.
    let loaded = report::load(&dev, &options).unwrap();
    assert_eq!(bits_per_character(&loaded, &corpus, 16).unwrap(), bits);
    let begin = &TUNES[0][..TUNES[0].find('|').unwrap()];
    let options = Options { begin: begin.replace('\n', "\\n"), ..options };
    let found = report::tunes(&loaded, &options).unwrap();
    assert_eq!(found.len(), 2);
    for (i, invention) in found.iter().enumerate() {
        let path = |ending: &str| options.out.join(format!("tune-{}.{ending}", i + 1));
        let text = std::fs::read_to_string(path("abc")).unwrap();
        assert!(text.starts_with(&format!("X:{}\nT:", i + 1)) && text.contains(begin), "{text}");
        let tune = Tune::parse(&text).unwrap();
        assert_eq!((&tune, &text), (&invention.tune, &invention.text));
        let (tracks, (_, meter, key)) = midi::read(&std::fs::read(path("mid")).unwrap());
        assert_eq!((meter, key), ((6, 8), (2, false)));
        let notes = tune.performance().notes;
        assert_eq!(tracks[0].notes.len(), notes.len());
        let eighths = |whole: u32| whole * 8 / abc::WHOLE;
        assert_eq!(tracks[0].notes[0].length, 240 * eighths(notes[0].length));
    }
    assert!(options.out.join("tunes.png").metadata().unwrap().len() > 1000);
}

#[test]
fn a_resumed_run_goes_on_bit_for_bit() {
    let (dev, corpus) = (device(), by_heart());
    for cell in ["lstm", "gru"] {
        let more = ["--cell", cell, "--layers", "2", "--dropout", "0.2", "--epochs", "3"];
        let whole = options(&format!("whole-{cell}"), &more);
        let mut whole = Training::new(&dev, &whole, &corpus).unwrap();
        let bits = |training: &mut Training<'_>| training.train_step().unwrap().item().unwrap().to_bits();
        let per_epoch = whole.steps() / 3;
        // Interrupted in the middle of the second epoch, resumed into the third.
        let (stop, end) = (per_epoch + 2, 2 * per_epoch + 2);
        let want: Vec<u32> = (0..end).map(|_| bits(&mut whole)).collect();
        let mut again = options(&format!("resume-{cell}"), &more);
        let mut first = Training::new(&dev, &again, &corpus).unwrap();
        (0..stop).for_each(|_| drop(first.train_step().unwrap()));
        first.save().unwrap();
        again.resume = true;
        let mut resumed = Training::new(&dev, &again, &corpus).unwrap();
        let found: Vec<u32> = (stop..end).map(|_| bits(&mut resumed)).collect();
        assert_eq!(found, want[stop as usize..], "{cell}");
        let test = |training: &Training<'_>| bits_per_character(&training.model, &corpus, 16).unwrap();
        assert_eq!(test(&whole), test(&resumed), "{cell}");
        for (other, says) in [
            (Options { lr: 0.5, ..again.clone() }, "learning rate 0.5"),
            (Options { hidden: 33, ..again.clone() }, "another model"),
        ] {
            let refused = Training::new(&dev, &other, &corpus).err().expect("other options").to_string();
            assert!(refused.contains(says), "{refused}");
        }
    }
}

#[test]
fn an_interrupt_saves_and_ends_the_run() {
    let (dev, corpus) = (device(), by_heart());
    let mut options = options("interrupt", &[]);
    let mut training = Training::new(&dev, &options, &corpus).unwrap();
    training.interrupted().store(true, Ordering::Relaxed);
    assert_eq!(training.run().unwrap(), Ended::Interrupted);
    options.resume = true;
    let resumed = Training::new(&dev, &options, &corpus).unwrap();
    assert_eq!((resumed.losses.len(), &resumed.losses), (1, &training.losses));
}

#[test]
fn the_same_seed_invents_the_same_tunes() {
    let corpus = by_heart();
    let config = options("config", &[]).config(&corpus.symbols);
    assert_eq!(Config::from_note(&config.to_note()), Some(config.clone()));
    assert_eq!(Config::from_note("{}"), None);
    let model = model::Model::new(&device(), 3, config);
    let request =
        Request { count: 2, begin: "M:6/8\n".into(), temperature: 1.0, seed: 5, first: 0, longest: 60 };
    let tunes = invent(&model, &request).unwrap();
    assert_eq!(invent(&model, &request).unwrap(), tunes);
    assert!(tunes.iter().all(|t| t.starts_with("M:6/8\n")) && tunes[0] != tunes[1]);
    assert_ne!(invent(&model, &Request { seed: 6, ..request.clone() }).unwrap(), tunes);
    // A tune depends on its number, not on how many there are.
    let second = invent(&model, &Request { count: 1, first: 1, ..request.clone() }).unwrap();
    assert_eq!(second[0], tunes[1]);
    let unknown = invent(&model, &Request { begin: "é".into(), ..request }).unwrap_err().to_string();
    assert!(unknown.contains("'é'"), "{unknown}");
}
