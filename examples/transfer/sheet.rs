//! The picture of the example.

use super::study::{Learned, Start};
use crate::support::canvas::*;
use crate::support::chart::{Chart, Label, Line, Scaling, Stroke, labelled_chart, smoothed};
use crate::support::colour::{BLUE, RED};
use plotters::style::RGBColor;
use plotters::style::text_anchor::HPos;
use std::path::Path;

const GREEN: RGBColor = RGBColor(38, 140, 90);

/// Losses at the largest number of pictures, and accuracy by the number of pictures: `results` by number, then by start.
pub fn results(path: &Path, results: &[Vec<Learned>]) -> Result<(), PictureError> {
    const CHART: (i32, i32) = (600, 420);
    const GAP: i32 = 40;
    let Some(last) = results.last() else { return Err(PictureError::Empty) };
    let size = (2 * CHART.0 + GAP + 2 * MARGIN, TITLE + 8 + CHART.1 + MARGIN);
    let colours = [RED, BLUE, GREEN];
    let title = "Having learned 0 to 4, a network learns 5 to 9 from a handful of pictures";
    picture(path, title, (size.0 as u32, size.1 as u32), |area| {
        let line = |i: usize, points, stroke| Line {
            name: Start::ALL[i].name().into(),
            points,
            colour: colours[i],
            stroke,
        };
        let losses = |(i, run): (usize, &Learned)| {
            let points = smoothed(&run.losses, 2).into_iter().enumerate().map(|(s, v)| ((s + 1) as f64, v));
            line(i, points.collect(), Stroke::Plain)
        };
        let lines: Vec<Line> = last.iter().enumerate().map(losses).collect();
        let steps = last.iter().map(|r| r.losses.len()).max().unwrap_or(1);
        let with = Chart {
            heading: format!("Training loss, {} pictures", last[0].size),
            x: "update".into(),
            y: "cross-entropy".into(),
            x_range: (0.0, steps as f64),
            y_range: (0.0, 2.0),
            scaling: Scaling::Linear,
        };
        labelled_chart(area, (MARGIN, TITLE + 8), CHART, &with, &lines, &[])?;
        let (mut lines, mut labels) = (Vec::new(), Vec::new());
        for i in 0..last.len() {
            let points: Vec<(f64, f64)> =
                results.iter().map(|row| (row[i].size as f64, row[i].accuracy)).collect();
            // The start that is lowest has its numbers below, the highest above.
            let below = i == 0;
            if i < 2 {
                labels.extend(points.iter().map(|&at| Label {
                    text: format!("{:.0}", at.1),
                    at,
                    offset: (0, if below { 20 } else { -18 }),
                    colour: colours[i],
                    align: HPos::Center,
                }));
            }
            lines.push(line(i, points, Stroke::Dotted));
        }
        let with = Chart {
            heading: "Right answers on other pictures".into(),
            x: "pictures learned from".into(),
            y: "per cent".into(),
            x_range: (0.0, last[0].size as f64 * 1.05),
            y_range: (0.0, 108.0),
            scaling: Scaling::Linear,
        };
        labelled_chart(area, (MARGIN + CHART.0 + GAP, TITLE + 8), CHART, &with, &lines, &labels)
    })
}
