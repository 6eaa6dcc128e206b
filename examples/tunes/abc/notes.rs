//! Notes, chords, rests, and what changes their lengths.

use super::cursor::Line;
use super::fields::Meter;
use super::reader::Reader;
use super::{AbcError, Event, Sound, WHOLE};

/// A note as it is written: letter, octave above the one that begins at the C in the middle, and by how many semitones
/// it is moved.
pub type Written = (usize, i32, i8);

/// The letters of notes in the order of the scale, and their semitones above C.
const LETTERS: &str = "CDEFGAB";
const SEMITONES: [i32; 7] = [0, 2, 4, 5, 7, 9, 11];
/// The longest note.
const LONGEST: u64 = 16 * WHOLE as u64;

impl Reader {
    /// Ticks of `unit`·n/d by the present tuplet and broken rhythm, which are used up.
    fn ticks(&mut self, fraction: [u64; 2], column: usize) -> Result<u32, AbcError> {
        let default = self.meter.map_or(WHOLE / 8, Meter::default_unit);
        let mut factors = vec![fraction];
        if let Some((left, factor)) = self.tuplet {
            factors.push(factor);
            self.tuplet = (left > 1).then_some((left - 1, factor));
        }
        factors.extend(self.broken.take());
        let length = times(u64::from(self.unit.unwrap_or(default)), &factors);
        length.ok_or(AbcError::Length { line: self.line, column: column + 1 })
    }

    /// A note or a rest.
    pub fn note(&mut self, line: &mut Line) -> Result<(), AbcError> {
        let start = line.at;
        let mut sounds = Vec::new();
        if !line.eat('z') && !line.eat('x') {
            sounds.push(self.pitch(line)?);
        }
        let fraction = line.length();
        let length = self.ticks(fraction, start)?;
        self.push(length, sounds);
        Ok(())
    }

    /// A note without its length.
    fn pitch(&mut self, line: &mut Line) -> Result<Written, AbcError> {
        let start = line.at;
        let (sharps, flats, natural) = (line.count('^'), line.count('_'), line.count('='));
        let letter = line.peek().filter(char::is_ascii_alphabetic).and_then(|c| {
            let letter = LETTERS.find(c.to_ascii_uppercase())?;
            Some((letter, i32::from(c.is_ascii_lowercase())))
        });
        let (letter, mut octave) = letter.ok_or_else(|| self.unexpected(line, line.at))?;
        line.at += 1;
        loop {
            match line.peek() {
                Some('\'') => octave += 1,
                Some(',') => octave -= 1,
                _ => break,
            }
            line.at += 1;
        }
        let tied = self.ties.iter().find(|t| (t.0, t.1) == (letter, octave)).map(|t| t.2);
        let alteration = match (sharps, flats, natural) {
            (0, 0, 0) => {
                let key = self.key.map_or(0, |key| key.alteration(letter));
                tied.or(self.accidentals[letter]).unwrap_or(key)
            }
            (1..=2, 0, 0) | (0, 1..=2, 0) | (0, 0, 1) => {
                let accidental = sharps as i8 - flats as i8;
                self.accidentals[letter] = Some(accidental);
                accidental
            }
            _ => return Err(self.unexpected(line, start)),
        };
        match pitch((letter, octave, alteration)) {
            Some(_) => Ok((letter, octave, alteration)),
            None => Err(AbcError::Pitch { line: self.line, column: start + 1 }),
        }
    }

    /// What is written becomes an event.
    fn push(&mut self, length: u32, notes: Vec<Written>) {
        let sounds = notes.iter().filter_map(|&n| pitch(n)).map(|pitch| Sound { pitch, tied: false });
        self.bar.events.push(Event { length, sounds: sounds.collect() });
        self.ties.clear();
        self.latest = notes;
    }

    /// Ties what was read last to what comes next.
    pub fn tie(&mut self) {
        self.ties = self.latest.clone();
        let latest =
            self.bar.events.last_mut().or(self.bars.last_mut().and_then(|bar| bar.events.last_mut()));
        latest.into_iter().flat_map(|event| &mut event.sounds).for_each(|sound| sound.tied = true);
    }

