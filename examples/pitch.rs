//! A pretrained network hears the pitch of music: CREPE in its smallest size.
//!
//! `cargo run --example pitch` tracks the clips in the repository, compares with where the network comes from, and draws
//! into runs/pitch. `--wav FILE` tracks a recording of yours.

#[path = "pitch/decode.rs"]
mod decode;
#[path = "pitch/frames.rs"]
mod frames;
#[path = "pitch/net.rs"]
mod net;
#[path = "pitch/reference.rs"]
mod reference;
#[path = "pitch/resample.rs"]
mod resample;
#[path = "pitch/sheets.rs"]
mod sheets;
#[path = "pitch/spectrum.rs"]
mod spectrum;
mod support;

use clap::Parser;
use decode::{Note, notes, track};
use frames::SAMPLE_RATE;
use net::Crepe;
use recurve::Predictor;
use recurve::data::Wav;
use reference::data;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use support::command::{self, Common};

/// Frames that go through the network at once.
const BATCH: usize = 8;
/// What the probabilities may differ by from the reference's.
const TOLERANCE: f32 = 1e-4;
/// Sample rates that are brought to the network's.
const RATES: std::ops::RangeInclusive<u32> = 8_000..=192_000;

/// Tracks the pitch of sounds.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Tracks this recording: WAV, 8,000 to 192,000 samples per second.
    #[arg(long, value_name = "FILE")]
    wav: Option<PathBuf>,
}

fn main() -> ExitCode {
    command::status(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (dev, out) = options.common.start("pitch")?;
    let crepe = Crepe::load(&dev, &data("crepe_tiny.safetensors"))?;
    let start = Instant::now();
    let predictor = crepe.predictor(BATCH)?;
    println!("the predictor, {BATCH} frames at once, was made in {:.2} s", start.elapsed().as_secs_f64());
    let before = dev.counters().objects();
    match &options.wav {
        Some(path) => recording(&predictor, path, &out)?,
        None => clips(&predictor, &out)?,
    }
    println!(
        "objects created on the device since the predictor was made: {}",
        dev.counters().objects() - before
    );
    Ok(())
}

/// The probabilities of all frames of a sound.
fn listen(predictor: &Predictor, samples: &[f32]) -> Result<Vec<f32>, recurve::Error> {
    let start = Instant::now();
    let batches: Vec<Vec<f32>> =
        predictor.stream(frames::batches(samples, BATCH)).collect::<Result<_, _>>()?;
    let (time, seconds) = (start.elapsed().as_secs_f64(), samples.len() as f64 / f64::from(SAMPLE_RATE));
    println!("  {seconds:.2} s of sound in {time:.2} s: {:.1} times as fast as it sounds", seconds / time);
    Ok(batches.concat())
}

/// The repository's clips, against what the network gave where it comes from.
fn clips(predictor: &Predictor, out: &Path) -> Result<(), Box<dyn Error>> {
    let (expected, cut) = reference::load()?;
    for ((name, _), expected) in reference::CLIPS.iter().zip(&expected) {
        println!("{name}");
        let samples = reference::clip(name)?;
        if *name == "guit_e_slide" {
            let far = reference::frame_difference(&samples, &cut);
            println!("  frames are cut as in the reference, within {far:.0e}");
        }
        let probabilities = listen(predictor, &samples)?;
        let (far, others) = expected.differences(&probabilities);
        println!("  largest difference from the reference: {far:.0e} of the probabilities");
        println!("  the highest bin is another in {others} of {} frames", expected.bins.len());
        if far > TOLERANCE {
            return Err(format!("{name}: {far:e} from the reference, {TOLERANCE:e} are allowed").into());
        }
        show(&samples, &probabilities, name, &out.join(format!("{name}.png")))?;
    }
    Ok(())
}

/// A recording of the user's.
fn recording(predictor: &Predictor, path: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let wav = Wav::from_path(path)?;
    let (shown, rate) = (path.display(), wav.sample_rate);
    if !RATES.contains(&rate) {
        let (low, high) = (RATES.start(), RATES.end());
        return Err(format!("{shown}: {rate} samples per second where {low} to {high} are taken").into());
    }
    let samples = resample::resample(&wav.mono(), rate);
    if samples.is_empty() {
        return Err(format!("{shown}: no samples").into());
    }
    println!("{shown}");
    if rate != SAMPLE_RATE {
        println!("  brought from {rate} to {SAMPLE_RATE} samples per second");
    }
    let probabilities = listen(predictor, &samples)?;
    let name = path.file_stem().unwrap_or_default().display().to_string();
    show(&samples, &probabilities, &name, &out.join("recording.png"))
}

/// Prints the notes, and draws the picture.
fn show(samples: &[f32], probabilities: &[f32], name: &str, picture: &Path) -> Result<(), Box<dyn Error>> {
    let track = track(probabilities);
    let heard = track.iter().filter(|p| p.heard()).count();
    println!("  a pitch is heard in {heard} of {} frames", track.len());
    let notes = notes(&track);
    for Note { name, start, end, frequency, cents } in &notes {
        println!("    {name:3} {start:5.2} to {end:5.2} s: {frequency:6.1} Hz, {cents:+3.0} cents");
    }
    sheets::tracked(picture, &format!("The pitch of {name}"), samples, &track, &notes)?;
    println!("  the picture is {}", picture.display());
    Ok(())
}
