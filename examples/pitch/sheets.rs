//! The picture of the example: a clip's spectrogram with the pitch that was heard, and how sure the network was.

use super::decode::{CONFIDENT, Note, Pitch, name};
use super::frames::{HOP_SECONDS, SAMPLE_RATE};
use super::spectrum::Spectrogram;
use crate::support::canvas::*;
use plotters::prelude::{PathElement, Polygon, RGBColor};
use plotters::style::Color;
use plotters::style::text_anchor::HPos;
use std::path::Path;

/// Magma by S. van der Walt and N. Smith (CC0), at nine places.
const MAGMA: [(u8, u8, u8); 9] = [
    (0, 0, 4),
    (28, 16, 68),
    (79, 18, 123),
    (129, 37, 129),
    (181, 54, 122),
    (229, 80, 100),
    (251, 135, 97),
    (254, 194, 135),
    (252, 253, 191),
];
const TRACK: RGBColor = RGBColor(70, 235, 250);
/// Lowest and highest frequency, in Hz.
const FREQUENCIES: (f64, f64) = (30.0, 4000.0);
/// Decibels below the loudest that are shown.
const RANGE: f32 = 70.0;
const HEIGHT: i32 = 400;
/// Shorter lines are not drawn, in frames.
const SHORTEST: usize = 3;
/// Height of the lower part, and the gap above it.
const SURE: (i32, i32) = (90, 50);
const LEFT: i32 = MARGIN + 62;
const RIGHT: i32 = 150;
const TOP: i32 = TITLE + 40;

/// Where things stand in the picture.
struct Plot {
    width: i32,
    seconds: f64,
}

impl Plot {
    fn x(&self, time: f64) -> f64 {
        f64::from(LEFT) + time / self.seconds * f64::from(self.width)
    }

    fn y(&self, frequency: f64) -> f64 {
        let (low, high) = FREQUENCIES;
        f64::from(TOP) + f64::from(HEIGHT) * (1.0 - (frequency / low).ln() / (high / low).ln())
    }
}

/// A point in the finer pixels that are drawn.
fn point((x, y): (f64, f64)) -> (i32, i32) {
    let fine = |v: f64| (v * f64::from(FINE)).round() as i32;
    (fine(x), fine(y))
}

/// Draws a clip with its pitches and notes.
pub fn tracked(
    path: &Path,
    title: &str,
    samples: &[f32],
    track: &[Pitch],
    notes: &[Note],
) -> Result<(), PictureError> {
    if samples.is_empty() {
        return Err(PictureError::Empty);
    }
    let seconds = samples.len() as f64 / f64::from(SAMPLE_RATE);
    let plot = Plot { width: ((250.0 * seconds) as i32).clamp(760, 2200), seconds };
    let size =
        ((LEFT + plot.width + RIGHT) as u32, (TOP + HEIGHT + SURE.1 + SURE.0 + 58 + MARGIN / 2) as u32);
    let spectrogram = Spectrogram::new(samples);
    picture(path, title, size, |area| {
        legend(area, &plot)?;
        background(area, &plot, &spectrogram)?;
        axes(area, &plot)?;
        let heard = |p: &Pitch| p.heard() && p.frequency > FREQUENCIES.0;
        let at = |i: usize, p: &Pitch| (plot.x(i as f64 * HOP_SECONDS), plot.y(p.frequency));
        for (colour, width) in [(RGBColor(0, 0, 0), 6), (TRACK, 3)] {
            let mut first = 0;
            for run in track.chunk_by(|a, b| heard(a) == heard(b) && near(a, b)) {
                let points: Vec<_> = (first..).zip(run).map(|(i, p)| point(at(i, p))).collect();
                first += run.len();
                if heard(&run[0]) && run.len() >= SHORTEST {
                    area.draw(&PathElement::new(points, colour.stroke_width((width * FINE) as u32)))?;
                }
            }
        }
        for note in named(notes, &plot) {
            let x = (plot.x(note.start) as i32 + 2).min(LEFT + plot.width - 34);
            let y = plot.y(note.frequency) as i32;
            let above = if y - 20 > TOP + 12 { y - 20 } else { y + 20 };
            haloed(area, &note.name, (x, above))?;
        }
        confidence(area, &plot, track)
    })
}

/// Whether two neighbouring pitches are joined by a line.
fn near(a: &Pitch, b: &Pitch) -> bool {
    (a.semitones() - b.semitones()).abs() < 1.0
}

/// The notes whose names have room: the longer ones first.
fn named<'n>(notes: &'n [Note], plot: &Plot) -> Vec<&'n Note> {
    let mut order: Vec<&Note> = notes.iter().collect();
    order.sort_by(|a, b| (b.end - b.start).total_cmp(&(a.end - a.start)));
    let mut named: Vec<&Note> = Vec::new();
    for note in order {
        let apart = |other: &&Note| {
            let across = (plot.x(note.start) - plot.x(other.start)).abs();
            across > 40.0 || (plot.y(note.frequency) - plot.y(other.frequency)).abs() > 24.0
        };
        if named.iter().all(apart) {
            named.push(note);
        }
    }
    named
}

fn legend(area: &Area<'_>, plot: &Plot) -> Drawn {
    let y = TITLE + 12;
    text(area, "Level by frequency, and ", (LEFT, y), 17, INK, HPos::Left)?;
    let x = LEFT + width_of(area, "Level by frequency, and ", 17)?;
    rectangle(area, (x, y - 4), (30, 8), RGBColor(0, 0, 0))?;
    rectangle(area, (x, y - 2), (30, 4), TRACK)?;
    text(area, "the pitch that is heard", (x + 38, y), 17, INK, HPos::Left)?;
    let bar = (LEFT + plot.width + 62, TOP);
    for row in 0..HEIGHT {
        let t = 1.0 - f64::from(row) / f64::from(HEIGHT - 1);
        rectangle(area, (bar.0, bar.1 + row), (14, 1), along(&MAGMA, t))?;
    }
    for level in (0..=RANGE as i32).step_by(10) {
        let row = (HEIGHT - 1) * level / RANGE as i32;
        let words = if level == 0 { "0 dB".into() } else { format!("−{level}") };
        let y = (bar.1 + row).clamp(TOP + 7, TOP + HEIGHT - 7);
        text(area, &words, (bar.0 + 20, y), 14, GREY, HPos::Left)?;
    }
    Ok(())
}

