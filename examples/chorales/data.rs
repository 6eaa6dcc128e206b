//! Chorales on a grid of sixteenth notes, from the two files in which they are around.

use crate::support::compressed;
use recurve::data::DataError;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Soprano, alto, tenor and bass.
pub const VOICES: usize = 4;
/// What a voice can do: be silent, or sing one of 47 pitches.
pub const CLASSES: usize = 48;
/// The lowest pitch, C2; the highest is 46 semitones above.
const LOWEST: i64 = 36;
/// The class of silence.
pub const SILENCE: u8 = 0;

/// Why a file of chorales cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChoraleError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] DataError),
    /// It is no JSON.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// It is JSON of another kind.
    #[error("{}: {part}: expected {expected}", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// Which part of it.
        part: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A pitch that is neither silence nor sung.
    #[error("{}: {part}: a pitch of {pitch}, not of {LOWEST} to {}", path.display(), LOWEST + CLASSES as i64 - 2)]
    Pitch {
        /// The file.
        path: PathBuf,
        /// Which part of it.
        part: String,
        /// The pitch.
        pitch: i64,
    },
}

/// A chorale: the class of each voice at each sixteenth.
pub type Chorale = Vec<[u8; VOICES]>;

/// Chorales to learn from, to choose by, and to test on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chorales {
    pub train: Vec<Chorale>,
    pub valid: Vec<Chorale>,
    pub test: Vec<Chorale>,
}

/// MIDI's number of a class; none is silence.
pub fn pitch(class: u8) -> Option<u8> {
    (class != SILENCE).then(|| class - 1 + LOWEST as u8)
}

/// Where something stands in a file.
struct Place<'a> {
    path: &'a Path,
    part: String,
}

impl Place<'_> {
    fn layout(&self, expected: &'static str) -> ChoraleError {
        ChoraleError::Layout { path: self.path.into(), part: self.part.clone(), expected }
    }

    /// The class of a pitch, where `silence` stands for none.
    fn class(&self, pitch: &Value, silence: i64) -> Result<u8, ChoraleError> {
        let pitch = pitch.as_i64().ok_or_else(|| self.layout("whole numbers"))?;
        match pitch - LOWEST + 1 {
            _ if pitch == silence => Ok(SILENCE),
            class if (1..CLASSES as i64).contains(&class) => Ok(class as u8),
            _ => Err(ChoraleError::Pitch { path: self.path.into(), part: self.part.clone(), pitch }),
        }
    }
}

impl Chorales {
    /// Reads a file, gzipped or plain: the canonical split (an object with lists `train`, `valid` and `test` of chorales,
    /// lists of steps of four pitches, -1 for silence), or this repository's list of objects whose `satb16` has a list
    /// per voice, 0 for silence. Of the latter every fifth is for validation and every fifth for testing.
    pub fn load(path: &Path) -> Result<Chorales, ChoraleError> {
        let bytes = compressed::read(path)?;
        let json: Value = serde_json::from_slice(&bytes)
            .map_err(|source| ChoraleError::Json { path: path.into(), source })?;
        let place = |part: String| Place { path, part };
        let mut all = Chorales::default();
        match json {
            Value::Object(splits) => {
                let parts = [("train", &mut all.train), ("valid", &mut all.valid), ("test", &mut all.test)];
                for (name, chorales) in parts {
                    let list = splits.get(name).and_then(Value::as_array);
                    let list = list.ok_or_else(|| place(name.into()).layout("a list of chorales"))?;
                    for (i, steps) in list.iter().enumerate() {
                        chorales.push(by_steps(steps, &place(format!("{name}, chorale {}", i + 1)))?);
                    }
                }
            }
            Value::Array(list) => {
                for (i, chorale) in list.iter().enumerate() {
                    let part = match i % 5 {
                        3 => &mut all.valid,
                        4 => &mut all.test,
                        _ => &mut all.train,
                    };
                    part.push(by_voices(&chorale["satb16"], &place(format!("chorale {}", i + 1)))?);
                }
            }
            _ => return Err(place("the whole file".into()).layout("an object or a list")),
        }
        for (name, chorales) in [("train", &all.train), ("valid", &all.valid), ("test", &all.test)] {
            if chorales.is_empty() {
                return Err(place(name.into()).layout("at least one chorale"));
            }
        }
        Ok(all)
    }
}

/// `[[soprano, alto, tenor, bass], ..]`.
fn by_steps(steps: &Value, place: &Place<'_>) -> Result<Chorale, ChoraleError> {
    let steps = steps.as_array().filter(|s| s.len() > 1);
    let steps = steps.ok_or_else(|| place.layout("a list of at least two steps"))?;
    let mut chorale = Chorale::with_capacity(steps.len());
    for step in steps {
        let pitches = step.as_array().filter(|s| s.len() == VOICES);
        let pitches = pitches.ok_or_else(|| place.layout("steps of four pitches"))?;
        let mut classes = [SILENCE; VOICES];
        for (class, pitch) in classes.iter_mut().zip(pitches) {
            *class = place.class(pitch, -1)?;
        }
        chorale.push(classes);
    }
    Ok(chorale)
}

/// `[[soprano, ..], [alto, ..], [tenor, ..], [bass, ..]]`.
fn by_voices(voices: &Value, place: &Place<'_>) -> Result<Chorale, ChoraleError> {
    let four = || place.layout("satb16 with four lists of equal length, of at least two steps");
    let voices = voices.as_array().filter(|v| v.len() == VOICES).ok_or_else(four)?;
    let length = voices[0].as_array().map_or(0, Vec::len);
    let mut chorale = vec![[SILENCE; VOICES]; length];
    for (voice, pitches) in voices.iter().enumerate() {
        let pitches = pitches.as_array().filter(|p| p.len() == length && length > 1).ok_or_else(four)?;
        for (step, pitch) in chorale.iter_mut().zip(pitches) {
            step[voice] = place.class(pitch, 0)?;
        }
    }
    Ok(chorale)
}
