//! The interpreter of ABC: line by line, and in music character by character.

use super::cursor::Line;
use super::fields::{self, Key, Meter};
use super::notes::Written;
use super::{AbcError, Bar, Tune, WHOLE};

pub fn parse(text: &str) -> Result<Tune, AbcError> {
    let mut reader = Reader::default();
    for (i, line) in text.lines().enumerate() {
        reader.line = i + 1;
        // A comment begins with %, which \ makes an ordinary character.
        let end = line.char_indices().find(|&(i, c)| c == '%' && !line[..i].ends_with('\\'));
        let line = line[..end.map_or(line.len(), |e| e.0)].trim_end();
        match field(line) {
            Some((letter, value)) => reader.field(letter, value)?,
            None => reader.music(line)?,
        }
    }
    reader.finish()
}

/// The letter and the value of a field. (A note before a repeat's colon is none.)
fn field(line: &str) -> Option<(char, &str)> {
    let letter = line.chars().next().filter(char::is_ascii_alphabetic)?;
    let value = line[1..].strip_prefix(':')?;
    (!value.starts_with(['|', ':', ']'])).then_some((letter, value.trim()))
}

/// What has been read, and what it means for what comes next.
#[derive(Default)]
pub struct Reader {
    pub line: usize,
    pub title: String,
    pub meter: Option<Meter>,
    pub unit: Option<u32>,
    /// Meter and key at the beginning, once there is a key.
    pub header: Option<(Option<Meter>, Key)>,
    pub key: Option<Key>,
    pub bars: Vec<Bar>,
    pub bar: Bar,
    /// Accidentals of this bar, by letter: they hold in every octave.
    pub accidentals: [Option<i8>; 7],
    /// The notes that were read last, and those of them that sound on.
    pub latest: Vec<Written>,
    pub ties: Vec<Written>,
    /// Notes and rests left of a tuplet, and the factor of their lengths.
    pub tuplet: Option<(u32, [u64; 2])>,
    /// The factor that a broken rhythm has for what comes next.
    pub broken: Option<[u64; 2]>,
}

impl Reader {
    fn field(&mut self, letter: char, value: &str) -> Result<(), AbcError> {
        let fault = |what| {
            let value = value.to_string();
            AbcError::Field { line: self.line, field: letter, value, what }
        };
        match letter {
            'T' if self.title.is_empty() => self.title = value.to_string(),
            'M' => self.meter = fields::meter(value).ok_or_else(|| fault("meter"))?,
            'L' => self.unit = Some(fields::unit_length(value).ok_or_else(|| fault("length"))?),
            'K' => {
                let key = fields::key(value).ok_or_else(|| fault("key"))?;
                self.key = Some(key);
                self.header.get_or_insert((self.meter, key));
            }
            _ => {}
        }
        Ok(())
    }

    fn music(&mut self, line: &str) -> Result<(), AbcError> {
        if self.key.is_none() {
            return if line.trim().is_empty() { Ok(()) } else { Err(AbcError::NoKey { line: self.line }) };
        }
        let mut line = Line::new(line);
        while let Some(c) = line.peek() {
            let start = line.at;
            match c {
                'A'..='G' | 'a'..='g' | '^' | '_' | '=' | 'z' | 'x' => self.note(&mut line)?,
                'Z' => self.bars_of_rest(&mut line)?,
                '[' => self.bracket(&mut line)?,
                '|' | ':' | ']' => self.bar_line(&mut line),
                '>' | '<' => self.broken_rhythm(&mut line)?,
                '-' => {
                    line.at += 1;
                    self.tie();
                }
                '(' => self.tuplet(&mut line),
                '{' => self.skip(&mut line, '}')?,
                '"' | '!' | '+' => self.skip(&mut line, c)?,
                // Spacing, slurs, and letters that stand for decorations.
                ' ' | '\t' | ')' | '\\' | '`' | '*' | '.' | '~' | 'y' | 'H'..='W' | 'h'..='w' => line.at += 1,
                _ => return Err(self.unexpected(&line, start)),
            }
        }
        Ok(())
    }

    pub fn unexpected(&self, line: &Line, at: usize) -> AbcError {
        let found = line.chars.get(at).copied().unwrap_or('\n');
        AbcError::Unexpected { line: self.line, column: at + 1, found }
    }

    /// Goes on to behind `close`.
    pub fn skip(&self, line: &mut Line, close: char) -> Result<(), AbcError> {
        let start = line.at;
        match line.chars[start + 1..].iter().position(|&c| c == close) {
            Some(n) => line.at = start + n + 2,
            None => {
                let opened = line.chars[start];
                return Err(AbcError::Unclosed { line: self.line, column: start + 1, opened });
            }
        }
        Ok(())
    }

    /// A chord, an ending, a bar line, or a field.
    fn bracket(&mut self, line: &mut Line) -> Result<(), AbcError> {
        let start = line.at;
        let next = |n: usize| line.chars.get(start + n).copied();
        match (next(1), next(2)) {
            (Some('|' | ']'), _) => self.bar_line(line),
            (Some('1'..='9'), _) => {
                line.at += 1;
                self.end_bar(false, false, false);
                self.bar.endings = line.endings();
            }
            (Some(letter), Some(':')) if letter.is_ascii_alphabetic() => {
                self.skip(line, ']')?;
                let value: String = line.chars[start + 3..line.at - 1].iter().collect();
                self.field(letter, value.trim())?;
            }
            _ => self.chord(line)?,
        }
        Ok(())
    }

    /// Any row of `|`, `:` and brackets is one bar line.
    fn bar_line(&mut self, line: &mut Line) {
        let start = line.at;
        while let Some('|' | ':' | ']' | '[') = line.peek() {
            let another = matches!(line.chars.get(line.at + 1), Some('|' | ']'));
            if line.peek() == Some('[') && !another {
                break;
            }
            line.at += 1;
        }
        let row: String = line.chars[start..line.at].iter().collect();
        // A colon alone opens a part at the beginning of a bar, and closes it elsewhere.
        let alone = row == ":" && self.bar.events.is_empty();
        let closes = row.starts_with(':') && !alone;
        let opens = row.ends_with(':') && (alone || row != ":");
        self.end_bar(closes, opens, row.contains("||") || row.contains([']', '[']));
        if line.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.bar.endings = line.endings();
        }
    }

    /// Ends the bar, or says more of the bar line where there is nothing since the last one.
    pub fn end_bar(&mut self, closes: bool, opens: bool, last: bool) {
        self.accidentals = Default::default();
        if self.bar.events.is_empty() {
            if let Some(before) = self.bars.last_mut() {
                (before.closes, before.last) = (before.closes | closes, before.last | last);
            }
            self.bar.opens |= opens;
            return;
        }
        let full = self.meter.map(Meter::ticks);
        let bar = std::mem::replace(&mut self.bar, Bar { opens, ..Bar::default() });
        self.bars.push(Bar { full, closes, last, ..bar });
    }

    fn finish(mut self) -> Result<Tune, AbcError> {
        self.end_bar(false, false, true);
        let (meter, key) = self.header.ok_or(AbcError::NoKey { line: self.line })?;
        if self.bars.iter().flat_map(|bar| &bar.events).all(|event| event.sounds.is_empty()) {
            return Err(AbcError::Empty);
        }
        // Nine times this, which repeats can make of it, still can be counted.
        let written = self.bars.iter().flat_map(|bar| &bar.events).map(|event| u64::from(event.length));
        if written.sum::<u64>() > 1000 * u64::from(WHOLE) {
            return Err(AbcError::Long);
        }
        Ok(Tune { title: self.title, meter, key, bars: self.bars })
    }
}
