//! Piano rolls: time to the right, pitch upwards, a bar of colour for each note.

// Each example uses a part of this.
#![allow(dead_code)]

use super::canvas::*;
use plotters::prelude::RGBColor;
use plotters::style::text_anchor::HPos;
use std::path::Path;

/// A piece of music to be shown.
#[derive(Clone, Debug, Default)]
pub struct Roll {
    /// What is written above it.
    pub heading: String,
    /// Its notes.
    pub notes: Vec<Block>,
    /// Where bars begin.
    pub bars: Vec<f64>,
    /// How long it is.
    pub length: f64,
    /// How much of that goes into a row.
    pub row: f64,
}

/// A note.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// Where it begins.
    pub start: f64,
    /// How long it is.
    pub length: f64,
    /// 60 is the C in the middle.
    pub pitch: u8,
    /// Its voice, which has a colour.
    pub voice: usize,
}

/// Colours of voices.
const COLOURS: [RGBColor; 4] = [RED, ORANGE, GREEN, BLUE];
/// What keys of a piano that are black look like here.
const SHADE: RGBColor = RGBColor(240, 243, 246);
/// Width of a row.
const WIDTH: i32 = 1200;
/// Space for the names of pitches.
const NAMES: i32 = 44;
const HEADING: i32 = 34;
const GAP: i32 = 16;

impl Roll {
    /// Rows of at least one.
    fn rows(&self) -> usize {
        ((self.length / self.row - 1e-6).ceil() as usize).max(1)
    }

    /// The lowest and the highest pitch that is shown.
    fn range(&self) -> (i32, i32) {
        let pitches = || self.notes.iter().map(|n| i32::from(n.pitch));
        (pitches().min().unwrap_or(60) - 1, pitches().max().unwrap_or(72) + 1)
    }

    /// Pixels of a semitone.
    fn step(&self) -> i32 {
        let (low, high) = self.range();
        (240 / (high - low + 1)).clamp(5, 8)
    }

    /// Pixels of a row.
    fn row_height(&self) -> i32 {
        let (low, high) = self.range();
        (high - low + 1) * self.step()
    }

    fn height(&self) -> i32 {
        HEADING + self.rows() as i32 * (self.row_height() + GAP) + GAP
    }
}

/// Draws pieces below one another. `voices` are named where there are several.
pub fn piano_rolls(
    path: impl AsRef<Path>,
    title: &str,
    voices: &[&str],
    rolls: &[Roll],
) -> Result<(), PictureError> {
    if rolls.is_empty() {
        return Err(PictureError::Empty);
    }
    let height = TITLE + 8 + rolls.iter().map(Roll::height).sum::<i32>() + MARGIN - GAP;
    picture(path, title, ((NAMES + WIDTH + 2 * MARGIN) as u32, height as u32), |area| {
        let mut x = MARGIN + NAMES + WIDTH;
        for (voice, name) in voices.iter().enumerate().rev().filter(|_| voices.len() > 1) {
            x -= width_of(area, name, 15)?;
            text(area, name, (x, MARGIN + 14), 15, INK, HPos::Left)?;
            rectangle(area, (x - 20, MARGIN + 10), (14, 8), COLOURS[voice % COLOURS.len()])?;
            x -= 40;
        }
        let mut y = TITLE + 8;
        for roll in rolls {
            text(area, &roll.heading, (MARGIN + NAMES, y + 12), 17, INK, HPos::Left)?;
            for row in 0..roll.rows() {
                let place = (MARGIN + NAMES, y + HEADING + row as i32 * (roll.row_height() + GAP));
                draw_row(area, roll, row as f64 * roll.row, place)?;
            }
            y += roll.height();
        }
        Ok(())
    })
}

/// What lies between `from` and a row's length later.
fn draw_row(area: &Area<'_>, roll: &Roll, from: f64, place: (i32, i32)) -> Drawn {
    let ((low, high), step, height) = (roll.range(), roll.step(), roll.row_height());
    let x = |time: f64| place.0 + ((time - from) / roll.row * f64::from(WIDTH)).round() as i32;
    let y = |pitch: i32| place.1 + (high - pitch) * step;
    let until = (from + roll.row).min(roll.length);
    let width = x(until) - place.0;
    for pitch in low..=high {
        if matches!(pitch.rem_euclid(12), 1 | 3 | 6 | 8 | 10) {
            rectangle(area, (place.0, y(pitch)), (width, step), SHADE)?;
        }
        if pitch.rem_euclid(12) == 0 {
            rectangle(area, (place.0, y(pitch) + step), (width, 1), PALE)?;
            let name = format!("C{}", pitch / 12 - 1);
            text(area, &name, (place.0 - 8, y(pitch) + step / 2), 12, GREY, HPos::Right)?;
        }
    }
    for &bar in roll.bars.iter().filter(|&&b| b >= from - 1e-6 && b < until - 1e-6) {
        rectangle(area, (x(bar), place.1), (1, height), PALE)?;
    }
    frame(area, place, (width, height), PALE)?;
    let inside = |start: f64, end: f64| (x(start.max(from)), x(end.min(until)));
    let end = |note: &Block| note.start + note.length;
    let notes: Vec<&Block> = roll.notes.iter().filter(|n| n.start < until && end(n) > from).collect();
    for note in &notes {
        let ((left, right), top) = (inside(note.start, end(note)), y(i32::from(note.pitch)));
        let size = ((right - left - 1).max(2), step);
        rectangle(area, (left + 1, top), size, COLOURS[note.voice % COLOURS.len()])?;
    }
    // Where two voices sing the same, the lower one has the lower half.
    for note in &notes {
        let above = notes.iter().filter(|o| o.voice < note.voice && o.pitch == note.pitch);
        for other in above.filter(|o| o.start < end(note) && end(o) > note.start) {
            let (left, right) = inside(note.start.max(other.start), end(note).min(end(other)));
            let place = (left + 1, y(i32::from(note.pitch)) + step - step / 2);
            rectangle(
                area,
                place,
                ((right - left - 1).max(2), step / 2),
                COLOURS[note.voice % COLOURS.len()],
            )?;
        }
    }
    Ok(())
}
