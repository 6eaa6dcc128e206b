//! Chorales, small: files are read or refused, padding does not count, the network learns and sings.

#[path = "../../examples/chorales/data.rs"]
mod data;
#[path = "../../examples/chorales/generate.rs"]
mod generate;
#[path = "../../examples/chorales/net.rs"]
mod net;
#[path = "../../examples/chorales/sheets.rs"]
mod sheets;
#[path = "../../examples/chorales/train.rs"]
mod train;
#[path = "../../examples/chorales/windows.rs"]
mod windows;

use crate::support::midi::Note;
use crate::{device, folder, midi};
use data::{CLASSES, Chorale, ChoraleError, Chorales, SILENCE, VOICES, pitch};
use generate::Request;
use net::{Net, mean};
use recurve::Params;
use std::path::{Path, PathBuf};
use train::Plan;
use windows::{IGNORED, windows};

fn real() -> Chorales {
    let name = "examples/chorales-data/bach_chorales_music21_satb16.json.gz";
    Chorales::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("chorales.json");
    std::fs::write(&path, text).unwrap();
    path
}

/// The first `bars` bars of the first chorales of each part.
fn excerpt(bars: usize, count: usize) -> Chorales {
    let all = real();
    let cut = |chorales: &[Chorale]| -> Vec<Chorale> {
        chorales.iter().take(count).map(|c| c[..c.len().min(16 * bars)].to_vec()).collect()
    };
    Chorales { train: cut(&all.train), valid: cut(&all.valid), test: cut(&all.test) }
}

#[test]
fn the_chorales_of_the_repository() {
    let all = real();
    assert_eq!((all.train.len(), all.valid.len(), all.test.len()), (211, 70, 70));
    let steps = |chorales: &[Chorale]| chorales.iter().map(Vec::len).sum::<usize>();
    assert_eq!(steps(&all.train) + steps(&all.valid) + steps(&all.test), 75_044);
    // BWV 10.7 begins with G minor.
    assert_eq!(all.train[0][0].map(pitch), [Some(74), Some(67), Some(58), Some(55)]);
    assert!(all.train.iter().flatten().flatten().all(|&class| usize::from(class) < CLASSES));
}

