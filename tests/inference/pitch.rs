//! The pretrained network gives here what it gives where it comes from, on every device; pitches and notes are read off
//! as they should be.

#[path = "../../examples/pitch/decode.rs"]
mod decode;
#[path = "../../examples/pitch/frames.rs"]
mod frames;
#[path = "../../examples/pitch/net.rs"]
mod net;
#[path = "../../examples/pitch/reference.rs"]
mod reference;
#[path = "../../examples/pitch/resample.rs"]
mod resample;
#[path = "../../examples/pitch/sheets.rs"]
mod sheets;
#[path = "../../examples/pitch/spectrum.rs"]
mod spectrum;

use crate::devices;
use decode::{Pitch, decode, highest, notes, track};
use frames::{HOP, SAMPLE_RATE, batches, count, frame};
use net::{BINS, Crepe, FRAME};
use reference::{CLIPS, EVERY, FRAMES, clip, data, frame_difference};
use resample::resample;
use spectrum::{Spectrogram, transform};
use std::f64::consts::TAU;

fn sine(frequency: f64, rate: u32, samples: usize) -> Vec<f32> {
    (0..samples).map(|i| (TAU * frequency * i as f64 / f64::from(rate)).sin() as f32).collect()
}

#[test]
fn clips_are_heard_as_in_the_reference() {
    let (expected, cut) = reference::load().unwrap();
    let samples = CLIPS.map(|(name, samples)| {
        let clip = clip(name).unwrap();
        assert_eq!(clip.len(), samples, "{name}");
        clip
    });
    assert!(frame_difference(&samples[2], &cut) < 1e-6);
    assert!(cut.chunks(FRAME).zip(FRAMES).all(|(cut, index)| cut.len() == FRAME && index % EVERY == 0));
    for dev in devices() {
        let crepe = Crepe::load(&dev, &data("crepe_tiny.safetensors")).unwrap();
        let batch = if dev.is_reference() { 1 } else { 3 };
        let predictor = crepe.predictor(batch).unwrap();
        // Frames of which the reference has the probabilities: from the middle of each clip.
        for ((samples, expected), (name, _)) in samples.iter().zip(&expected).zip(CLIPS).rev().take(batch) {
            let first = expected.bins.len() / 2 / EVERY;
            let input: Vec<f32> = (first..first + batch).flat_map(|i| frame(samples, EVERY * i)).collect();
            let found = predictor.predict(&input).unwrap();
            let wanted = &expected.probabilities[first * BINS..][..batch * BINS];
            let far = found.iter().zip(wanted).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(far < 1e-4, "{name} on {}: {far}", dev.name());
            for (row, i) in found.chunks(BINS).zip(first..) {
                assert_eq!(highest(row), expected.bins[EVERY * i], "{name} on {}: frame {i}", dev.name());
            }
        }
    }
}

#[test]
fn the_notes_of_the_clips() {
    let (expected, _) = reference::load().unwrap();
    let of = |clip: usize| -> Vec<String> {
        let found = notes(&track(&expected[clip].probabilities));
        found.into_iter().map(|note| note.name).collect()
    };
    // The file of the first is called after its note.
    assert_eq!(of(0), ["C2"]);
    // Each fourth frame is there, so only notes of a third of a second are.
    assert_eq!(of(1), ["F2", "A#1", "F4"]);
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("inference");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("pitch.png");
    let track = track(&expected[1].probabilities);
    let samples = &clip("ambi_piano").unwrap()[..(track.len() - 1) * HOP];
    sheets::tracked(&path, "The pitch of a part", samples, &track, &notes(&track)).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() > 10_000);
    assert!(sheets::tracked(&path, "nothing", &[], &[], &[]).is_err());
}

#[test]
fn a_pitch_is_the_weighted_mean_around_the_highest_bin() {
    let mut row = vec![0.0; BINS];
    row[100] = 0.8;
    let at = |cents: f64| 10.0 * (cents / 1200.0).exp2();
    let first = 1_997.379_408_437_619;
    let one = decode(&row);
    assert!((one.frequency - at(first + 2000.0)).abs() < 1e-9 && one.confidence == 0.8 && one.heard());
    // A quarter of the weight one bin higher; what is five bins away does not count.
    row[101] = 0.8 / 3.0;
    row[105] = 0.5;
    assert!((decode(&row).frequency - at(first + 2005.0)).abs() < 1e-4);
    // At the ends there are fewer bins.
    let mut end = vec![0.0; BINS];
    (end[0], end[359]) = (0.3, 0.4);
    let last = decode(&end);
    assert!((last.frequency - at(first + 20.0 * 359.0)).abs() < 1e-6 && !last.heard());
    assert!(decode(&[0.0; BINS]).frequency.is_finite());
}

