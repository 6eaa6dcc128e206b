//! ABC notation read as music: each rule on a line of its own, and the tunes of the repository.

use crate::support::compressed;
use crate::tunes::abc::{AbcError, Key, Meter, Note, Sums, Tune, WHOLE};
use crate::tunes::text;
use std::path::Path;

/// Pitches, and lengths as parts of a whole note, of music in a meter of 4/4 with eighths as its unit.
fn played(key: &str, music: &str) -> Vec<(u8, f64)> {
    let tune = Tune::parse(&format!("M:4/4\nL:1/8\nK:{key}\n{music}\n")).unwrap();
    let part = |n: &Note| (n.pitch, f64::from(n.length) / f64::from(WHOLE));
    tune.performance().notes.iter().map(part).collect()
}

fn pitches(key: &str, music: &str) -> Vec<u8> {
    played(key, music).into_iter().map(|n| n.0).collect()
}

/// Lengths in eighths.
fn lengths(music: &str) -> Vec<f64> {
    played("C", music).into_iter().map(|n| 8.0 * n.1).collect()
}

#[test]
fn letters_and_octaves() {
    assert_eq!(
        pitches("C", "C,,C, C D E F G A B c d e f g a b c' c''"),
        [36, 48, 60, 62, 64, 65, 67, 69, 71, 72, 74, 76, 77, 79, 81, 83, 84, 96]
    );
    // Marks that undo one another.
    assert_eq!(pitches("C", "c, C' c,,'"), [60, 72, 60]);
}

