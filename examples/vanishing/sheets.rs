//! The pictures of the example.

use super::adding::BASELINE;
use super::experiments::{Course, Curve, Explosion, SGD_CLIP};
use super::flow::{Flow, SMALLEST};
use super::net::{Kind, Start, name};
use super::train::Run;
use crate::support::canvas::*;
use crate::support::chart::{Chart, Label, Line, Scaling, Stroke, labelled_chart, smoothed};
use plotters::style::RGBColor;
use plotters::style::text_anchor::HPos;
use std::path::Path;

const CHART: (i32, i32) = (430, 350);
const GAP: i32 = 24;
/// The upper end of the axis of gradients: far above them, for words.
const HIGHEST: f64 = 1e10;
/// Its lower end, where numbers end.
const LOWEST: f64 = 1e-38;
/// The upper end of the axis of losses that explode.
const MOST: f64 = 1e10;

/// A chart with what is in it.
type Panel = (Chart, Vec<Line>, Vec<Label>);

/// The gradients of untrained networks through sequences of each length.
pub fn norms(path: &Path, curves: &[Curve]) -> Result<(), PictureError> {
    let title = "How much gradient is left so many steps before the end";
    panels(path, title, 2, &by_length(curves))
}

/// All of it at a glance.
pub fn summary(
    path: &Path,
    curves: &[Curve],
    courses: &[Course],
    explosion: &Explosion,
) -> Result<(), PictureError> {
    let title = "A plain network's gradient fades with every step back, open gates keep it; where it explodes, clipping helps";
    let lengths = by_length(curves);
    let learned = courses.first().map_or(0, |c| c.after.length);
    // Sequences of the length that was learned from, and the longest ones.
    let heading = |length: usize| format!("{length} steps, before training");
    let before = lengths.iter().find(|p| p.0.heading == heading(learned)).or(lengths.first());
    let mut all: Vec<Panel> = before.into_iter().chain(lengths.last()).cloned().collect();
    let after: Vec<&Curve> = courses.iter().map(|c| &c.after).collect();
    all.push(gradients(format!("{learned} steps, after training"), &after));
    all.extend([learning(courses), exploding(explosion), clipping(explosion)]);
    panels(path, title, 3, &all)
}

fn panels(path: &Path, title: &str, columns: usize, panels: &[Panel]) -> Result<(), PictureError> {
    if panels.is_empty() {
        return Err(PictureError::Empty);
    }
    let grid = Grid::new(panels.len(), columns, CHART, 0).gap(GAP);
    let (width, height) = grid.size();
    let size = (width + 2 * MARGIN, TITLE + height + MARGIN);
    picture(path, title, (size.0.max(960) as u32, size.1 as u32), |area| {
        for (i, (chart, lines, labels)) in panels.iter().enumerate() {
            labelled_chart(area, grid.place(i, (MARGIN, TITLE)), CHART, chart, lines, labels)?;
        }
        Ok(())
    })
}

fn by_length(curves: &[Curve]) -> Vec<Panel> {
    let of_length = |c: &[Curve]| {
        gradients(format!("{} steps, before training", c[0].length), &c.iter().collect::<Vec<_>>())
    };
    curves.chunk_by(|a, b| a.length == b.length).map(of_length).collect()
}

/// Points from the end of the sequences backwards, as far as there is a gradient.
fn backwards(flow: &Flow) -> Vec<(f64, f64)> {
    let there = flow.norms.iter().rev().take_while(|p| p.1 >= SMALLEST);
    there.map(|&(back, norm)| (back as f64, norm)).collect()
}

fn colour(kind: Kind, start: Start) -> RGBColor {
    match (kind, start) {
        (Kind::Lstm, _) => BLUE,
        (Kind::Gru, _) => GREEN,
        (_, Start::Orthogonal) => ORANGE,
        _ => RED,
    }
}

/// Norms of gradients over the steps back.
fn gradients(heading: String, curves: &[&Curve]) -> Panel {
    let usual = |c: &Curve| matches!((c.kind, c.start), (Kind::Lstm | Kind::Gru, Start::Uniform));
    let line = |curve: &&Curve| Line {
        name: if usual(curve) { String::new() } else { short_name(curve) },
        points: backwards(&curve.flow),
        colour: colour(curve.kind, curve.start),
        stroke: if usual(curve) { Stroke::Dashed } else { Stroke::Plain },
    };
    let length = curves.iter().map(|c| c.length).max().unwrap_or(1) as f64;
    let note = |text: &str, y: f64, down: i32| Label {
        text: text.into(),
        at: (length, y),
        offset: (-6, down),
        colour: GREY,
        align: HPos::Right,
    };
    let mut labels = Vec::new();
    if curves.iter().any(|c| usual(c)) {
        labels.push(note("LSTM, GRU: gates open at first", HIGHEST, 16));
        labels.push(note("dashed: biases as usual", HIGHEST, 36));
    }
    if curves.iter().any(|c| c.flow.ends().0 < SMALLEST) {
        labels.push(note("too small for 32 bits", LOWEST, -14));
    }
    let chart = Chart {
        heading,
        x: "steps before the end".into(),
        y: "norm of dL/dh".into(),
        x_range: (0.0, length),
        y_range: (LOWEST, HIGHEST),
        scaling: Scaling::Logarithmic,
    };
    (chart, curves.iter().map(line).collect(), labels)
}