fn background(area: &Area<'_>, plot: &Plot, spectrogram: &Spectrogram) -> Drawn {
    let highest = spectrogram.highest();
    let (low, high) = FREQUENCIES;
    let mut values = Vec::new();
    for row in 0..HEIGHT {
        let frequency = high * (low / high).powf((f64::from(row) + 0.5) / f64::from(HEIGHT));
        for column in 0..plot.width {
            let time = (f64::from(column) + 0.5) / f64::from(plot.width) * plot.seconds / HOP_SECONDS;
            let before = (time as usize).min(spectrogram.len() - 1);
            let after = (before + 1).min(spectrogram.len() - 1);
            let [a, b] = [before, after].map(|window| spectrogram.level(window, frequency));
            values.push(a + (b - a) * (time - before as f64).clamp(0.0, 1.0) as f32);
        }
    }
    let map = Bitmap::scaled(&values, plot.width as usize, (highest - RANGE, highest), &MAGMA);
    bitmap(area, &map, (LEFT, TOP), (plot.width, HEIGHT))
}

fn axes(area: &Area<'_>, plot: &Plot) -> Drawn {
    let right = LEFT + plot.width;
    frame(area, (LEFT, TOP), (plot.width, HEIGHT), GREY)?;
    for frequency in [50, 100, 200, 500, 1000, 2000, 4000] {
        let y = plot.y(f64::from(frequency)).round() as i32;
        rectangle(area, (LEFT - 5, y), (5, 1), GREY)?;
        let words = if frequency == 4000 { "4000 Hz".into() } else { frequency.to_string() };
        text(area, &words, (LEFT - 9, y), 15, INK, HPos::Right)?;
    }
    // The octaves' first notes on the other side.
    for octave in 1..=7 {
        let semitones = 12 * octave - 57;
        let y = plot.y(440.0 * (f64::from(semitones) / 12.0).exp2()).round() as i32;
        rectangle(area, (right, y), (5, 1), GREY)?;
        text(area, &name(semitones), (right + 9, y), 15, GREY, HPos::Left)?;
    }
    let below = TOP + HEIGHT + SURE.1 + SURE.0;
    let step = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0]
        .into_iter()
        .find(|step| f64::from(plot.width) * step / plot.seconds > 70.0)
        .unwrap_or(300.0);
    let decimals = usize::from(step < 1.0);
    for i in 0..=(plot.seconds / step) as i32 {
        let time = f64::from(i) * step;
        let x = plot.x(time).round() as i32;
        rectangle(area, (x, TOP + HEIGHT), (1, 5), GREY)?;
        rectangle(area, (x, below), (1, 5), GREY)?;
        text(area, &format!("{time:.decimals$}"), (x, below + 15), 15, INK, HPos::Center)?;
    }
    text(area, "seconds", (LEFT + plot.width / 2, below + 38), 16, INK, HPos::Center)
}

/// Words that are readable on any colour.
fn haloed(area: &Area<'_>, words: &str, (x, y): (i32, i32)) -> Drawn {
    for (dx, dy) in [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)] {
        text(area, words, (x + dx, y + dy), 17, RGBColor(0, 0, 0), HPos::Left)?;
    }
    text(area, words, (x, y), 17, WHITE, HPos::Left)
}

fn confidence(area: &Area<'_>, plot: &Plot, track: &[Pitch]) -> Drawn {
    let (height, gap) = SURE;
    let top = TOP + HEIGHT + gap;
    let heading = "Confidence: the highest of 360 probabilities; above the line a pitch is heard";
    text(area, heading, (LEFT, top - 20), 17, INK, HPos::Left)?;
    let y = |p: f32| f64::from(top) + f64::from(height) * (1.0 - f64::from(p));
    let right = f64::from(LEFT + plot.width);
    let place = |i: usize, p: &Pitch| (plot.x(i as f64 * HOP_SECONDS).min(right), y(p.confidence));
    let line: Vec<_> = track.iter().enumerate().map(|(i, p)| place(i, p)).collect();
    let ends = [line.last().map_or(right, |p| p.0), plot.x(0.0)].map(|x| (x, y(0.0)));
    let outline: Vec<_> = line.iter().copied().chain(ends).map(point).collect();
    area.draw(&Polygon::new(outline, mix(WHITE, BLUE, 0.35).filled()))?;
    area.draw(&PathElement::new(
        line.into_iter().map(point).collect::<Vec<_>>(),
        BLUE.stroke_width(2 * FINE as u32),
    ))?;
    let threshold = y(CONFIDENT).round() as i32;
    for x in (LEFT..LEFT + plot.width).step_by(10) {
        rectangle(area, (x, threshold), (6.min(LEFT + plot.width - x), 1), RED)?;
    }
    frame(area, (LEFT, top), (plot.width, height), GREY)?;
    for (value, words) in [(0.0, "0"), (CONFIDENT, "0.5"), (1.0, "1")] {
        let y = y(value).round() as i32;
        rectangle(area, (LEFT - 5, y), (5, 1), GREY)?;
        text(area, words, (LEFT - 9, y), 15, INK, HPos::Right)?;
    }
    Ok(())
}
