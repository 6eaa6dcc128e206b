//! Tunes in ABC notation, read as music: what sounds when, and how the bars add up.
//!
//! ABC (C. Walshaw) writes a tune as text: fields such as `M:6/8`, `L:1/8` and `K:D`, then notes and bar lines.
//! [`Tune::parse`] understands one voice: keys and modes with their accidentals, accidentals that last for a bar,
//! lengths, octave marks, rests, ties, tuplets, broken rhythm, chords, repeats with their endings, and fields within
//! the tune. Grace notes, slurs, decorations, chord names, lyrics and spacing are skipped. Source: "The abc music
//! standard 2.1", 2011, <https://abcnotation.com/wiki/abc:standard:v2.1>.

#[path = "abc/cursor.rs"]
mod cursor;
#[path = "abc/fields.rs"]
mod fields;
#[path = "abc/notes.rs"]
mod notes;
#[path = "abc/order.rs"]
mod order;
#[path = "abc/reader.rs"]
mod reader;

pub use fields::{Key, Meter};

/// Ticks of a whole note: halves down to 1/1024, of which three, five, seven or nine may stand in another's place.
pub const WHOLE: u32 = 322_560;

/// What is wrong with a tune. Lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AbcError {
    /// A field says what it must not.
    #[error("line {line}: {field}:{value} is no {what}")]
    Field {
        /// Where it stands.
        line: usize,
        /// The field's letter.
        field: char,
        /// What follows the letter.
        value: String,
        /// What should follow.
        what: &'static str,
    },
    /// Music before the key, which ends the header.
    #[error("line {line}: music before the key (K:)")]
    NoKey {
        /// Where it stands.
        line: usize,
    },
    /// There is no note.
    #[error("a tune without a note")]
    Empty,
    /// More than a thousand whole notes are written.
    #[error("a tune of more than a thousand whole notes")]
    Long,
    /// A character that has no meaning there.
    #[error("line {line}, column {column}: {found:?} has no meaning there")]
    Unexpected {
        /// Where it stands.
        line: usize,
        /// Where it stands in the line.
        column: usize,
        /// The character.
        found: char,
    },
    /// The line ends within grace notes, a chord, a text or a decoration.
    #[error("line {line}, column {column}: {opened:?} is not closed")]
    Unclosed {
        /// Where it was opened.
        line: usize,
        /// Where it was opened in the line.
        column: usize,
        /// What opened it.
        opened: char,
    },
    /// A length of nothing, of more than 16 whole notes, or finer than [`WHOLE`] can be cut.
    #[error("line {line}, column {column}: a note of a length that cannot be told")]
    Length {
        /// Where it stands.
        line: usize,
        /// Where it stands in the line.
        column: usize,
    },
    /// A note above or below what can be written in MIDI.
    #[error("line {line}, column {column}: a note out of range")]
    Pitch {
        /// Where it stands.
        line: usize,
        /// Where it stands in the line.
        column: usize,
    },
}

/// A tune as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tune {
    /// The title (`T:`), or nothing.
    pub title: String,
    /// The meter at the beginning; none is free.
    pub meter: Option<Meter>,
    /// The key at the beginning.
    pub key: Key,
    /// The bars, in the order in which they are written.
    pub bars: Vec<Bar>,
}

/// What is written between two bar lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bar {
    /// Notes, chords and rests, one after the other.
    pub events: Vec<Event>,
    /// What the meter asks for, in ticks.
    pub full: Option<u32>,
    /// Whether a repeated part begins here.
    pub opens: bool,
    /// Whether it ends with "again".
    pub closes: bool,
    /// Whether it ends with a double bar line or another one that ends a part.
    pub last: bool,
    /// The times at which an ending that begins here is played; none where no ending begins.
    pub endings: Vec<u8>,
}

/// A note, a chord, or a rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Ticks.
    pub length: u32,
    /// What sounds; nothing in a rest.
    pub sounds: Vec<Sound>,
}

/// A note of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sound {
    /// MIDI's number: 60 is the C in the middle.
    pub pitch: u8,
    /// Whether it sounds on into the next event.
    pub tied: bool,
}

/// A tune as it is played, repeats written out and tied notes joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Performance {
    /// In the order of their beginnings.
    pub notes: Vec<Note>,
    /// Where each bar begins, in ticks.
    pub bars: Vec<u32>,
    /// Ticks in all.
    pub length: u32,
}

/// A note as it is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Ticks from the beginning of the tune.
    pub start: u32,
    /// Ticks.
    pub length: u32,
    /// MIDI's number.
    pub pitch: u8,
}

/// How the bars of a tune add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Bars as long as the meter says.
    pub full: usize,
    /// Shorter ones at the beginning or the end of a part: an upbeat, and what it leaves over.
    pub upbeats: usize,
    /// All others.
    pub wrong: usize,
}

impl Bar {
    /// Ticks of all that is written.
    pub fn length(&self) -> u32 {
        self.events.iter().map(|e| e.length).sum()
    }
}

impl Tune {
    /// Reads a tune.
    ///
    /// # Errors
    /// [`AbcError`], which says where something is wrong.
    pub fn parse(text: &str) -> Result<Tune, AbcError> {
        reader::parse(text)
    }

    /// What is heard.
    pub fn performance(&self) -> Performance {
        order::performance(&self.bars)
    }

    /// Compares each bar with the meter.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for (i, bar) in self.bars.iter().enumerate() {
            let before = i.checked_sub(1).map(|i| &self.bars[i]);
            let after = self.bars.get(i + 1);
            let begins = bar.opens || before.is_none_or(|b| b.closes || b.last);
            let ends = bar.closes || bar.last || after.is_none_or(|b| b.opens || !b.endings.is_empty());
            let length = bar.length();
            match bar.full {
                Some(full) if length < full && (begins || ends) => sums.upbeats += 1,
                Some(full) if length != full => sums.wrong += 1,
                _ => sums.full += 1,
            }
        }
        sums
    }
}