#[test]
fn notes_are_what_is_held() {
    let pitch =
        |semitones: f64, confidence| Pitch { frequency: 440.0 * (semitones / 12.0).exp2(), confidence };
    let mut track = vec![pitch(0.1, 0.9); 20];
    track.extend(vec![pitch(0.1, 0.2); 5]);
    track.extend(vec![pitch(-9.0, 0.9); 10]);
    // Too short to be one.
    track.extend(vec![pitch(3.0, 0.9); 4]);
    let found = notes(&track);
    assert_eq!(found.len(), 2);
    assert_eq!([&found[0].name, &found[1].name], ["A4", "C4"]);
    assert!((found[0].cents - 10.0).abs() < 1e-6 && (found[1].frequency - 261.6256).abs() < 1e-3);
    assert!((found[1].start - 0.25).abs() < 1e-9 && (found[1].end - 0.35).abs() < 1e-9);
    assert_eq!(["A#1", "C1", "B0"], [-35, -45, -46].map(decode::name));
}

#[test]
fn frames_begin_half_a_frame_before_the_sound() {
    let samples: Vec<f32> = (0..2 * HOP).map(|i| 1.0 + i as f32).collect();
    assert_eq!(count(samples.len()), 3);
    let first = frame(&samples, 0);
    // Zeros before the sound, all brought to one value below the mean.
    assert!(first[..FRAME / 2].iter().all(|v| *v == first[0]) && first[FRAME / 2] > first[0]);
    let second = frame(&samples, 1);
    assert!(second[FRAME / 2 - HOP - 1] == second[0] && second[FRAME / 2 - HOP] > second[0]);
    let mean = first.iter().sum::<f32>() / FRAME as f32;
    let variance = first.iter().map(|v| v * v).sum::<f32>() / (FRAME - 1) as f32;
    assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5, "{mean}, {variance}");
    assert_eq!(frame(&[0.0; 10], 0), [0.0; FRAME]);
    let cut: Vec<Vec<f32>> = batches(&samples, 2).collect();
    assert_eq!(cut, [[first, second].concat(), frame(&samples, 2)]);
}

#[test]
fn differences_from_the_reference_are_seen() {
    let (expected, _) = reference::load().unwrap();
    let expected = &expected[1];
    let mut all = vec![0.0; expected.bins.len() * BINS];
    for (i, (row, &bin)) in all.chunks_mut(BINS).zip(&expected.bins).enumerate() {
        match i % EVERY {
            0 => row.copy_from_slice(&expected.probabilities[i / EVERY * BINS..][..BINS]),
            _ => row[bin] = 1.0,
        }
    }
    assert_eq!(expected.differences(&all), (0.0, 0));
    all[4 * EVERY * BINS + 3] += 0.25;
    let bin = expected.bins[5];
    all.swap(5 * BINS + bin, 5 * BINS + (bin + 1) % BINS);
    let (far, others) = expected.differences(&all);
    assert!((far - 0.25).abs() < 1e-6 && others == 1);
}

#[test]
fn spectra_are_those_of_the_definition() {
    let values: Vec<[f64; 2]> = (0..16).map(|i| [(i * i % 7) as f64, (i % 3) as f64]).collect();
    let mut fast = values.clone();
    transform(&mut fast);
    for (k, fast) in fast.iter().enumerate() {
        let term = |(i, [re, im]): (usize, &[f64; 2])| {
            let (sin, cos) = (-TAU * (k * i) as f64 / 16.0).sin_cos();
            [re * cos - im * sin, re * sin + im * cos]
        };
        let slow = values.iter().enumerate().map(term).fold([0.0; 2], |s, t| [s[0] + t[0], s[1] + t[1]]);
        assert!((fast[0] - slow[0]).hypot(fast[1] - slow[1]) < 1e-9, "{k}");
    }
    // A sine of full scale has 0 dB at its frequency, and little elsewhere.
    let spectrogram = Spectrogram::new(&sine(1000.0, SAMPLE_RATE, 4000));
    assert_eq!(spectrogram.len(), 26);
    assert!(spectrogram.level(13, 1000.0).abs() < 0.05, "{}", spectrogram.level(13, 1000.0));
    assert!(spectrogram.level(13, 1200.0) < -60.0 && spectrogram.level(13, 500.0) < -60.0);
}

#[test]
fn other_sample_rates_are_brought_to_the_networks() {
    for rate in [8_000, 22_050, 44_100, 48_000] {
        let found = resample(&sine(440.0, rate, rate as usize / 4), rate);
        let wanted = sine(440.0, SAMPLE_RATE, SAMPLE_RATE as usize / 4);
        assert!(found.len().abs_diff(wanted.len()) <= 1, "{rate}");
        // Away from the ends, where the sound breaks off.
        let inside = 200..found.len() - 200;
        let far = inside.clone().fold(0f32, |m, i| m.max((found[i] - wanted[i]).abs()));
        assert!(far < 1e-3, "{rate}: {far}");
        // What the lower rate cannot hold is gone, instead of being heard as something else.
        if rate > 2 * 9000 {
            let high = resample(&sine(9000.0, rate, rate as usize / 4), rate);
            let loudest = inside.fold(0f32, |m, i| m.max(high[i].abs()));
            assert!(loudest < 2e-3, "{rate}: {loudest}");
        }
    }
    assert_eq!(resample(&[0.1, 0.2], SAMPLE_RATE), [0.1, 0.2]);
}
