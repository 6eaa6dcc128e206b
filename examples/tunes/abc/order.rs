//! From what is written to what is played: repeats, endings, ties.

use super::{Bar, Note, Performance};

/// The indices of bars in the order in which they are played.
///
/// A part is played again from where it opened; where nothing opened it, from the double bar line or the end of the
/// part before it. Endings are played at their own times only. Where a second ending follows a first without the sign
/// for "again", that is meant.
fn order(bars: &[Bar]) -> Vec<usize> {
    let (mut order, mut i, mut time) = (Vec::new(), 0, 1u8);
    // Where the present part begins, whether a sign opened it, and whether one of its endings is being played.
    let (mut part, mut opened, mut in_ending) = (0, false, false);
    // Endings are numbered up to 9, so a part is played nine times at most.
    while i < bars.len() {
        let bar = &bars[i];
        if bar.opens && i > part {
            (part, time, in_ending) = (i, 1, false);
        }
        opened |= bar.opens;
        if !bar.endings.is_empty() && !bar.endings.contains(&time) {
            // Another time's ending. Behind this time's own it means "again".
            if in_ending && bar.endings.contains(&(time + 1)) {
                (i, time, in_ending) = (part, time + 1, false);
                continue;
            }
            i += 1;
            while i < bars.len() && bars[i].endings.is_empty() && !ends(bars, i - 1) {
                i += 1;
            }
            continue;
        }
        order.push(i);
        in_ending |= !bar.endings.is_empty();
        let times = times(bars, part);
        if bar.closes && time < times {
            (i, time, in_ending) = (part, time + 1, false);
            continue;
        }
        if bar.closes || (bar.last && (!opened || (in_ending && time == times))) {
            (part, opened, time, in_ending) = (i + 1, false, 1, false);
        }
        i += 1;
    }
    order
}

/// Whether an ending ends with this bar.
fn ends(bars: &[Bar], i: usize) -> bool {
    bars[i].closes || bars[i].last || bars.get(i + 1).is_some_and(|b| b.opens)
}

/// How often the part that begins at `part` is played where it closes.
fn times(bars: &[Bar], part: usize) -> u8 {
    let mut times = 2;
    for (i, bar) in bars.iter().enumerate().skip(part) {
        if bar.opens && i > part {
            break;
        }
        times = bar.endings.iter().copied().fold(times, u8::max);
    }
    times
}

/// Plays the bars one after the other.
pub fn performance(bars: &[Bar]) -> Performance {
    let mut all = Performance::default();
    // Notes that sound on, by their places.
    let mut tied: Vec<usize> = Vec::new();
    for i in order(bars) {
        all.bars.push(all.length);
        for event in &bars[i].events {
            let mut next = Vec::new();
            for sound in &event.sounds {
                let before = tied.iter().copied().find(|&n| all.notes[n].pitch == sound.pitch);
                let place = match before {
                    Some(place) => {
                        all.notes[place].length += event.length;
                        place
                    }
                    None => {
                        all.notes.push(Note { start: all.length, length: event.length, pitch: sound.pitch });
                        all.notes.len() - 1
                    }
                };
                if sound.tied {
                    next.push(place);
                }
            }
            tied = next;
            all.length += event.length;
        }
    }
    all
}
