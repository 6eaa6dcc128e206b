//! From probabilities to stretches of speech, and how well they fit.

use super::vad::{CHUNK, SAMPLE_RATE};

/// Seconds of a chunk.
pub const CHUNK_SECONDS: f64 = CHUNK as f64 / SAMPLE_RATE as f64;
/// Speech begins at this probability.
pub const BEGINS: f32 = 0.5;
/// Speech goes on down to this probability.
const GOES_ON: f32 = 0.35;
/// Pauses of at most so many chunks are within speech.
const PAUSE: usize = 3;

/// A stretch of time in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    pub start: f64,
    pub end: f64,
}

impl Segment {
    /// Whether the two have time in common.
    pub fn meets(self, other: Segment) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// Stretches of speech. Once it has begun it goes on while it is only a little less probable, and over short pauses.
pub fn segments(probabilities: &[f32]) -> Vec<Segment> {
    let mut chunks: Vec<(usize, usize)> = Vec::new();
    let mut speaking = false;
    for (i, &p) in probabilities.iter().enumerate() {
        speaking = p >= if speaking { GOES_ON } else { BEGINS };
        match chunks.last_mut() {
            Some((_, end)) if speaking && i - *end <= PAUSE => *end = i + 1,
            _ if speaking => chunks.push((i, i + 1)),
            _ => {}
        }
    }
    let seconds = |i: usize| i as f64 * CHUNK_SECONDS;
    chunks.into_iter().map(|(start, end)| Segment { start: seconds(start), end: seconds(end) }).collect()
}

/// Per cent of chunks for which a probability of at least one half agrees with the segments at the chunk's middle.
pub fn agreement(probabilities: &[f32], truth: &[Segment]) -> f64 {
    let spoken = |i: usize| {
        let middle = (i as f64 + 0.5) * CHUNK_SECONDS;
        truth.iter().any(|s| (s.start..s.end).contains(&middle))
    };
    let count = probabilities.iter().enumerate().filter(|&(i, &p)| (p >= BEGINS) == spoken(i)).count();
    100.0 * count as f64 / probabilities.len().max(1) as f64
}
