//! What the models gave where they come from, to compare with.

use super::g2p::{HIDDEN as WORD_HIDDEN, Pronunciation};
use super::segments::Segment;
use super::vad::HIDDEN;
use recurve::params::Match;
use recurve::{Device, Init, Params, Result};
use std::error::Error;
use std::path::{Path, PathBuf};

/// The repository's folder of weights, references and sounds.
pub fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/speech-data").join(path)
}

/// Chunks of the recording of digits.
pub const CHUNKS: usize = 820;
/// Chunks for which the states are known.
pub const FIRST: usize = 64;

/// What the voice-activity detector gave for the recording of digits.
pub struct Voice {
    /// By chunk.
    pub probabilities: Vec<f32>,
    /// h and c after each of the first chunks, and after the last one: each `[2, HIDDEN]`.
    states: Vec<Vec<f32>>,
}

impl Voice {
    /// Reads the repository's file.
    pub fn load() -> Result<Voice> {
        let params = Params::new(&Device::cpu(), 0);
        let buffer = |name: &str, shape: &[usize]| params.root().buffer(name, shape, Init::Zeros);
        let probabilities = buffer("probs", &[CHUNKS]);
        let states = buffer("state_first64", &[FIRST, 2, HIDDEN]);
        let last = buffer("state_last", &[2, HIDDEN]);
        buffer("features_into_lstm_first64", &[FIRST, HIDDEN]);
        params.load(data("silero-vad/reference.safetensors"))?;
        let values = [states.tensor().to_vec()?, last.tensor().to_vec()?].concat();
        let states = values.chunks_exact(2 * HIDDEN).map(<[f32]>::to_vec).collect();
        Ok(Voice { probabilities: probabilities.tensor().to_vec()?, states })
    }

    /// h and c after so many chunks: up to [`FIRST`], or all of them.
    pub fn states_after(&self, chunks: usize) -> &[f32] {
        &self.states[if chunks == CHUNKS { FIRST } else { chunks - 1 }]
    }
}

/// A word with its pronunciations.
#[derive(Clone, Debug)]
pub struct Entry {
    pub word: String,
    /// What the network wrote.
    pub expected: String,
    /// What the dictionary says, if it has the word.
    pub dictionary: Option<String>,
}

/// The words of the repository.
pub fn words() -> Result<Vec<Entry>, Box<dyn Error>> {
    let table = rows(&data("g2p/expected_phonemes.tsv"), '\t')?;
    let entry = |row: Vec<String>| match <[String; 3]>::try_from(row) {
        Ok([word, expected, dictionary]) => {
            let dictionary = Some(dictionary).filter(|d| !d.is_empty());
            Ok(Entry { word, expected, dictionary })
        }
        Err(row) => Err(format!("a row of {} instead of 3 columns", row.len()).into()),
    };
    table.into_iter().map(entry).collect()
}

/// Words whose logits are known.
pub const TRACED: [&str; 12] = [
    "activationist",
    "backpropagation",
    "chorale",
    "convolution",
    "gradient",
    "ircam",
    "lstm",
    "musique",
    "residual",
    "tensorium",
    "unforgettably",
    "wgpu",
];

/// What the network computed for one word.
pub struct Trace {
    /// The encoder's states, `[letters + 1, WORD_HIDDEN]`.
    states: Vec<f32>,
    /// The decoder's logits, `[phonemes + 1, 74]`.
    logits: Vec<f32>,
}

impl Trace {
    /// Reads what is known of `word`, which is pronounced with `phonemes` phonemes.
    pub fn load(word: &str, phonemes: usize) -> Result<Trace> {
        let params = Params::new(&Device::cpu(), 0);
        let scope = params.at(word);
        let states = scope.buffer("enc_hidden", [word.len() + 1, WORD_HIDDEN], Init::Zeros);
        let logits = scope.buffer("dec_logits", [phonemes + 1, 74], Init::Zeros);
        let loaded = params.load_matching(data("g2p/reference.safetensors"), Match::Partial)?;
        assert!(loaded.missing.is_empty(), "the file of references has no {:?}", loaded.missing);
        Ok(Trace { states: states.tensor().to_vec()?, logits: logits.tensor().to_vec()? })
    }

    /// How far states after each letter and a pronunciation's logits are from these.
    pub fn differences(&self, states: &[f32], found: &Pronunciation) -> [f32; 2] {
        [largest_difference(states, &self.states), largest_difference(&found.logits.concat(), &self.logits)]
    }
}

/// The largest difference between values; infinite where there are more of one kind.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    let first = if a.len() == b.len() { 0.0 } else { f32::INFINITY };
    // A NaN is a difference too.
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(first, |m, d| if d <= m { m } else { d })
}

/// A spoken digit.
#[derive(Clone, Debug)]
pub struct Digit {
    pub at: Segment,
    pub speaker: String,
    pub digit: String,
}

/// Where digits are spoken in the recording.
pub fn digits() -> Result<Vec<Digit>, Box<dyn Error>> {
    let digit = |row: Vec<String>| -> Result<Digit, Box<dyn Error>> {
        let [start, end, speaker, digit] = <[String; 4]>::try_from(row)
            .map_err(|row| format!("a row of {} instead of 4 columns", row.len()))?;
        Ok(Digit { at: Segment { start: start.parse()?, end: end.parse()? }, speaker, digit })
    };
    rows(&data("digits/digits_6speakers_labels.csv"), ',')?.into_iter().map(digit).collect()
}

/// The rows of a table below its heading.
fn rows(path: &Path, separator: char) -> Result<Vec<Vec<String>>, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let row = |line: &str| line.split(separator).map(str::to_string).collect();
    Ok(text.lines().skip(1).map(row).collect())
}
