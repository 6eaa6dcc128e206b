//! From probabilities to pitches, and from these to notes.

use super::frames::HOP_SECONDS;
use super::net::BINS;

/// A pitch is believed from this probability on.
pub const CONFIDENT: f32 = 0.5;
/// Cents from one bin to the next.
const BIN_CENTS: f64 = 20.0;
/// Cents of the first bin above 10 Hz. (The paper's first bin is C1; the authors' weights were trained with this value,
/// 31.7 Hz.)
const FIRST_CENTS: f64 = 1_997.379_408_437_619;
/// Bins to each side of the highest that its neighbourhood has.
const REACH: usize = 4;
/// Shorter notes are not listed, in frames.
const SHORTEST: usize = 8;

/// What is heard in one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pitch {
    /// In Hz.
    pub frequency: f64,
    /// The highest probability.
    pub confidence: f32,
}

impl Pitch {
    /// Whether it is believed.
    pub fn heard(&self) -> bool {
        self.confidence >= CONFIDENT
    }

    /// Semitones above A4, 440 Hz.
    pub fn semitones(&self) -> f64 {
        12.0 * (self.frequency / 440.0).log2()
    }
}

/// The bin with the highest probability, the first of equal ones.
pub fn highest(probabilities: &[f32]) -> usize {
    (1..probabilities.len()).fold(0, |best, i| if probabilities[i] > probabilities[best] { i } else { best })
}

/// The pitch of one frame: the mean of the bins' cents, weighted by their probabilities (the paper's formulas 2 and 3), over
/// the bins around the highest as in the authors' program.
pub fn decode(probabilities: &[f32]) -> Pitch {
    let best = highest(probabilities);
    let (mut sum, mut weights) = (0.0, 0.0);
    for bin in best.saturating_sub(REACH)..(best + REACH + 1).min(probabilities.len()) {
        let weight = f64::from(probabilities[bin]);
        sum += weight * (FIRST_CENTS + BIN_CENTS * bin as f64);
        weights += weight;
    }
    let cents = sum / weights.max(f64::MIN_POSITIVE);
    Pitch { frequency: 10.0 * (cents / 1200.0).exp2(), confidence: probabilities[best] }
}

/// The pitches of all frames.
pub fn track(probabilities: &[f32]) -> Vec<Pitch> {
    probabilities.chunks_exact(BINS).map(decode).collect()
}

/// A note that is held for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// As in `F#4`.
    pub name: String,
    /// In seconds.
    pub start: f64,
    /// In seconds.
    pub end: f64,
    /// The median, in Hz.
    pub frequency: f64,
    /// Cents between that and the note of equal temperament.
    pub cents: f64,
}

/// The notes of a track: neighbouring frames that are believed and nearest to the same note.
pub fn notes(track: &[Pitch]) -> Vec<Note> {
    let nearest = |p: &Pitch| p.heard().then(|| p.semitones().round() as i32);
    let mut at = 0;
    let mut all = Vec::new();
    for run in track.chunk_by(|a, b| nearest(a) == nearest(b)) {
        if let Some(semitones) = nearest(&run[0]).filter(|_| run.len() >= SHORTEST) {
            let mut frequencies: Vec<f64> = run.iter().map(|p| p.frequency).collect();
            frequencies.sort_by(f64::total_cmp);
            let frequency = frequencies[frequencies.len() / 2];
            let [start, end] = [at, at + run.len()].map(|frames| frames as f64 * HOP_SECONDS);
            let cents = 1200.0 * (frequency / 440.0).log2() - 100.0 * f64::from(semitones);
            all.push(Note { name: name(semitones), start, end, frequency, cents });
        }
        at += run.len();
    }
    all
}

/// The name of a note, in semitones above A4.
pub fn name(semitones: i32) -> String {
    const NAMES: [&str; 12] = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"];
    let above_c0 = semitones + 57;
    format!("{}{}", NAMES[above_c0.rem_euclid(12) as usize], above_c0.div_euclid(12))
}
