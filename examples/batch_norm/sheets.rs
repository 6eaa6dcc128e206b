//! The pictures of the example: losses, and what the layers get.

use super::race::{LAYERS, Run};
use crate::support::canvas::*;
use crate::support::chart::{Chart, Line, Scaling, Stroke, chart, smoothed};
use crate::support::colour::{BLUE, RED};
use std::path::Path;

/// Losses over time, one chart per learning rate.
pub fn losses(path: &Path, runs: &[Run], steps: usize) -> Result<(), PictureError> {
    let mut rates: Vec<f64> = runs.iter().map(|r| r.lr).collect();
    rates.dedup();
    const CHART: (i32, i32) = (450, 430);
    const GAP: i32 = 30;
    let count = rates.len() as i32;
    let size = (count * (CHART.0 + GAP) - GAP + 2 * MARGIN, TITLE + 8 + CHART.1 + MARGIN);
    let title = "The same network, start, batches and SGD: with batch normalisation it trains where it stalls without";
    picture(path, title, (size.0 as u32, size.1 as u32), |area| {
        for (i, &lr) in rates.iter().enumerate() {
            let mut lines = Vec::new();
            for run in runs.iter().filter(|r| r.lr == lr) {
                let (name, colour) = if run.normed { ("with batch norm", BLUE) } else { ("without", RED) };
                let steps =
                    |values: Vec<f64>| values.into_iter().enumerate().map(|(i, v)| (i as f64, v)).collect();
                let line = |points, stroke| Line { name: name.into(), points, colour, stroke };
                let each = run.losses.iter().map(|&v| f64::from(v)).collect();
                lines.push(line(steps(each), Stroke::Faint));
                lines.push(line(steps(smoothed(&run.losses, 4)), Stroke::Plain));
            }
            let with = Chart {
                heading: format!("Learning rate {lr}"),
                x: "step".into(),
                y: "training loss".into(),
                x_range: (0.0, steps as f64),
                y_range: (0.0, 3.0),
                scaling: Scaling::Linear,
            };
            chart(area, (MARGIN + i as i32 * (CHART.0 + GAP), TITLE + 8), CHART, &with, &lines)?;
        }
        Ok(())
    })
}

/// One of mean and standard deviation.
type Part = fn((f32, f32)) -> f32;

/// Standard deviation and mean of what each ReLU gets, without and with batch normalisation at one learning rate.
pub fn activations(path: &Path, plain: &Run, normed: &Run, steps: usize) -> Result<(), PictureError> {
    const CHART: (i32, i32) = (620, 360);
    const GAP: i32 = 40;
    let size = (2 * CHART.0 + GAP + 2 * MARGIN, TITLE + 8 + 2 * CHART.1 + GAP + MARGIN);
    let title =
        format!("What each ReLU gets at learning rate {}: normalised, it stays as it is at first", plain.lr);
    let line = |run: &Run, layer: usize, part: Part| Line {
        name: if layer == 0 { "conv1".into() } else { (layer + 1).to_string() },
        points: run.moments.iter().enumerate().map(|(i, m)| (i as f64, f64::from(part(m[layer])))).collect(),
        colour: along(&VIRIDIS, 0.9 * layer as f64 / (LAYERS - 1) as f64),
        stroke: Stroke::Plain,
    };
    picture(path, &title, (size.0 as u32, size.1 as u32), |area| {
        for (column, (run, name)) in
            [(plain, "without"), (normed, "with batch normalisation")].into_iter().enumerate()
        {
            let parts = [
                ("Standard deviation", (0.03, 4.0), Scaling::Logarithmic, (|m| m.1) as Part),
                ("Mean", (-0.6, 0.6), Scaling::Linear, |m| m.0),
            ];
            for (row, (what, y_range, scaling, part)) in parts.into_iter().enumerate() {
                let lines: Vec<Line> = (0..LAYERS).map(|layer| line(run, layer, part)).collect();
                let with = Chart {
                    heading: format!("{what} {name}"),
                    x: "step".into(),
                    y: what.to_lowercase(),
                    x_range: (0.0, steps as f64),
                    y_range,
                    scaling,
                };
                let place =
                    (MARGIN + column as i32 * (CHART.0 + GAP), TITLE + 8 + row as i32 * (CHART.1 + GAP));
                chart(area, place, CHART, &with, &lines)?;
            }
        }
        Ok(())
    })
}