#[test]
fn keys_and_modes() {
    let scale = "CDEFGAB";
    let moved = |key: &str| -> Vec<i32> {
        let natural = [60, 62, 64, 65, 67, 69, 71];
        pitches(key, scale).iter().zip(natural).map(|(&p, n)| i32::from(p) - n).collect()
    };
    assert_eq!(moved("C"), [0; 7]);
    assert_eq!(moved("G"), [0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(moved("A"), [1, 0, 0, 1, 1, 0, 0]);
    assert_eq!(moved("Bb"), [0, 0, -1, 0, 0, 0, -1]);
    assert_eq!(moved("C#"), [1; 7]);
    assert_eq!(moved("Cb"), [-1; 7]);
    // One scale under its many names.
    for name in [
        "D",
        "Dmaj",
        "DM",
        "D Ionian",
        "Bm",
        "Bmin",
        "B minor",
        "BAeolian",
        "Amix",
        "A Mixolydian",
        "Edor",
        "EDorian",
        "F#phr",
        "Glyd",
        "GLydian",
        "C#loc",
        "D clef=treble",
        "HP",
    ] {
        assert_eq!(moved(name), [1, 0, 0, 1, 0, 0, 0], "{name}");
    }
    let key = |name: &str| Tune::parse(&format!("K:{name}\nA")).unwrap().key;
    assert_eq!(key("F#m"), Key { sharps: 3, minor: true });
    assert_eq!(key("Ador"), Key { sharps: 1, minor: true });
    assert_eq!(key("Eb"), Key { sharps: -3, minor: false });
    assert_eq!(key(""), Key { sharps: 0, minor: false });
}

#[test]
fn accidentals_last_for_a_bar() {
    // In all octaves, until another one or the bar line.
    assert_eq!(pitches("C", "^F F f =F F | F"), [66, 66, 78, 65, 65, 65]);
    assert_eq!(pitches("G", "F =F F | F"), [66, 65, 65, 66]);
    assert_eq!(pitches("C", "__B ^^C _e"), [69, 62, 75]);
    // A tied note keeps its accidental over the bar line, for itself alone.
    assert_eq!(played("C", "^F8-|F4 F4"), [(66, 1.5), (65, 0.5)]);
    // Inside a chord as outside.
    assert_eq!(pitches("C", "[^CE] C | C"), [61, 64, 61, 60]);
    assert_eq!(pitches("G", "F [K:F] F B"), [66, 65, 70]);
}

#[test]
fn lengths_of_notes() {
    assert_eq!(
        lengths("A A2 A3 A/ A/2 A// A/4 A3/2 A7/ A10"),
        [1.0, 2.0, 3.0, 0.5, 0.5, 0.25, 0.25, 1.5, 3.5, 10.0]
    );
    assert_eq!(lengths("A [L:1/16] A A2\nL:1/4\nA"), [1.0, 0.5, 1.0, 2.0]);
    // Without a unit: a sixteenth below 3/4, else an eighth.
    for (meter, unit) in [("2/4", 16), ("3/4", 8), ("6/8", 8), ("3/8", 16), ("C|", 8), ("none", 8)] {
        let tune = Tune::parse(&format!("M:{meter}\nK:C\nA")).unwrap();
        assert_eq!(tune.bars[0].length(), WHOLE / unit, "{meter}");
    }
}

#[test]
fn broken_rhythm_and_tuplets() {
    assert_eq!(lengths("A>B A<B A>>B A<<B A2 > B2"), [1.5, 0.5, 0.5, 1.5, 1.75, 0.25, 0.25, 1.75, 3.0, 1.0]);
    assert_eq!(lengths("A>{c}B"), [1.5, 0.5]);
    let third = 2.0 / 3.0;
    let near = |music: &str, want: &[f64]| {
        let found = lengths(music);
        assert_eq!(found.len(), want.len(), "{music}");
        assert!(found.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-9), "{music}: {found:?}");
    };
    near("(3ABc d", &[third, third, third, 1.0]);
    near("(3A2B d", &[2.0 * third, third, third]);
    near("((3.A(Bc) d)", &[third, third, third, 1.0]);
    near("(2AB c", &[1.5, 1.5, 1.0]);
    near("(4ABcd", &[0.75; 4]);
    near("(5ABcde", &[0.4; 5]);
    near("(3:2:2AB c", &[third, third, 1.0]);
    near("(6::3ABc d", &[1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 1.0]);
    near("(3A>Bc", &[1.0, 1.0 / 3.0, third]);
    // Five notes take the time of three where beats come in threes.
    let tune = Tune::parse("M:6/8\nL:1/8\nK:C\n(5ABcde").unwrap();
    assert_eq!(tune.performance().length, 3 * WHOLE / 8);
}

#[test]
fn rests_ties_and_chords() {
    let tune = Tune::parse("M:4/4\nL:1/8\nK:C\nA z2 B x | Z2 | c").unwrap();
    let starts: Vec<u32> = tune.performance().notes.iter().map(|n| n.start * 8 / WHOLE).collect();
    assert_eq!(starts, [0, 3, 21]);
    assert_eq!(tune.bars.len(), 4);
    assert_eq!(played("C", "A2-A2 A-|A- A"), [(69, 0.5), (69, 0.375)]);
    // What differs is no tie.
    assert_eq!(pitches("C", "A-B"), [69, 71]);
    // A chord is as long as its first note, times what stands behind it.
    assert_eq!(
        played("C", "[CEG]2 [C2E2] [C/E/]2"),
        [(60, 0.25), (64, 0.25), (67, 0.25), (60, 0.25), (64, 0.25), (60, 0.125), (64, 0.125)]
    );
    // One of two notes sounds on, then both.
    assert_eq!(played("C", "[CE-] [EG]"), [(60, 0.125), (64, 0.25), (67, 0.125)]);
    assert_eq!(played("C", "[CE]-[CE]"), [(60, 0.25), (64, 0.25)]);
}

#[test]
fn what_is_not_played_is_skipped() {
    let music = "\"Am\"A {cd}B !fermata!c +trill+ d (vd.e) ~f Tg uA % zzz\nw: la la\nP:B\nN:nothing\nB\\\nc";
    assert_eq!(pitches("C", music), [69, 71, 72, 74, 74, 76, 77, 79, 69, 71, 72]);
    assert_eq!(pitches("C", "\"5 \\% faster\" A B"), [69, 71]);
}

#[test]
fn repeats_and_endings() {
    let order = |music: &str| -> String {
        pitches("C", music)
            .iter()
            .map(|&p| ['A', '?', 'B', 'C', '?', 'D', '?', 'E', 'F', '?', 'G'][usize::from(p) - 57])
            .collect()
    };
    let cases = [
        ("A,|B,|", "AB"),
        ("|:A,|B,:|C|", "ABABC"),
        ("A,|B,:|C|", "ABABC"),
        ("A,|:B,:|C", "ABBC"),
        ("A,::B,:|", "AABB"),
        ("A,:||:B,:|", "AABB"),
        ("|:A,|1 B,:|2 C||D|", "ABACD"),
        ("|:A,|1B,:|2C|]D:|", "ABACDD"),
        ("A,|[1 B, :|[2 C|D||", "ABACD"),
        ("|:A,|1,3 B,:|2 C:|D", "ABACABD"),
        ("|:A,|1-2 B,:|3 C|]", "ABABAC"),
        ("|:A,|1 B,|C:|2 D|E|]F", "ABCADEF"),
        // The second ending says that there is an "again".
        ("|:A,|1 B,|2 C|]", "ABAC"),
        // Without a beginning, from the double bar line on.
        ("A,||B,|C:|", "ABCBC"),
        ("|:A,||B,:|", "ABAB"),
        // At the beginning of lines, with nothing between.
        ("|:\nA,|\nB,\n:|\n|:\nC\n:|", "ABABCC"),
    ];
    for (music, want) in cases {
        assert_eq!(order(music), want, "{music}");
    }
}

#[test]
fn faults_are_named() {
    let fault = |text: &str| Tune::parse(text).unwrap_err();
    assert_eq!(fault("M:4/4\nABc\n"), AbcError::NoKey { line: 2 });
    assert_eq!(fault(""), AbcError::NoKey { line: 0 });
    assert_eq!(fault("K:C\nz4|\n"), AbcError::Empty);
    assert_eq!(fault(&format!("L:1/1\nK:C\n{}", "A16|".repeat(63))), AbcError::Long);
    let longest = format!("L:1/1\nK:C\n|:{}|1-9 A:|", "A16|".repeat(62));
    assert_eq!(Tune::parse(&longest).unwrap().performance().length, 9 * 993 * WHOLE);
    for (text, field) in [
        ("M:4", 'M'),
        ("M:4/3", 'M'),
        ("L:x", 'L'),
        ("L:1/1000", 'L'),
        ("K:H", 'K'),
        ("K:Dfoo", 'K'),
        ("K:Abphr#", 'K'),
    ] {
        assert!(
            matches!(fault(&format!("{text}\nA")), AbcError::Field { line: 1, field: f, .. } if f == field),
            "{text}"
        );
    }
    let unexpected = |column, found| AbcError::Unexpected { line: 2, column, found };
    assert_eq!(fault("K:C\nA & B"), unexpected(3, '&'));
    assert_eq!(fault("K:C\n>A"), unexpected(1, '>'));
    assert_eq!(fault("K:C\nA ^ B"), unexpected(4, ' '));
    assert_eq!(fault("K:C\n^=A"), unexpected(1, '^'));
    assert_eq!(fault("K:C\nA [z2] B"), unexpected(4, 'z'));
    let unclosed = |column, opened| AbcError::Unclosed { line: 2, column, opened };
    assert_eq!(fault("K:C\nA {cd"), unclosed(3, '{'));
    assert_eq!(fault("K:C\nA [ce"), unclosed(3, '['));
    assert_eq!(fault("K:C\n\"Am"), unclosed(1, '"'));
    for music in ["A0", "A999", "A/0", "A////////////////", "A2/11", "(7A/1024", "Z9999"] {
        let found = fault(&format!("M:4/4\nK:C\n{music}"));
        assert!(matches!(found, AbcError::Length { line: 3, column: 1..=4 }), "{music}: {found}");
    }
    assert!(matches!(fault("K:C\nC,,,,,,"), AbcError::Pitch { line: 2, column: 1 }));
    assert!(matches!(fault("K:C\nc'''''''"), AbcError::Pitch { .. }));
    let title = Tune::parse("X:1\nT:First\nT:Second\nM:6/8\nK:D\nA").unwrap();
    assert_eq!((title.title.as_str(), title.meter), ("First", Some(Meter { beats: 6, unit: 8 })));
}

#[test]
fn no_text_makes_the_reader_panic() {
    // Tunes cut off and with characters exchanged, as a network in training would write them.
    let (mut sound, mut state) = (0, 1u64);
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let text = training_text();
    let symbols: Vec<char> = "\n |:[]{}()\"!<>-/0123456789ABCabc^_=zZ,'KLM%\\é".chars().collect();
    for tune in text::tunes(&text).take(600) {
        let mut tune: Vec<char> = tune.chars().collect();
        for _ in 0..3 {
            let at = random(tune.len());
            tune[at] = symbols[random(symbols.len())];
        }
        tune.truncate(1 + random(2 * tune.len()));
        if let Ok(tune) = Tune::parse(&tune.iter().collect::<String>()) {
            let played = tune.performance();
            assert!(played.notes.iter().all(|n| n.start + n.length <= played.length));
            sound += 1;
        }
    }
    assert!((200..600).contains(&sound), "{sound} are still music");
}

fn training_text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tunes-data/clean_train.txt.gz");
    String::from_utf8(compressed::read(&path).unwrap()).unwrap()
}

