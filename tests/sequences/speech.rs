//! Pretrained recurrent networks give here what they give where they come from, on every device.

#[path = "../../examples/speech/g2p.rs"]
mod g2p;
#[path = "../../examples/speech/reference.rs"]
mod reference;
#[path = "../../examples/speech/segments.rs"]
mod segments;
#[path = "../../examples/speech/sheets.rs"]
mod sheets;
#[path = "../../examples/speech/vad.rs"]
mod vad;

use crate::adapters::devices;
use crate::{device, folder};
use g2p::G2p;
use recurve::Device;
use recurve::data::Wav;
use reference::{TRACED, Trace, Voice, data, largest_difference};
use segments::{CHUNK_SECONDS, Segment, agreement, segments};
use vad::{CHUNK, SAMPLE_RATE, Vad};

/// Nearly two seconds: silence, then the first digit.
const CHUNKS: usize = 60;

fn digits() -> Vec<f32> {
    let wav = Wav::from_path(data("digits/digits_6speakers_16k.wav")).unwrap();
    assert_eq!((wav.sample_rate, wav.channels, wav.frames() / CHUNK), (SAMPLE_RATE, 1, reference::CHUNKS));
    wav.mono()
}

fn load(dev: &Device) -> Vad {
    Vad::load(dev, &data("silero-vad/silero_vad_16k_from_onnx.safetensors")).unwrap()
}

#[test]
fn speech_is_heard_chunk_by_chunk_as_in_the_reference() {
    let (samples, expected) = (digits(), Voice::load().unwrap());
    assert!(expected.probabilities[..20].iter().all(|&p| p < 0.1) && expected.probabilities[40] > 0.9);
    for dev in devices() {
        let vad = load(&dev);
        let mut stream = vad.stream();
        let mut found = Vec::new();
        let mut created = Vec::new();
        for chunk in samples.chunks_exact(CHUNK).take(CHUNKS) {
            found.push(stream.push(chunk).unwrap());
            created.push((dev.counters().objects(), dev.counters().plans));
        }
        let far = largest_difference(&found, &expected.probabilities[..CHUNKS]);
        assert!(far < 1e-4, "{}: {far}", dev.name());
        let far = largest_difference(&stream.state().unwrap().concat(), expected.states_after(CHUNKS));
        assert!(far < 1e-4, "{}: {far} of the states", dev.name());
        assert!(created.iter().all(|c| *c == created[0]), "{}: created {created:?}", dev.name());
    }
}

#[test]
fn stretches_of_speech_begin_and_end() {
    let chunks = |ranges: &[(usize, usize)]| -> Vec<Segment> {
        let seconds = |i: usize| i as f64 * CHUNK_SECONDS;
        ranges.iter().map(|&(start, end)| Segment { start: seconds(start), end: seconds(end) }).collect()
    };
    assert_eq!(segments(&[0.1, 0.4, 0.1]), []);
    // It goes on at 0.4, though it would not begin there.
    assert_eq!(segments(&[0.4, 0.6, 0.4, 0.2]), chunks(&[(1, 3)]));
    // Three chunks are a pause, four an end.
    assert_eq!(segments(&[0.9, 0.0, 0.0, 0.0, 0.9]), chunks(&[(0, 5)]));
    assert_eq!(segments(&[0.9, 0.0, 0.0, 0.0, 0.0, 0.9]), chunks(&[(0, 1), (5, 6)]));
    assert_eq!(agreement(&[0.9, 0.9, 0.1, 0.1], &chunks(&[(1, 2)])), 75.0);
}

#[test]
fn the_reference_finds_all_digits() {
    let (probabilities, digits) = (Voice::load().unwrap().probabilities, reference::digits().unwrap());
    let found = segments(&probabilities);
    assert!(digits.len() == 18 && digits.iter().all(|d| found.iter().any(|s| s.meets(d.at))));
    let truth: Vec<Segment> = digits.iter().map(|d| d.at).collect();
    assert!(agreement(&probabilities, &truth) > 93.0);
    let path = folder("speech").join("digits.png");
    sheets::listening(&path, "digits", &self::digits(), &probabilities, &digits).unwrap();
}

#[test]
fn words_are_pronounced_as_in_the_reference() {
    let words = reference::words().unwrap();
    assert_eq!((words.len(), words.iter().filter(|e| e.dictionary.is_some()).count()), (312, 304));
    assert!(TRACED.iter().all(|t| words[..30].iter().any(|e| e.word == *t)));
    for dev in devices() {
        let g2p = G2p::load(&dev, &data("g2p")).unwrap();
        let words = &words[..if dev.is_reference() { 4 } else { 30 }];
        let spelled: Vec<&str> = words.iter().map(|e| e.word.as_str()).collect();
        for (entry, found) in words.iter().zip(g2p.pronounce(&spelled).unwrap()) {
            assert_eq!(found.phonemes, entry.expected, "{}: {}", dev.name(), entry.word);
            if TRACED.contains(&entry.word.as_str()) {
                let trace = Trace::load(&entry.word, entry.expected.split(' ').count()).unwrap();
                let far = trace.differences(&g2p.states(&entry.word).unwrap(), &found);
                assert!(far.iter().all(|&d| d < 1e-4), "{}: {}: {far:?}", dev.name(), entry.word);
            }
        }
    }
}

#[test]
fn letters_are_small_or_unknown() {
    let g2p = G2p::load(&device(), &data("g2p")).unwrap();
    let found = g2p.pronounce(&["Chorale", "chorale", "chor9le", "chorßle", "lstm"]).unwrap();
    assert_eq!(found[0], found[1]);
    assert_eq!(found[2], found[3]);
    assert_ne!(found[1].logits, found[2].logits);
    assert_eq!(found[4].phonemes, "S T L AH1 M");
    assert!(g2p.pronounce(&[]).unwrap().is_empty());
}
