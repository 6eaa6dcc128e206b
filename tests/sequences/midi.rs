//! MIDI files, read by a strict parser that knows nothing of how they were written.

use crate::support::midi::{Note, QUARTER, Song, Track, instrument};
use midly::{Format, MetaMessage, MidiMessage, Smf, Timing, TrackEventKind};

/// What a track says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    pub name: String,
    pub instrument: Option<u8>,
    pub notes: Vec<Note>,
}

/// What the first track says: microseconds of a quarter note, meter, key.
pub type Conductor = (u32, (u8, u8), (i8, bool));

/// The tracks with notes, and what the first one says.
pub fn read(bytes: &[u8]) -> (Vec<Read>, Conductor) {
    let file = Smf::parse(bytes).expect("a sound MIDI file");
    assert_eq!(file.header.format, Format::Parallel);
    assert_eq!(file.header.timing, Timing::Metrical((QUARTER as u16).into()));
    let (mut tracks, mut conductor) = (Vec::new(), (0, (0, 0), (0, false)));
    for (i, events) in file.tracks.iter().enumerate() {
        let (mut track, mut now, mut sounding) = (Read::default(), 0u32, Vec::<(u8, u32)>::new());
        for event in events {
            now += event.delta.as_int();
            match event.kind {
                TrackEventKind::Meta(MetaMessage::TrackName(name)) => {
                    track.name = String::from_utf8(name.to_vec()).unwrap();
                }
                TrackEventKind::Meta(MetaMessage::Tempo(tempo)) => conductor.0 = tempo.as_int(),
                TrackEventKind::Meta(MetaMessage::TimeSignature(n, d, _, _)) => conductor.1 = (n, 1 << d),
                TrackEventKind::Meta(MetaMessage::KeySignature(sharps, minor)) => {
                    conductor.2 = (sharps, minor)
                }
                TrackEventKind::Midi { message: MidiMessage::ProgramChange { program }, .. } => {
                    track.instrument = Some(program.as_int());
                }
                TrackEventKind::Midi { message: MidiMessage::NoteOn { key, .. }, channel } => {
                    assert_ne!(channel, 9, "drums");
                    assert!(sounding.iter().all(|s| s.0 != key), "{key} sounds already");
                    sounding.push((key.as_int(), now));
                }
                TrackEventKind::Midi { message: MidiMessage::NoteOff { key, .. }, .. } => {
                    let place = sounding.iter().position(|s| s.0 == key).expect("a note that sounds");
                    let (pitch, start) = sounding.remove(place);
                    track.notes.push(Note { start, length: now - start, pitch });
                }
                _ => {}
            }
        }
        assert!(sounding.is_empty(), "track {i}: {sounding:?} sound on");
        assert!(matches!(events.last().unwrap().kind, TrackEventKind::Meta(MetaMessage::EndOfTrack)));
        track.notes.sort_by_key(|n| (n.start, n.pitch));
        if i > 0 {
            tracks.push(track);
        }
    }
    (tracks, conductor)
}

fn note(start: u32, length: u32, pitch: u8) -> Note {
    Note { start, length, pitch }
}

fn song(tracks: Vec<Track>) -> Song {
    Song { title: "Title".into(), tempo: 90.0, meter: (6, 8), key: (-3, true), tracks }
}

#[test]
fn what_was_written_is_read() {
    // Waits of one to four bytes, a chord, the lowest and the highest note.
    let far = 100 + (1 << 21);
    let first = vec![note(0, 127, 60), note(0, 127, 64), note(127, 128, 0), note(far, 16_384, 127)];
    let second = vec![note(240, 240, 48), note(480, 1, 48)];
    let tracks = vec![
        Track { name: "Première".into(), instrument: instrument::VIOLIN, notes: first.clone() },
        Track { name: "Second".into(), instrument: instrument::CHURCH_ORGAN, notes: second.clone() },
    ];
    let (read, conductor) = read(&song(tracks).to_bytes());
    assert_eq!(conductor, (666_666, (6, 8), (-3, true)));
    let want = [
        Read { name: "Première".into(), instrument: Some(40), notes: first },
        Read { name: "Second".into(), instrument: Some(19), notes: second },
    ];
    assert_eq!(read, want);
}

#[test]
fn notes_that_overlap_end_where_the_next_begins() {
    let notes = vec![
        note(480, 10, 60),
        note(0, 1000, 60),
        note(480, 480, 60),
        note(100, 5, 130),
        note(7, 0, 61),
        note(u32::MAX, 5, 62),
    ];
    let track = Track { name: String::new(), instrument: 0, notes };
    let (read, _) = read(&song(vec![track]).to_bytes());
    assert_eq!(read[0].notes, [note(0, 480, 60), note(480, 480, 60)]);
}

#[test]
fn many_voices_never_play_drums() {
    let track = |i: u8| Track { name: format!("{i}"), instrument: i, notes: vec![note(0, 1, 60 + i)] };
    let (read, _) = read(&song((0..40).map(track).collect()).to_bytes());
    assert_eq!(read.len(), 40);
    assert!(read.iter().enumerate().all(|(i, r)| r.notes == [note(0, 1, 60 + i as u8)]));
}