#[test]
fn both_kinds_of_files_are_read() {
    let folder = folder("chorales-files");
    let steps = "[[[60,55,52,36],[62,-1,52,82]]]";
    let split = format!(r#"{{"train":{steps},"valid":{steps},"test":{steps}}}"#);
    let by_steps = Chorales::load(&file(&folder, &split)).unwrap();
    assert_eq!(by_steps.train, [vec![[25, 20, 17, 1], [27, SILENCE, 17, 47]]]);
    assert_eq!(by_steps.train[0][1].map(pitch), [Some(62), None, Some(52), Some(82)]);
    let voices = r#"{"id":"x","key":"C major","satb16":[[60,62],[55,0],[52,52],[36,82]]}"#;
    let list = format!("[{}]", [voices; 5].join(","));
    let by_voices = Chorales::load(&file(&folder, &list)).unwrap();
    assert_eq!((by_voices.train.len(), &by_voices.train[0]), (3, &by_steps.train[0]));
    assert_eq!((by_voices.valid, by_voices.test), (by_steps.valid, by_steps.test));
}

#[test]
fn broken_files_are_refused_by_name() {
    let folder = folder("chorales-broken");
    let fault = |text: &str| Chorales::load(&file(&folder, text)).unwrap_err();
    let train = |steps: &str| fault(&format!(r#"{{"train":[{steps}],"valid":[],"test":[]}}"#));
    assert!(matches!(Chorales::load(Path::new("nowhere.json")), Err(ChoraleError::File(_))));
    assert!(matches!(fault("[1,"), ChoraleError::Json { .. }));
    assert!(matches!(fault("7"), ChoraleError::Layout { .. }));
    let pitch = train("[[60,55,52,36],[60,55,52,35]]");
    assert!(matches!(pitch, ChoraleError::Pitch { pitch: 35, .. }), "{pitch}");
    assert!(
        pitch.to_string().contains("train, chorale 1") && pitch.to_string().contains("36 to 82"),
        "{pitch}"
    );
    for (steps, says) in [
        ("[[60,55,52,36]]", "two steps"),
        ("[[60,55,52,36],[60,55,52]]", "four pitches"),
        ("[[60,55,52,36],[60,55,52,\"x\"]]", "whole numbers"),
        ("7", "two steps"),
    ] {
        let found = train(steps);
        assert!(
            matches!(&found, ChoraleError::Layout { expected, .. } if expected.contains(says)),
            "{found}"
        );
    }
    for (text, says) in [
        (r#"{"train":[]}"#, "a list of chorales"),
        ("[]", "at least one chorale"),
        (r#"[{"satb16":[[60,60],[60],[60,60],[60,60]]}]"#, "equal length"),
        (r#"[{"id":"x"}]"#, "equal length"),
    ] {
        let found = fault(text);
        assert!(
            matches!(&found, ChoraleError::Layout { expected, .. } if expected.contains(says)),
            "{found}"
        );
    }
    std::fs::write(folder.join("cut.gz"), [0x1f, 0x8b, 8, 0]).unwrap();
    assert!(matches!(Chorales::load(&folder.join("cut.gz")), Err(ChoraleError::File(_))));
}

#[test]
fn windows_hold_every_step_once() {
    let chorales =
        excerpt(3, 5).train.iter().enumerate().map(|(i, c)| c[..10 + 7 * i].to_vec()).collect::<Vec<_>>();
    let order = [4, 0, 3, 1, 2];
    let all = windows(&chorales, &order, 2, 8);
    let (mut sung, mut begun) = (vec![Vec::new(); 2], 0);
    for window in &all {
        assert_eq!((window.inputs.len(), window.targets.len()), (8 * 2 * VOICES, 8 * 2 * VOICES));
        for stream in 0..2 {
            let places: Vec<usize> = (0..8).map(|t| (t * 2 + stream) * VOICES).collect();
            let counts = places.iter().any(|&p| window.targets[p] != IGNORED);
            if window.goes_on[stream] == 0.0 && counts {
                begun += 1;
                sung[stream].push(window.inputs[places[0]..][..VOICES].to_vec());
            }
            for &p in places.iter().filter(|&&p| window.targets[p] != IGNORED) {
                // What goes in is what was predicted before.
                assert_eq!(window.inputs[p..][..VOICES], sung[stream].last().unwrap()[..]);
                sung[stream].push(window.targets[p..][..VOICES].to_vec());
            }
        }
    }
    let mut found: Vec<Vec<i64>> = sung.concat();
    let mut want: Vec<Vec<i64>> = chorales.iter().flatten().map(|s| s.map(i64::from).to_vec()).collect();
    found.sort();
    want.sort();
    assert_eq!((begun, found), (5, want));
}

#[test]
fn what_is_beside_a_chorale_does_not_count() {
    let (dev, chorales) = (device(), excerpt(6, 3).test);
    let params = Params::new(&dev, 1);
    let net = Net::new(&params, 16, 0.0);
    let uneven: Vec<Chorale> = chorales.iter().enumerate().map(|(i, c)| c[..40 + 25 * i].to_vec()).collect();
    let together = net.nats(&dev, &uneven).unwrap();
    let (mut sums, mut count) = ([0.0; VOICES], 0.0);
    for chorale in &uneven {
        let alone = net.nats(&dev, std::slice::from_ref(chorale)).unwrap();
        let n = (chorale.len() - 1) as f64;
        (0..VOICES).for_each(|v| sums[v] += n * alone[v]);
        count += n;
    }
    for v in 0..VOICES {
        assert!((together[v] - sums[v] / count).abs() < 1e-5, "{together:?}, alone {sums:?} / {count}");
    }
    // An untrained network knows nothing.
    assert!((mean(together) - (CLASSES as f64).ln()).abs() < 0.1);
}

#[test]
fn it_learns_and_sings() {
    let (dev, folder, chorales) = (device(), folder("chorales"), excerpt(4, 40));
    let params = Params::new(&dev, 0);
    let net = Net::new(&params, 32, 0.1);
    let plan = Plan { epochs: 8, streams: 8, steps: 16, lr: 2e-2, constant: false, seed: 0 };
    let best = folder.join("best.safetensors");
    let history = train::train(&params, &net, &chorales, &plan, &best).unwrap();
    let by_frequency = net::by_frequency(&chorales.train, &chorales.test);
    let nats = net.nats(&dev, &chorales.test).unwrap();
    println!("test {:.3} ({}), by frequency {by_frequency:.3}", mean(nats), train::by_voice(nats));
    assert!(mean(nats) < 0.8 * by_frequency, "{nats:?}, by frequency {by_frequency}");
    // The weights are those of the best epoch.
    let least = history.valid.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(mean(net.nats(&dev, &chorales.valid).unwrap()), least);
    sheets::curve(&folder.join("curve.png"), &history, by_frequency).unwrap();

    let beginnings: Vec<&[[u8; VOICES]]> = chorales.test[..2].iter().map(|c| &c[..4]).collect();
    let request = Request { length: 64, temperature: 0.8, seed: 0 };
    let sing = |request: &Request| generate::generate(&dev, &net, &beginnings, request).unwrap();
    let new = sing(&request);
    assert_eq!(sing(&request), new);
    assert_ne!(sing(&Request { seed: 1, ..request }), new);
    for (chorale, beginning) in new.iter().zip(&beginnings) {
        assert_eq!((chorale.len(), &chorale[..4]), (64, *beginning));
    }
    let (tracks, (tempo, ..)) = midi::read(&generate::song("A chorale", &new[0]).to_bytes());
    assert_eq!((tracks.len(), tempo), (VOICES, 833_333));
    for (voice, track) in tracks.iter().enumerate() {
        assert_eq!(track.name, generate::NAMES[voice]);
        // The notes are the steps again.
        let at =
            |step: u32| track.notes.iter().find(|n| n.start <= 120 * step && 120 * step < n.start + n.length);
        for (step, classes) in new[0].iter().enumerate() {
            assert_eq!(at(step as u32).map(|n| n.pitch), pitch(classes[voice]), "{voice}, step {step}");
        }
    }
    sheets::rolls(&folder.join("chorales.png"), "Chorales", &[("One".into(), &new[0])]).unwrap();
}

#[test]
fn what_is_sung_on_is_one_note() {
    let c = |pitch: i32| (pitch - 35) as u8;
    let chorale =
        vec![[c(72), c(64), c(60), c(48)], [c(72), SILENCE, c(60), c(50)], [c(74), c(64), c(60), c(50)]];
    let (tracks, _) = midi::read(&generate::song("x", &chorale).to_bytes());
    let note = |start: u32, length: u32, pitch| Note { start: 120 * start, length: 120 * length, pitch };
    assert_eq!(tracks[0].notes, [note(0, 2, 72), note(2, 1, 74)]);
    assert_eq!(tracks[1].notes, [note(0, 1, 64), note(2, 1, 64)]);
    assert_eq!(tracks[2].notes, [note(0, 3, 60)]);
    assert_eq!(tracks[3].notes, [note(0, 1, 48), note(1, 2, 50)]);
}
