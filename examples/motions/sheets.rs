//! The pictures of the example: recordings, curves, and learned kernels.

use super::net::{History, TAPS};
use super::recordings::{Recordings, SENSORS};
use crate::support::canvas::*;
use crate::support::chart::{Chart, Line, Scaling, Stroke, chart};
use crate::support::colour::{BLUE, Bitmap, RED, VIRIDIS, along, limit};
use plotters::style::text_anchor::HPos;
use std::path::Path;

/// The first recording of each class.
pub fn signals(path: &Path, set: &Recordings) -> Result<(), PictureError> {
    const CHART: (i32, i32) = (620, 320);
    const GAP: i32 = 34;
    let rows = set.classes.len().div_ceil(2) as i32;
    let size = (2 * CHART.0 + GAP + 2 * MARGIN, TITLE + 8 + rows * (CHART.1 + GAP) - GAP + MARGIN);
    let title = "A recording of each activity: what is told apart is rhythm and strength, not a moment";
    picture(path, title, (size.0 as u32, size.1 as u32), |area| {
        for (i, class) in set.classes.iter().enumerate() {
            let Some(index) = set.labels.iter().position(|&l| l == i as i64) else { continue };
            let recording = set.recording(index);
            let largest = recording.iter().fold(1.0f32, |m, v| m.max(v.abs()));
            let line = |(channel, values): (usize, &[f32])| Line {
                name: SENSORS.get(channel).copied().unwrap_or_default().into(),
                points: values.iter().enumerate().map(|(t, &v)| (t as f64, f64::from(v))).collect(),
                colour: along(&VIRIDIS, 0.92 * channel as f64 / (set.channels - 1).max(1) as f64),
                stroke: Stroke::Plain,
            };
            let lines: Vec<Line> = recording.chunks_exact(set.length).enumerate().map(line).collect();
            let range = f64::from((1.1 * largest).ceil());
            let with = Chart {
                heading: class.clone(),
                x: "tenths of a second".into(),
                y: String::new(),
                x_range: (0.0, set.length as f64),
                y_range: (-range, range),
                scaling: Scaling::Linear,
            };
            let place =
                (MARGIN + (i as i32 % 2) * (CHART.0 + GAP), TITLE + 8 + (i as i32 / 2) * (CHART.1 + GAP));
            chart(area, place, CHART, &with, &lines)?;
        }
        Ok(())
    })
}

/// Loss, and shares of right answers.
pub fn curves(path: &Path, history: &History) -> Result<(), PictureError> {
    const CHART: (i32, i32) = (560, 400);
    const GAP: i32 = 40;
    let size = (2 * CHART.0 + GAP + 2 * MARGIN, TITLE + 8 + CHART.1 + MARGIN);
    let epochs = history.losses.len() as f64;
    let line = |name: &str, values: &mut dyn Iterator<Item = f64>, colour| Line {
        name: name.into(),
        points: values.enumerate().map(|(i, v)| ((i + 1) as f64, v)).collect(),
        colour,
        stroke: Stroke::Plain,
    };
    let at = |heading: &str, y: &str, y_range| Chart {
        heading: heading.into(),
        x: "epoch".into(),
        y: y.into(),
        x_range: (0.0, epochs),
        y_range,
        scaling: Scaling::Linear,
    };
    picture(path, "A convolution over time learns the activities", (size.0 as u32, size.1 as u32), |area| {
        let place = (MARGIN, TITLE + 8);
        let losses = line("training", &mut history.losses.iter().map(|&v| f64::from(v)), BLUE);
        let highest = losses.points.iter().fold(0.5, |m: f64, p| m.max(p.1));
        chart(area, place, CHART, &at("Loss", "cross-entropy", (0.0, highest)), &[losses])?;
        let place = (MARGIN + CHART.0 + GAP, TITLE + 8);
        let shares = [
            line("training", &mut history.train.iter().copied(), BLUE),
            line("test", &mut history.test.iter().copied(), RED),
        ];
        chart(area, place, CHART, &at("Right answers", "per cent", (0.0, 105.0)), &shares)
    })
}

/// The kernels `[K, sensors, TAPS]` of the first convolution: sensors downwards, time to the right.
pub fn kernels(path: &Path, weights: &[f32], sensors: usize) -> Result<(), PictureError> {
    const ZOOM: i32 = 13;
    let tile = (TAPS as i32 * ZOOM, sensors as i32 * ZOOM);
    let all: Vec<&[f32]> = weights.chunks_exact(sensors * TAPS).collect();
    let grid = Grid::new(all.len(), 8, tile, 20);
    let names = 86;
    let (width, height) = grid.size();
    let size = (width + names + 2 * MARGIN, height + TITLE + 8 + MARGIN);
    let title =
        "What the first convolution looks for: 0.9 seconds of six sensors (blue below zero, red above)";
    picture(path, title, (size.0.max(1060) as u32, size.1 as u32), |area| {
        let origin = (MARGIN + names, TITLE + 8);
        for (i, name) in SENSORS.iter().take(sensors).enumerate() {
            let y = origin.1 + ZOOM * i as i32 + ZOOM / 2;
            text(area, name, (origin.0 - 8, y), 13, GREY, HPos::Right)?;
        }
        let strongest = limit(weights);
        for (i, kernel) in all.iter().enumerate() {
            let place = grid.place(i, origin);
            frame(area, place, tile, PALE)?;
            bitmap(area, &Bitmap::signed(kernel, TAPS, strongest), place, tile)?;
        }
        Ok(())
    })
}