/// What to call a network where its gates need no words.
fn short_name(curve: &Curve) -> String {
    match curve.start {
        Start::Orthogonal => "orthogonal".into(),
        _ => name(curve.kind, Start::Uniform),
    }
}

/// The loss of always answering 1.
fn baseline(steps: f64) -> Line {
    let points = vec![(0.0, BASELINE), (steps, BASELINE)];
    Line { name: String::new(), points, colour: GREY, stroke: Stroke::Dashed }
}

fn losses(run: &Run, reach: usize, name: &str, colour: RGBColor) -> Line {
    let points = smoothed(&run.losses, reach).into_iter().enumerate().map(|(i, v)| ((i + 1) as f64, v));
    Line { name: name.into(), points: points.collect(), colour, stroke: Stroke::Plain }
}

/// Losses on the adding problem.
fn learning(courses: &[Course]) -> Panel {
    let steps = courses.iter().map(|c| c.run.losses.len()).max().unwrap_or(1) as f64;
    let length = courses.first().map_or(0, |c| c.after.length);
    let line = |c: &Course| losses(&c.run, 10, &short_name(&c.after), colour(c.after.kind, c.after.start));
    let mut lines: Vec<Line> = courses.iter().map(line).collect();
    lines.push(baseline(steps));
    let label = Label {
        text: "always answering 1".into(),
        at: (steps, BASELINE),
        offset: (-4, -48),
        colour: GREY,
        align: HPos::Right,
    };
    let chart = Chart {
        heading: format!("Adding problem of {length} steps"),
        x: "training step".into(),
        y: "loss".into(),
        x_range: (0.0, steps),
        y_range: (0.0, 0.3),
        scaling: Scaling::Linear,
    };
    (chart, lines, vec![label])
}

/// Norms of gradients of networks that start with multiples of the identity.
fn exploding(explosion: &Explosion) -> Panel {
    let flows = &explosion.flows;
    let shade = |i: usize| along(&VIRIDIS, 0.85 * i as f64 / (flows.len() - 1).max(1) as f64);
    let line = |(i, (gain, flow)): (usize, &(f32, Flow))| Line {
        name: format!("{gain:.1}"),
        points: backwards(flow),
        colour: shade(i),
        stroke: Stroke::Plain,
    };
    let lines: Vec<Line> = flows.iter().enumerate().map(line).collect();
    let largest = lines.iter().flat_map(|l| &l.points).fold(0.0, |m: f64, p| m.max(p.0));
    let chart = Chart {
        heading: "ReLU RNN from multiples of the identity".into(),
        x: "steps before the end".into(),
        y: "norm of dL/dh".into(),
        x_range: (0.0, largest.max(1.0)),
        y_range: (1e-8, 1e16),
        scaling: Scaling::Logarithmic,
    };
    (chart, lines, Vec::new())
}

/// Losses with and without clipping.
fn clipping(explosion: &Explosion) -> Panel {
    let steps = explosion.clipped.losses.len().max(explosion.free.losses.len()).max(1) as f64;
    let mut free = losses(&explosion.free, 0, "without clipping", RED);
    let updates = explosion.free.losses.len() as f64;
    if updates < steps {
        free.points.push((updates + 1.0, MOST));
    }
    let lines = vec![
        baseline(steps),
        free,
        losses(&explosion.clipped, 4, &format!("clipped to norm {SGD_CLIP}"), BLUE),
    ];
    let end = explosion.clipped.outcome(explosion.clipped.losses.len());
    let label = |text: String, at, offset, colour, align| Label { text, at, offset, colour, align };
    let answer = format!("always answering 1: {BASELINE:.3}");
    let mut labels = vec![
        label(answer, (0.0, BASELINE), (8, 18), GREY, HPos::Left),
        label(format!("{end:.3}"), (steps, end), (-4, 18), BLUE, HPos::Right),
    ];
    if updates < steps {
        let text = format!("no number after update {updates}");
        labels.push(label(text, (updates, MOST), (12, 14), RED, HPos::Left));
    }
    let chart = Chart {
        heading: format!("Training from {} times the identity", explosion.gain),
        x: "training step".into(),
        y: "loss".into(),
        x_range: (0.0, steps),
        y_range: (1e-3, MOST),
        scaling: Scaling::Logarithmic,
    };
    (chart, lines, labels)
}
