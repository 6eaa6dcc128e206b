//! Standard MIDI Files of format 1: what players and notation programs open.
//!
//! A file has a chunk `MThd` (format, number of tracks, ticks of a quarter note) and a chunk `MTrk` per track: events with
//! the ticks since the one before, in numbers of seven bits per byte. The first track has tempo, meter and key, the others
//! an instrument and its notes. Source: "Standard MIDI Files 1.0", MIDI Manufacturers Association, 1996.

// Each example uses a part of this.
#![allow(dead_code)]

/// Ticks of a quarter note.
pub const QUARTER: u32 = 480;

/// Numbers of instruments in General MIDI, from 0.
pub mod instrument {
    pub const CHURCH_ORGAN: u8 = 19;
    pub const VIOLIN: u8 = 40;
    pub const CHOIR: u8 = 52;
}

/// A piece of music.
#[derive(Clone, Debug, PartialEq)]
pub struct Song {
    /// Its title.
    pub title: String,
    /// Quarter notes per minute.
    pub tempo: f64,
    /// Beats of a bar, and which part of a whole note a beat is (a power of two).
    pub meter: (u8, u8),
    /// Sharps (flats below 0), and whether the key is minor.
    pub key: (i8, bool),
    /// Voices.
    pub tracks: Vec<Track>,
}

/// A voice.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Its name.
    pub name: String,
    /// The instrument, 0 to 127.
    pub instrument: u8,
    /// Its notes, in any order. Where a note begins while the same pitch still sounds, that ends there.
    pub notes: Vec<Note>,
}

/// A note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Ticks from the beginning.
    pub start: u32,
    /// Ticks.
    pub length: u32,
    /// 60 is the C in the middle; 127 is the highest.
    pub pitch: u8,
}

/// How hard every note is struck.
const VELOCITY: u8 = 80;
/// The longest wait that can be written.
const LONGEST: u32 = 0x0fff_ffff;

impl Song {
    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = b"MThd\0\0\0\x06\0\x01".to_vec();
        bytes.extend((self.tracks.len() as u16 + 1).to_be_bytes());
        bytes.extend((QUARTER as u16).to_be_bytes());
        chunk(&mut bytes, &self.conductor());
        for (i, track) in self.tracks.iter().enumerate() {
            // The tenth channel is for drums.
            let channel = (0..16).filter(|&c| c != 9).nth(i % 15).unwrap_or(0);
            chunk(&mut bytes, &track.events(channel));
        }
        bytes
    }

    /// Title, tempo, meter and key.
    fn conductor(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        meta(&mut bytes, 0x03, self.title.as_bytes());
        // Microseconds of a quarter note, in three bytes.
        let quarter = (60e6 / self.tempo).clamp(1.0, f64::from(0xff_ffff)) as u32;
        meta(&mut bytes, 0x51, &quarter.to_be_bytes()[1..]);
        // The metronome clicks every quarter note, which has eight 1/32.
        meta(&mut bytes, 0x58, &[self.meter.0, self.meter.1.max(1).ilog2() as u8, 24, 8]);
        meta(&mut bytes, 0x59, &[self.key.0 as u8, u8::from(self.key.1)]);
        bytes
    }
}

impl Track {
    fn events(&self, channel: u8) -> Vec<u8> {
        // Ends come before beginnings of the same moment.
        let mut events: Vec<(u32, bool, u8)> = Vec::new();
        for note in self.separate() {
            events.push((note.start, true, note.pitch));
            events.push((note.start + note.length, false, note.pitch));
        }
        events.sort_unstable();
        let mut bytes = Vec::new();
        meta(&mut bytes, 0x03, self.name.as_bytes());
        bytes.extend([0, 0xc0 | channel, self.instrument & 0x7f]);
        let mut now = 0;
        for (at, begins, pitch) in events {
            number(&mut bytes, at - now);
            bytes.extend([if begins { 0x90 } else { 0x80 } | channel, pitch, VELOCITY]);
            now = at;
        }
        bytes
    }

    /// The notes that can be written, no two of one pitch at the same time.
    fn separate(&self) -> Vec<Note> {
        let sound = |n: &Note| n.pitch < 128 && n.start < LONGEST;
        let mut notes: Vec<Note> = self.notes.iter().copied().filter(sound).collect();
        notes.sort_by_key(|n| (n.pitch, n.start));
        for i in 0..notes.len() {
            let next = notes.get(i + 1).filter(|n| n.pitch == notes[i].pitch).map_or(LONGEST, |n| n.start);
            notes[i].length = notes[i].length.min(next.saturating_sub(notes[i].start));
        }
        notes.retain(|n| n.length > 0);
        notes
    }
}

fn chunk(bytes: &mut Vec<u8>, events: &[u8]) {
    const END: [u8; 4] = [0, 0xff, 0x2f, 0];
    bytes.extend(b"MTrk");
    bytes.extend(((events.len() + END.len()) as u32).to_be_bytes());
    bytes.extend(events);
    bytes.extend(END);
}

/// An event that is no music, at once.
fn meta(bytes: &mut Vec<u8>, kind: u8, data: &[u8]) {
    bytes.extend([0, 0xff, kind]);
    number(bytes, data.len() as u32);
    bytes.extend(data);
}

/// Seven bits per byte, the highest first; all bytes but the last have the eighth bit set.
fn number(bytes: &mut Vec<u8>, n: u32) {
    for shift in [21, 14, 7] {
        if n >> shift > 0 {
            bytes.push((n >> shift) as u8 & 0x7f | 0x80);
        }
    }
    bytes.push(n as u8 & 0x7f);
}
