//! Meter, unit of length, and key.

use super::WHOLE;

/// A meter, such as 6/8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meter {
    /// Beats of a bar.
    pub beats: u32,
    /// A beat is one by this of a whole note: 1, 2, 4, .. 64.
    pub unit: u32,
}

impl Meter {
    /// Ticks of a bar.
    pub fn ticks(self) -> u32 {
        WHOLE / self.unit * self.beats
    }

    /// Whether beats come in threes.
    pub fn compound(self) -> bool {
        self.beats > 3 && self.beats.is_multiple_of(3)
    }

    /// The unit of length where no `L:` says another: a sixteenth below 3/4, else an eighth.
    pub fn default_unit(self) -> u32 {
        if 4 * self.ticks() < 3 * WHOLE { WHOLE / 16 } else { WHOLE / 8 }
    }
}

/// The value of `M:`. The outer `None` is a fault, the inner one a free meter.
pub fn meter(value: &str) -> Option<Option<Meter>> {
    match value {
        "C" => return Some(Some(Meter { beats: 4, unit: 4 })),
        "C|" => return Some(Some(Meter { beats: 2, unit: 2 })),
        "none" | "" => return Some(None),
        _ => {}
    }
    let (beats, unit) = value.split_once('/')?;
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|n| (1..=64).contains(n));
    let (beats, unit) = (number(beats)?, number(unit)?);
    unit.is_power_of_two().then_some(Some(Meter { beats, unit }))
}

/// The value of `L:`, in ticks.
pub fn unit_length(value: &str) -> Option<u32> {
    let (n, d) = value.split_once('/').unwrap_or((value, "1"));
    let (n, d) = (n.trim().parse::<u32>().ok()?, d.trim().parse::<u32>().ok()?);
    let sound = (1..=4).contains(&n) && d.is_power_of_two() && d <= 64;
    sound.then(|| WHOLE / d * n)
}

/// Sharps and flats of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Sharps, or flats below 0.
    pub sharps: i8,
    /// Whether the third is minor, as in minor, Dorian and Phrygian.
    pub minor: bool,
}

impl Key {
    /// Semitones by which the key moves a note; letters count from C.
    pub fn alteration(self, letter: usize) -> i8 {
        // F C G D A E B get sharps in this order, and flats in the other.
        let place = [1, 3, 5, 0, 2, 4, 6][letter] as i8;
        i8::from(place < self.sharps) - i8::from(6 - place < -self.sharps)
    }
}

/// The value of `K:`. Of a mode, three letters count, large or small; `m` is minor, `M` is major.
pub fn key(value: &str) -> Option<Key> {
    let value = value.trim();
    if value.is_empty() || value == "none" {
        return Some(Key { sharps: 0, minor: false });
    }
    // The scale of the Highland pipes.
    if value == "HP" || value == "Hp" {
        return Some(Key { sharps: 2, minor: false });
    }
    let mut chars = value.chars();
    let tonic = "FCGDAEB".find(chars.next()?)? as i8 - 1;
    let rest = chars.as_str();
    let (accidental, rest) = match rest.strip_prefix('#') {
        Some(rest) => (7, rest),
        None => rest.strip_prefix('b').map_or((0, rest), |rest| (-7, rest)),
    };
    // What follows a space may be a mode, or say something of the clef.
    let mut words = rest.split_whitespace();
    let mode = words.next().filter(|word| !word.contains('=')).unwrap_or_default();
    let (fifths, minor) = match mode {
        "" | "M" => (0, false),
        "m" => (-3, true),
        _ => match mode.to_lowercase().get(..3)? {
            "maj" | "ion" => (0, false),
            "min" | "aeo" => (-3, true),
            "mix" => (-1, false),
            "dor" => (-2, true),
            "phr" => (-4, true),
            "lyd" => (1, false),
            "loc" => (-5, true),
            _ => return None,
        },
    };
    let sharps = tonic + accidental + fifths;
    (-7..=7).contains(&sharps).then_some(Key { sharps, minor })
}
