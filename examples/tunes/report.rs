//! What is left at the end: tunes as ABC, as MIDI and as pictures, and the curve of the training.

use super::abc::{Performance, Tune, WHOLE};
use super::model::{Config, Model};
use super::options::Options;
use super::sample::{Request, invent};
use super::sheets;
use crate::support::midi::{self, QUARTER, Song, Track, instrument};
use recurve::{Device, checkpoint};
use std::error::Error;
use std::path::Path;

/// Tunes are invented this often at most until there are as many sound ones as asked for.
const TRIES: usize = 3;
/// The longest tune, in characters.
const LONGEST: usize = 1500;

/// A tune that was invented, and is music.
#[derive(Clone, Debug)]
pub struct Invention {
    /// ABC, with number and title.
    pub text: String,
    /// What it says.
    pub tune: Tune,
}

/// The model of the checkpoint.
pub fn load(dev: &Device, options: &Options) -> Result<Model, Box<dyn Error>> {
    let progress = checkpoint::read_progress(options.checkpoint())?;
    let config = progress.notes.get("model").and_then(|note| Config::from_note(note));
    let config = config.ok_or("the checkpoint is none of this example: it does not describe its model")?;
    let model = Model::new(dev, options.seed, config);
    model.params.load(options.checkpoint())?;
    Ok(model)
}

/// Invents tunes, and writes those that are music to the output folder.
pub fn tunes(model: &Model, options: &Options) -> Result<Vec<Invention>, Box<dyn Error>> {
    let begin = options.begin.replace("\\n", "\n");
    let mut found = Vec::new();
    let (mut tried, mut full, mut bars) = (0, 0, 0);
    'batches: for batch in 0..TRIES {
        let (count, first) = (options.tunes, (batch * options.tunes) as u64);
        let (temperature, seed) = (options.temperature, options.seed);
        let request = Request { count, begin: begin.clone(), temperature, seed, first, longest: LONGEST };
        for body in invent(model, &request)? {
            tried += 1;
            match Tune::parse(&body) {
                Err(error) => println!("invented tune {tried} is no music: {error}"),
                Ok(_) => {
                    let text = format!("X:{}\nT:Recurve no. {tried}, seed {seed}\n{body}\n", found.len() + 1);
                    let tune = Tune::parse(&text)?;
                    let sums = tune.sums();
                    (full, bars) = (full + sums.full + sums.upbeats, bars + tune.bars.len());
                    found.push(Invention { text, tune });
                    if found.len() == options.tunes {
                        break 'batches;
                    }
                }
            }
        }
    }
    let share = 100.0 * full as f64 / bars.max(1) as f64;
    println!(
        "{tried} tunes invented, {} of them kept: {bars} bars, of which {share:.1} % add up",
        found.len()
    );
    for (i, invention) in found.iter().enumerate() {
        let name = |ending: &str| options.out.join(format!("tune-{}.{ending}", i + 1));
        write(&name("abc"), invention.text.as_bytes())?;
        write(&name("mid"), &song(&invention.tune).to_bytes())?;
        let Performance { notes, length, .. } = invention.tune.performance();
        let whole = f64::from(length) / f64::from(WHOLE);
        println!("  {}: {} notes, {whole} whole notes long", name("abc").display(), notes.len());
    }
    if !found.is_empty() {
        let title = format!("Tunes that the network invented, at a temperature of {}", options.temperature);
        sheets::rolls(&options.out.join("tunes.png"), &title, &found)?;
    }
    Ok(found)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    std::fs::write(path, bytes).map_err(|e| format!("{}: {e}", path.display()).into())
}

/// A tune for players.
pub fn song(tune: &Tune) -> Song {
    let ticks = |n: u32| (u64::from(n) * 4 * u64::from(QUARTER) / u64::from(WHOLE)) as u32;
    let note = |n: &super::abc::Note| {
        let (start, end) = (ticks(n.start), ticks(n.start + n.length));
        midi::Note { start, length: end - start, pitch: n.pitch }
    };
    let meter = tune.meter.map_or((4, 4), |m| (m.beats as u8, m.unit as u8));
    // Jigs and their kin go in dotted quarters, 2/2 in halves.
    let tempo = match meter {
        (6 | 9 | 12, 8) => 180.0,
        (2, 2) => 200.0,
        (2, 4) => 100.0,
        _ => 140.0,
    };
    Song {
        title: tune.title.clone(),
        tempo,
        meter,
        key: (tune.key.sharps, tune.key.minor),
        tracks: vec![Track {
            name: "Melody".into(),
            instrument: instrument::VIOLIN,
            notes: tune.performance().notes.iter().map(note).collect(),
        }],
    }
}
