//! The pictures: chorales as piano rolls, and how training went.

use super::data::Chorale;
use super::generate::{NAMES, notes};
use super::train::History;
use crate::support::canvas::*;
use crate::support::chart::{Chart, Line, Scaling, Stroke, chart};
use crate::support::piano_roll::{Block, Roll, piano_rolls};
use std::path::Path;

/// Steps of a row: eight bars.
const ROW: f64 = 128.0;

/// Chorales with their headings.
pub fn rolls(path: &Path, title: &str, chorales: &[(String, &Chorale)]) -> Result<(), PictureError> {
    let roll = |(heading, chorale): &(String, &Chorale)| {
        let block = |(start, length, pitch, voice): (u32, u32, u8, usize)| Block {
            start: f64::from(start),
            length: f64::from(length),
            pitch,
            voice,
        };
        Roll {
            heading: heading.clone(),
            notes: notes(chorale).into_iter().map(block).collect(),
            bars: (0..chorale.len()).step_by(16).map(|b| b as f64).collect(),
            length: chorale.len() as f64,
            row: ROW,
        }
    };
    piano_rolls(path, title, &NAMES, &chorales.iter().map(roll).collect::<Vec<_>>())
}

/// Nats per voice and step after each epoch; dashed, what guessing by frequency costs.
pub fn curve(path: &Path, history: &History, by_frequency: f64) -> Result<(), PictureError> {
    const CHART: (i32, i32) = (900, 460);
    let line = |name: &str, values: &[f64], colour| Line {
        name: name.into(),
        points: values.iter().enumerate().map(|(i, &v)| ((i + 1) as f64, v)).collect(),
        colour,
        stroke: Stroke::Dotted,
    };
    let epochs = history.train.len() as f64;
    let lines = [
        Line {
            name: "by frequency".into(),
            points: vec![(0.0, by_frequency), (epochs.max(2.0), by_frequency)],
            colour: GREY,
            stroke: Stroke::Dashed,
        },
        line("training", &history.train, BLUE),
        line("validation", &history.valid, RED),
    ];
    let with = Chart {
        heading: "Nats per voice and step".into(),
        x: "epoch".into(),
        y: "nats".into(),
        x_range: (0.0, epochs.max(2.0)),
        y_range: (0.0, (1.1 * by_frequency).ceil()),
        scaling: Scaling::Linear,
    };
    let size = (CHART.0 + 2 * MARGIN, TITLE + 8 + CHART.1 + MARGIN);
    picture(path, "What each voice sings next", (size.0 as u32, size.1 as u32), |area| {
        chart(area, (MARGIN, TITLE + 8), CHART, &with, &lines)
    })
}