#[test]
fn nearly_all_tunes_of_the_repository_are_music() {
    let text = training_text();
    let (mut sound, mut sums, mut headless) = (0, Sums::default(), 0);
    for tune in text::tunes(&text) {
        match Tune::parse(tune) {
            Ok(tune) => {
                let Sums { full, upbeats, wrong } = tune.sums();
                assert_eq!(full + upbeats + wrong, tune.bars.len());
                sums = Sums {
                    full: sums.full + full,
                    upbeats: sums.upbeats + upbeats,
                    wrong: sums.wrong + wrong,
                };
                let played = tune.performance();
                assert!(played.bars.len() >= tune.bars.len() / 2 && played.bars.len() <= 2 * tune.bars.len());
                sound += 1;
            }
            Err(AbcError::NoKey { line: 1 }) => headless += 1,
            Err(_) => {}
        }
    }
    // The others are parts without a header, and slips of the transcribers.
    println!("{sound} tunes, {headless} without a key: {sums:?}");
    assert_eq!((sound, headless), (2884, 10));
    let all = sums.full + sums.upbeats + sums.wrong;
    assert!(100 * sums.wrong < 2 * all && sums.upbeats < all / 5, "{sums:?}");
}

#[test]
fn a_whole_tune() {
    // A jig from Ryan's Mammoth Collection: upbeats, a first and a second ending.
    let tune = "M:6/8\nL:1/8\nK:G\nD|GAG GBd|gfe dBG|1 cAF G2:|2 cAF G3|]\n";
    let tune = Tune::parse(tune).unwrap();
    let played = tune.performance();
    let pitches: Vec<u8> = played.notes.iter().map(|n| n.pitch).collect();
    let half = [62, 67, 69, 67, 67, 71, 74, 79, 78, 76, 74, 71, 67, 72, 69, 66, 67];
    assert_eq!(pitches, [half, half].concat());
    // Upbeat and rest of the bar make a whole one: 3 bars, then an upbeat and 3 bars.
    assert_eq!(played.length, WHOLE / 8 * (18 + 1 + 18));
    assert_eq!(played.bars.len(), 8);
    assert_eq!(tune.sums(), Sums { full: 3, upbeats: 2, wrong: 0 });
}
