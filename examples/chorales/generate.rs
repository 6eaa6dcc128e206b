//! New chorales: each voice's next step is drawn from what the network predicts, and heard by it as the next one.

use super::data::{CLASSES, Chorale, VOICES, pitch};
use super::net::Net;
use crate::support::midi::{Note, QUARTER, Song, Track, instrument};
use crate::support::sampling::Sampler;
use recurve::nn::Mode;
use recurve::{Device, Result, no_grad};

/// Names of the voices.
pub const NAMES: [&str; VOICES] = ["Soprano", "Alto", "Tenor", "Bass"];
/// Sixteenths of a quarter note.
const PER_QUARTER: u32 = 4;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Steps in all.
    pub length: usize,
    /// What logits are divided by.
    pub temperature: f64,
    /// The same seed makes the same chorales.
    pub seed: u64,
}

/// A chorale for each of `beginnings`, which must be of one length: it goes on from there.
pub fn generate(
    dev: &Device,
    net: &Net,
    beginnings: &[&[[u8; VOICES]]],
    request: &Request,
) -> Result<Vec<Chorale>> {
    let count = beginnings.len();
    let mut samplers: Vec<Sampler> =
        (0..count as u64).map(|i| Sampler::new(request.seed, i, request.temperature)).collect();
    let mut chorales: Vec<Chorale> = beginnings.iter().map(|b| b[..1].to_vec()).collect();
    let mut state = net.start(dev, count);
    for step in 1..request.length {
        let latest: Vec<i64> = chorales.iter().flat_map(|c| c[step - 1]).map(i64::from).collect();
        let inputs = dev.indices(&latest, [1, count, VOICES]);
        let (logits, next) = no_grad(|| net.forward(&inputs, &state, Mode::Eval));
        state = next;
        let logits = logits.to_vec()?;
        let rows: Vec<&[f32]> = logits.chunks_exact(CLASSES).collect();
        for (i, chorale) in chorales.iter_mut().enumerate() {
            let mut classes = [0; VOICES];
            for (voice, class) in classes.iter_mut().enumerate() {
                *class = samplers[i].draw(rows[i * VOICES + voice]) as u8;
            }
            chorale.push(beginnings[i].get(step).copied().unwrap_or(classes));
        }
    }
    Ok(chorales)
}

/// A note: start and length in steps, pitch, voice. What is sung on is one note.
pub fn notes(chorale: &Chorale) -> Vec<(u32, u32, u8, usize)> {
    let mut all: Vec<(u32, u32, u8, usize)> = Vec::new();
    for voice in 0..VOICES {
        let mut before = None;
        for (step, classes) in chorale.iter().enumerate() {
            let now = pitch(classes[voice]);
            match now {
                Some(_) if now == before => all.last_mut().into_iter().for_each(|note| note.1 += 1),
                Some(pitch) => all.push((step as u32, 1, pitch, voice)),
                None => {}
            }
            before = now;
        }
    }
    all
}

/// A chorale for players, a track per voice.
pub fn song(title: &str, chorale: &Chorale) -> Song {
    let notes = notes(chorale);
    let tick = QUARTER / PER_QUARTER;
    let track = |voice: usize| Track {
        name: NAMES[voice].into(),
        instrument: instrument::CHURCH_ORGAN,
        notes: (notes.iter().filter(|n| n.3 == voice))
            .map(|&(start, length, pitch, _)| Note { start: start * tick, length: length * tick, pitch })
            .collect(),
    };
    Song {
        title: title.into(),
        tempo: 72.0,
        meter: (4, 4),
        key: (0, false),
        tracks: (0..VOICES).map(track).collect(),
    }
}
