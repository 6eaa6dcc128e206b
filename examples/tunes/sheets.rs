//! The pictures: what was invented, and how training went.

use super::abc::{Tune, WHOLE};
use super::report::Invention;
use crate::support::canvas::*;
use crate::support::chart::{Chart, Line, Scaling, Stroke, chart};
use crate::support::piano_roll::{Block, Roll, piano_rolls};
use std::path::Path;

/// Bars of a row.
const BARS: f64 = 16.0;
/// Tunes that are shown.
const SHOWN: usize = 3;

/// The first tunes, as they are played.
pub fn rolls(path: &Path, title: &str, tunes: &[Invention]) -> Result<(), PictureError> {
    let rolls: Vec<Roll> = tunes.iter().take(SHOWN).map(|invention| roll(&invention.tune)).collect();
    piano_rolls(path, title, &[], &rolls)
}

fn roll(tune: &Tune) -> Roll {
    let played = tune.performance();
    let time = |ticks: u32| f64::from(ticks) / f64::from(WHOLE);
    let block = |n: &super::abc::Note| Block {
        start: time(n.start),
        length: time(n.length),
        pitch: n.pitch,
        voice: 3,
    };
    let meter = tune.meter.map_or("free".into(), |m| format!("{}/{}", m.beats, m.unit));
    Roll {
        heading: format!("{}, {meter}", tune.title),
        notes: played.notes.iter().map(block).collect(),
        bars: played.bars.iter().map(|&b| time(b)).collect(),
        length: time(played.length),
        row: BARS * tune.meter.map_or(1.0, |m| time(m.ticks())),
    }
}

/// Bits per character of each step, and of the test tunes after each epoch.
pub fn curve(path: &Path, losses: &[(u64, f64)], tests: &[(u64, f64)]) -> Result<(), PictureError> {
    const CHART: (i32, i32) = (1000, 480);
    let values: Vec<f32> = losses.iter().map(|l| l.1 as f32).collect();
    let smooth = crate::support::chart::smoothed(&values, (values.len() / 100).max(2));
    let points = |values: &mut dyn Iterator<Item = f64>| {
        losses.iter().zip(values).map(|(l, v)| (l.0 as f64, v)).collect::<Vec<_>>()
    };
    let line = |name: &str, points: Vec<(f64, f64)>, colour, stroke| Line {
        name: name.into(),
        points,
        colour,
        stroke,
    };
    let lines = [
        line("", points(&mut losses.iter().map(|l| l.1)), BLUE, Stroke::Faint),
        line("training", points(&mut smooth.into_iter()), BLUE, Stroke::Plain),
        line("test", tests.iter().map(|&(s, v)| (s as f64, v)).collect(), RED, Stroke::Dotted),
    ];
    let last = losses.last().ok_or(PictureError::Empty)?.0 as f64;
    let lowest = losses.iter().chain(tests).fold(4.0, |m: f64, l| m.min(l.1));
    let with = Chart {
        heading: "Bits per character".into(),
        x: "step".into(),
        y: "bits".into(),
        x_range: (0.0, last.max(2.0)),
        y_range: ((lowest * 2.0).floor() / 2.0, 4.0),
        scaling: Scaling::Linear,
    };
    let size = (CHART.0 + 2 * MARGIN, TITLE + 8 + CHART.1 + MARGIN);
    picture(path, "Folk tunes, character by character", (size.0 as u32, size.1 as u32), |area| {
        chart(area, (MARGIN, TITLE + 8), CHART, &with, &lines)
    })
}
