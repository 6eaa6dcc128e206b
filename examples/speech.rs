//! Two pretrained recurrent networks: one hears when somebody speaks, the other knows how words are pronounced.
//!
//! `cargo run --example speech` runs both on what is in the repository and compares with where they come from; it draws
//! into runs/speech. `--wav FILE` finds speech in a recording of yours, `--word WORD` pronounces words of yours.

#[path = "speech/g2p.rs"]
mod g2p;
#[path = "speech/reference.rs"]
mod reference;
#[path = "speech/segments.rs"]
mod segments;
#[path = "speech/sheets.rs"]
mod sheets;
mod support;
#[path = "speech/vad.rs"]
mod vad;

use clap::Parser;
use g2p::G2p;
use recurve::Device;
use recurve::data::Wav;
use reference::{Digit, TRACED, Trace, Voice, data, largest_difference};
use segments::{CHUNK_SECONDS, Segment, agreement, segments};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use support::command::{self, Common};
use vad::{CHUNK, SAMPLE_RATE, Vad};

/// Finds speech in sounds, and pronounces words.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Finds speech in this recording: WAV, 16,000 samples per second.
    #[arg(long, value_name = "FILE")]
    wav: Option<PathBuf>,
    /// Pronounces these English words.
    #[arg(long, value_name = "WORD", num_args = 1..)]
    word: Vec<String>,
}

fn main() -> ExitCode {
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (dev, out) = options.common.start("speech")?;
    if let Some(path) = &options.wav {
        recording(&dev, path, &out)?;
    }
    if !options.word.is_empty() {
        pronounce(&dev, &options.word)?;
    }
    if options.wav.is_none() && options.word.is_empty() {
        digits(&dev, &out)?;
        words(&dev)?;
    }
    Ok(())
}

/// A sound's samples, if it is long enough and has the rate that the network was trained for.
fn samples(path: &Path) -> Result<Vec<f32>, Box<dyn Error>> {
    let wav = Wav::from_path(path)?;
    if wav.sample_rate != SAMPLE_RATE {
        let (path, rate) = (path.display(), wav.sample_rate);
        return Err(format!("{path}: {rate} samples per second where {SAMPLE_RATE} are needed").into());
    }
    if wav.frames() < CHUNK {
        let (path, frames) = (path.display(), wav.frames());
        return Err(format!("{path}: {frames} samples are less than one chunk of {CHUNK}").into());
    }
    Ok(wav.mono())
}

/// What the network makes of a sound.
struct Heard {
    /// Of speech, by chunk.
    probabilities: Vec<f32>,
    /// h and c at the end.
    state: [Vec<f32>; 2],
}

/// Listens chunk by chunk, and says how long that takes.
fn listen(dev: &Device, samples: &[f32]) -> Result<Heard, Box<dyn Error>> {
    let vad = Vad::load(dev, &data("silero-vad/silero_vad_16k_from_onnx.safetensors"))?;
    let mut stream = vad.stream();
    let (mut probabilities, mut times) = (Vec::new(), Vec::new());
    for chunk in samples.chunks_exact(CHUNK) {
        let start = Instant::now();
        probabilities.push(stream.push(chunk)?);
        times.push(start.elapsed());
    }
    let state = stream.state()?;
    let milliseconds = |d: Duration| 1e3 * d.as_secs_f64();
    let later = &mut times.split_off(1)[..];
    later.sort();
    if let (Some(&median), Some(&longest)) = (later.get(later.len() / 2), later.last()) {
        println!(
            "{} chunks of {:.0} ms: {:.2} ms each (median), {:.2} at most, {:.0} for the first, which is planned",
            probabilities.len(),
            1e3 * CHUNK_SECONDS,
            milliseconds(median),
            milliseconds(longest),
            milliseconds(times[0]),
        );
    }
    Ok(Heard { probabilities, state })
}