    /// A chord: it is as long as its first note, times the length behind it.
    pub fn chord(&mut self, line: &mut Line) -> Result<(), AbcError> {
        let start = line.at;
        line.at += 1;
        let (mut notes, mut tied, mut first) = (Vec::new(), Vec::new(), None);
        loop {
            match line.peek() {
                Some(']') => break,
                Some('"' | '!' | '+') => self.skip(line, line.chars[line.at])?,
                Some('A'..='G' | 'a'..='g' | '^' | '_' | '=') => {
                    notes.push(self.pitch(line)?);
                    let length = line.length();
                    first.get_or_insert(length);
                    tied.push(line.eat('-'));
                }
                Some(' ' | '(' | ')' | '.' | '~' | 'H'..='W' | 'h'..='w') => line.at += 1,
                Some(_) => return Err(self.unexpected(line, line.at)),
                None => {
                    return Err(AbcError::Unclosed { line: self.line, column: start + 1, opened: '[' });
                }
            }
        }
        line.at += 1;
        let outer = line.length();
        let [n, d] = first.ok_or_else(|| self.unexpected(line, start))?;
        let length = self.ticks([n * outer[0], d * outer[1]], start)?;
        self.push(length, notes);
        if tied.contains(&true) {
            let sounds = self.bar.events.last_mut().into_iter().flat_map(|event| &mut event.sounds);
            sounds.zip(&tied).for_each(|(sound, &tied)| sound.tied = tied);
            self.ties = self.latest.iter().zip(&tied).filter(|n| *n.1).map(|n| *n.0).collect();
        }
        Ok(())
    }

    /// Rests for whole bars.
    pub fn bars_of_rest(&mut self, line: &mut Line) -> Result<(), AbcError> {
        let start = line.at;
        line.at += 1;
        let count = line.number().unwrap_or(1);
        let full = self.meter.map(Meter::ticks).filter(|_| (1..=64).contains(&count));
        let length = full.ok_or(AbcError::Length { line: self.line, column: start + 1 })?;
        for i in 0..count {
            if i > 0 {
                self.end_bar(false, false, false);
            }
            self.push(length, Vec::new());
        }
        Ok(())
    }

    /// Makes what stands before `>` longer by half and what comes next shorter, or the other way round.
    pub fn broken_rhythm(&mut self, line: &mut Line) -> Result<(), AbcError> {
        let start = line.at;
        let sign = line.chars[start];
        let n = line.count(sign).min(4);
        let (long, short) = ([(2 << n) - 1, 1 << n], [1, 1 << n]);
        let (before, after) = if sign == '>' { (long, short) } else { (short, long) };
        let event = self.bar.events.last_mut();
        let event = event.ok_or(AbcError::Unexpected { line: self.line, column: start + 1, found: sign })?;
        let length = times(u64::from(event.length), &[before]);
        event.length = length.ok_or(AbcError::Length { line: self.line, column: start + 1 })?;
        self.broken = Some(after);
        Ok(())
    }

    /// A slur, which is skipped, or `(p:q:r`: p notes in the time of q, for the next r notes.
    pub fn tuplet(&mut self, line: &mut Line) {
        line.at += 1;
        let digit = |line: &mut Line| {
            let digit = line.peek().and_then(|c| c.to_digit(10)).filter(|&d| d > 0);
            line.at += usize::from(digit.is_some());
            digit
        };
        let Some(p) = digit(line) else { return };
        let q = if line.eat(':') { digit(line) } else { None };
        let r = if line.eat(':') { digit(line) } else { None };
        let q = q.unwrap_or(match p {
            2 | 4 | 8 => 3,
            3 | 6 => 2,
            _ if self.meter.is_some_and(Meter::compound) => 3,
            _ => 2,
        });
        self.tuplet = Some((r.unwrap_or(p), [u64::from(q), u64::from(p)]));
    }
}

/// MIDI's number of a note, if it has one.
fn pitch((letter, octave, alteration): Written) -> Option<u8> {
    let pitch = 60 + SEMITONES[letter] + 12 * octave + i32::from(alteration);
    u8::try_from(pitch).ok().filter(|&p| p < 128)
}

/// A length by factors n/d, where that is a whole number of ticks.
fn times(length: u64, factors: &[[u64; 2]]) -> Option<u32> {
    let (mut n, mut d) = (length, 1u64);
    for factor in factors {
        (n, d) = (n.checked_mul(factor[0])?, d.checked_mul(factor[1])?);
    }
    let whole = d > 0 && n.is_multiple_of(d) && (1..=LONGEST).contains(&(n / d));
    whole.then(|| (n / d) as u32)
}
