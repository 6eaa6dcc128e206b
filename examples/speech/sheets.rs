//! The picture of the example: a sound, and when it is speech.

use super::reference::Digit;
use super::segments::{BEGINS, CHUNK_SECONDS, segments};
use super::vad::SAMPLE_RATE;
use crate::support::canvas::*;
use crate::support::chart::{Chart, Line, Scaling, Stroke, chart};
use crate::support::colour::{BLUE, GREEN, GREY, RED, limit, mix};
use plotters::style::text_anchor::HPos;
use std::path::Path;

/// A sound's wave with the stretches that were taken for speech behind it, and below it the probability of speech.
/// Above stand the digits that are spoken, where they are known.
pub fn listening(
    path: &Path,
    title: &str,
    samples: &[f32],
    probabilities: &[f32],
    digits: &[Digit],
) -> Result<(), PictureError> {
    if samples.is_empty() {
        return Err(PictureError::Empty);
    }
    let seconds = samples.len() as f64 / f64::from(SAMPLE_RATE);
    let width = ((48.0 * seconds) as i32).clamp(1000, 2400);
    const WAVE: i32 = 180;
    const CHART: i32 = 290;
    // The chart's own space for its numbers, so that both share their times.
    let (left, plot) = (MARGIN + 70, width - 84);
    let top = TITLE + if digits.is_empty() { 36 } else { 74 };
    let size = ((width + 2 * MARGIN) as u32, (top + WAVE + 14 + CHART + MARGIN) as u32);
    let x = |time: f64| left + (time / seconds * f64::from(plot)).round() as i32;
    picture(path, title, size, |area| {
        text(area, "Sound, and where speech is heard (green)", (MARGIN, TITLE + 10), 20, INK, HPos::Left)?;
        for s in segments(probabilities) {
            let (from, to) = (x(s.start), x(s.end.min(seconds)));
            rectangle(area, (from, top), ((to - from).max(1), WAVE), mix(WHITE, GREEN, 0.28))?;
        }
        frame(area, (left, top), (plot, WAVE), PALE)?;
        wave(area, samples, (left, top), (plot, WAVE))?;
        for d in digits {
            let middle = (x(d.at.start) + x(d.at.end)) / 2;
            text(area, &d.digit, (middle, top - 12), 15, INK, HPos::Center)?;
        }
        for of_one in digits.chunk_by(|a, b| a.speaker == b.speaker) {
            let (first, last) = (&of_one[0], &of_one[of_one.len() - 1]);
            let middle = (x(first.at.start) + x(last.at.end)) / 2;
            text(area, &first.speaker, (middle, top - 32), 15, GREY, HPos::Center)?;
        }
        let at = |i: usize, p: f32| ((i as f64 + 0.5) * CHUNK_SECONDS, f64::from(p));
        let line = |name: &str, points, colour, stroke| Line { name: name.into(), points, colour, stroke };
        let each: Vec<(f64, f64)> = probabilities.iter().enumerate().map(|(i, &p)| at(i, p)).collect();
        let begins = f64::from(BEGINS);
        let lines = [
            line("speech begins", vec![(0.0, begins), (seconds, begins)], GREY, Stroke::Dashed),
            line("of each 32 ms", each, RED, Stroke::Plain),
        ];
        let with = Chart {
            heading: "Probability of speech".into(),
            x: "seconds".into(),
            y: String::new(),
            x_range: (0.0, seconds),
            y_range: (0.0, 1.0),
            scaling: Scaling::Linear,
        };
        chart(area, (MARGIN, top + WAVE + 14), (width, CHART), &with, &lines)
    })
}

/// Least and largest sample of each column of pixels.
fn wave(area: &Area<'_>, samples: &[f32], (left, top): (i32, i32), (width, height): (i32, i32)) -> Drawn {
    let scale = 0.47 * height as f32 / limit(samples);
    let columns = width as usize;
    for column in 0..columns {
        let from = column * samples.len() / columns;
        let to = ((column + 1) * samples.len() / columns).clamp(from + 1, samples.len());
        // From the sample before on, so that a line is seen where there are few.
        let part = &samples[from.saturating_sub(1)..to];
        let low = part.iter().copied().fold(f32::INFINITY, f32::min);
        let high = part.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let y = |v: f32| top + height / 2 - (scale * v).round() as i32;
        rectangle(area, (left + column as i32, y(high)), (1, (y(low) - y(high)).max(1)), BLUE)?;
    }
    Ok(())
}