/// Speech in a recording of the user's.
fn recording(dev: &Device, path: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let samples = samples(path)?;
    let Heard { probabilities, .. } = listen(dev, &samples)?;
    let found = segments(&probabilities);
    let total = found.iter().fold(0.0, |sum, s| sum + s.end - s.start);
    println!("{total:.1} of {:.1} s are speech", samples.len() as f64 / f64::from(SAMPLE_RATE));
    for s in &found {
        println!("  {:8.2} to {:8.2} s", s.start, s.end);
    }
    let picture = out.join("recording.png");
    let title = format!("Speech in {}", path.file_name().unwrap_or_default().display());
    sheets::listening(&picture, &title, &samples, &probabilities, &[])?;
    println!("the picture is {}", picture.display());
    Ok(())
}

/// Speech in the repository's recording, against what the network gave where it comes from.
fn digits(dev: &Device, out: &Path) -> Result<(), Box<dyn Error>> {
    let samples = samples(&data("digits/digits_6speakers_16k.wav"))?;
    let (digits, expected) = (reference::digits()?, Voice::load()?);
    println!("voice activity: {} digits by six speakers", digits.len());
    let Heard { probabilities, state } = listen(dev, &samples)?;
    println!(
        "  largest difference from the reference: {:.1e} of the probabilities, {:.1e} of the last states",
        largest_difference(&probabilities, &expected.probabilities),
        largest_difference(&state.concat(), expected.states_after(probabilities.len())),
    );
    let (found, truth): (_, Vec<Segment>) = (segments(&probabilities), digits.iter().map(|d| d.at).collect());
    let heard = |d: &&Digit| found.iter().any(|s| s.meets(d.at));
    println!(
        "  {} of {} digits heard, in {} stretches; {:.1} % of the chunks right",
        digits.iter().filter(heard).count(),
        digits.len(),
        found.len(),
        agreement(&probabilities, &truth),
    );
    let picture = out.join("digits.png");
    let title = "When somebody speaks: digits by six speakers, and what the network makes of them";
    sheets::listening(&picture, title, &samples, &probabilities, &digits)?;
    println!("  the picture is {}", picture.display());
    Ok(())
}

/// The repository's words, against what the network gave where it comes from and against a dictionary.
fn words(dev: &Device) -> Result<(), Box<dyn Error>> {
    let words = reference::words()?;
    let g2p = G2p::load(dev, &data("g2p"))?;
    let spelled: Vec<&str> = words.iter().map(|e| e.word.as_str()).collect();
    g2p.pronounce(&spelled)?;
    let start = Instant::now();
    let found = g2p.pronounce(&spelled)?;
    let time = start.elapsed().as_secs_f64();
    println!(
        "pronunciation: {} words in {time:.2} s, {:.0} per second",
        words.len(),
        words.len() as f64 / time
    );
    let mut farthest = [0f32; 2];
    for (entry, found) in words.iter().zip(&found).filter(|(e, _)| TRACED.contains(&e.word.as_str())) {
        let trace = Trace::load(&entry.word, entry.expected.split(' ').count())?;
        let here = trace.differences(&g2p.states(&entry.word)?, found);
        farthest = [0, 1].map(|i| farthest[i].max(here[i]));
    }
    let equal = words.iter().zip(&found).filter(|(e, f)| e.expected == f.phonemes).count();
    println!("  {equal} of {} pronunciations are the reference's", words.len());
    println!(
        "  largest difference for {} words: {:.1e} of the encoder's states, {:.1e} of the decoder's logits",
        TRACED.len(),
        farthest[0],
        farthest[1]
    );
    let known = || words.iter().zip(&found).filter_map(|(e, f)| Some((e.dictionary.as_ref()?, &f.phonemes)));
    let right = known().filter(|(d, f)| d == f).count();
    println!("  {right} of {} are as in the dictionary", known().count());
    for (entry, found) in words.iter().zip(&found).take(5) {
        println!("  {:16} {}", entry.word, found.phonemes);
    }
    Ok(())
}

/// Words of the user's.
fn pronounce(dev: &Device, words: &[String]) -> Result<(), Box<dyn Error>> {
    if let Some(word) = words.iter().find(|w| !w.chars().any(|c| c.is_ascii_alphabetic())) {
        return Err(format!("{word:?} has no letter of English").into());
    }
    let g2p = G2p::load(dev, &data("g2p"))?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let found = g2p.pronounce(&words)?;
    for (word, found) in words.iter().zip(found) {
        println!("{word:16} {}", found.phonemes);
    }
    Ok(())
}
