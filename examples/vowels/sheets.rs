//! The pictures of the example: an utterance, and the three trainings.

use super::net::{History, Kind};
use super::utterances::Utterances;
use crate::support::canvas::*;
use crate::support::chart::{Chart, Line, Scaling, Stroke, chart};
use crate::support::colour::{BLUE, Bitmap, GREEN, RED};
use plotters::style::text_anchor::HPos;
use std::path::Path;

/// The first utterance of three speakers, coefficient by coefficient.
pub fn utterance(path: &Path, set: &Utterances) -> Result<(), PictureError> {
    const CELL: i32 = 17;
    const GAP: i32 = 40;
    const NAMES: i32 = 40;
    let channels = set.set.channels;
    let firsts: Vec<usize> = (0..set.set.classes.len())
        .filter_map(|class| set.set.series.iter().position(|s| s.label == class))
        .step_by(4)
        .collect();
    let widths = firsts.iter().map(|&i| set.set.series[i].length as i32 * CELL + GAP);
    let width = widths.sum::<i32>() - GAP + NAMES + BAR + 2 * MARGIN;
    let height = TITLE + 40 + channels as i32 * CELL + 40 + MARGIN;
    let title = "Utterances of speakers: cepstra over time, each coefficient to mean 0 and deviation 1";
    picture(path, title, (width.max(980) as u32, height as u32), |area| {
        let top = TITLE + 40;
        for channel in 0..channels as i32 {
            let place = (MARGIN + NAMES - 10, top + channel * CELL + CELL / 2);
            text(area, &(channel + 1).to_string(), place, 14, GREY, HPos::Right)?;
        }
        let mut x = MARGIN + NAMES;
        const STRONGEST: f32 = 3.0;
        for &index in &firsts {
            let series = &set.set.series[index];
            let scaled: Vec<f32> = (series.values.iter().enumerate())
                .map(|(i, v)| (v - set.scale[i / series.length].0) / set.scale[i / series.length].1)
                .collect();
            let size = (series.length as i32 * CELL, channels as i32 * CELL);
            let name = format!("speaker {}", set.set.classes[series.label]);
            text(area, &name, (x, top - 18), 18, INK, HPos::Left)?;
            frame(area, (x, top), size, PALE)?;
            bitmap(area, &Bitmap::signed(&scaled, series.length, STRONGEST), (x, top), size)?;
            let frames = format!("{} frames", series.length);
            text(area, &frames, (x + size.0 / 2, top + size.1 + 18), 15, GREY, HPos::Center)?;
            x += size.0 + GAP;
        }
        let place = (x - GAP + 24, top);
        bar(area, place, channels as i32 * CELL, (-STRONGEST, STRONGEST), |t| along(&BLUE_TO_RED, t))
    })
}

/// Loss, and shares of right answers, of each network.
pub fn curves(path: &Path, histories: &[(Kind, History)]) -> Result<(), PictureError> {
    const CHART: (i32, i32) = (560, 400);
    const GAP: i32 = 40;
    /// Per cent at the foot of the right chart.
    const LOWEST: f64 = 80.0;
    let size = (2 * CHART.0 + GAP + 2 * MARGIN, TITLE + 8 + CHART.1 + MARGIN);
    let epochs = histories.iter().map(|(_, h)| h.losses.len()).max().unwrap_or(0).max(1) as f64;
    // Lines begin where they come into sight.
    let lines = |values: fn(&History) -> &[f64], lowest: f64| -> Vec<Line> {
        let line = |(i, (kind, history)): (usize, &(Kind, History))| Line {
            name: kind.name().into(),
            points: (values(history).iter().enumerate())
                .map(|(i, &v)| ((i + 1) as f64, v))
                .skip_while(|p| p.1 < lowest)
                .collect(),
            colour: [GREEN, BLUE, RED][i % 3],
            stroke: Stroke::Plain,
        };
        histories.iter().enumerate().map(line).collect()
    };
    let with = |heading: &str, y: &str, y_range, scaling| Chart {
        heading: heading.into(),
        x: "epoch".into(),
        y: y.into(),
        x_range: (0.0, epochs),
        y_range,
        scaling,
    };
    picture(path, "Three recurrent networks learn nine speakers", (size.0 as u32, size.1 as u32), |area| {
        let losses = with("Loss", "cross-entropy, training", (5e-4, 3.0), Scaling::Logarithmic);
        chart(area, (MARGIN, TITLE + 8), CHART, &losses, &lines(|h| &h.losses, 0.0))?;
        let shares = with("Right answers", "per cent of test utterances", (LOWEST, 100.0), Scaling::Linear);
        chart(area, (MARGIN + CHART.0 + GAP, TITLE + 8), CHART, &shares, &lines(|h| &h.test, LOWEST))
    })
}
