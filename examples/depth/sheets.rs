//! The pictures of the example.

use super::experiments::{AtFirst, Course, LAGS, Measured, PLACES};
use super::flow::Flow;
use super::net::{Kind, Start};
use super::shatter::Slopes;
use super::train::Run;
use crate::support::canvas::*;
use crate::support::chart::{Chart, Label, Line, Scaling, Stroke, labelled_chart, smoothed};
use plotters::style::RGBColor;
use plotters::style::text_anchor::HPos;
use std::path::Path;

const CHART: (i32, i32) = (470, 350);
const GAP: i32 = 24;
/// The ends of the axes of gradients: with batch norm, the same of weights, and without it.
const NORMED: (f64, f64) = (1e-2, 1e5);
const OF_WEIGHTS: (f64, f64) = (1e-7, 1e4);
const BARE: (f64, f64) = (1e-26, 1e6);
/// So many steps before and after each are averaged in what is drawn.
const REACH: usize = 5;

/// A chart with what is in it.
type Panel = (Chart, Vec<Line>, Vec<Label>);

/// All of it at a glance.
pub fn summary(
    path: &Path,
    flows: &[AtFirst],
    slopes: &[Measured<Slopes>],
    courses: &[Course],
) -> Result<(), PictureError> {
    let title = "Plain and residual networks of the same layers, weights and pictures";
    let mut panels = learning(courses, errors);
    panels.push(correlation(slopes));
    let of = |start: Start| flows.iter().find(|f| f.0 == start).map(|f| &f.1[..]);
    panels.extend(of(Start::BatchNorm).map(|all| gradients(Start::BatchNorm.heading(), all, NORMED)));
    panels.push(gradients("Gradients with batch norm, after training", &after(courses), NORMED));
    panels.extend(of(Start::Small).map(|all| gradients(Start::Small.heading(), all, BARE)));
    draw(path, title, 3, &panels)
}

/// Losses and errors, and gradients with respect to activations and to weights.
pub fn details(path: &Path, flows: &[AtFirst], courses: &[Course]) -> Result<(), PictureError> {
    let title =
        "Losses while learning; gradients of activations and of weights from the first layer to the last";
    let mut panels = learning(courses, losses);
    panels.extend(learning(courses, errors));
    for (start, all) in flows {
        let range = if *start == Start::BatchNorm { NORMED } else { BARE };
        panels.push(gradients(start.heading(), all, range));
    }
    panels.push(gradients("Gradients with batch norm, after training", &after(courses), NORMED));
    for (start, all) in flows {
        let range = if *start == Start::BatchNorm { OF_WEIGHTS } else { BARE };
        panels.push(weights(start.heading(), all, range));
    }
    panels.push(weights("Gradients with batch norm, after training", &after(courses), OF_WEIGHTS));
    draw(path, title, 4, &panels)
}

/// The slopes themselves.
pub fn slopes(path: &Path, slopes: &[Measured<Slopes>]) -> Result<(), PictureError> {
    let title =
        "How steeply a logit rises on the way from one picture to another: noise, or something to follow";
    let panel = |(i, all): (usize, &Measured<Slopes>)| {
        let first = all.what.of_outputs.first().map_or(&[][..], |s| s);
        let most = first.iter().fold(f64::MIN_POSITIVE, |m, s| m.max(s.abs()));
        let points = first.iter().enumerate().map(|(i, s)| (i as f64, s / most)).collect();
        let chart = Chart {
            heading: format!("{}, before training", all.kind.name()),
            x: format!("place, of {PLACES}"),
            y: "slope of a logit, largest = 1".into(),
            x_range: (0.0, (PLACES - 1) as f64),
            y_range: (-1.1, 1.1),
            scaling: Scaling::Linear,
        };
        let neighbours = all.what.autocorrelation(2)[1];
        let line = Line {
            name: format!("correlation of neighbours: {neighbours:.2}").replace('-', "−"),
            points,
            colour: colour(all.kind, is_deep(i)),
            stroke: Stroke::Plain,
        };
        (chart, vec![line], Vec::new())
    };
    draw(path, title, 2, &slopes.iter().enumerate().map(panel).collect::<Vec<Panel>>())
}

fn draw(path: &Path, title: &str, columns: usize, panels: &[Panel]) -> Result<(), PictureError> {
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

/// A colour for each of the four networks.
fn colour(kind: Kind, deep: bool) -> RGBColor {
    match (kind.shortcuts, deep) {
        (false, false) => ORANGE,
        (false, true) => RED,
        (true, false) => GREEN,
        (true, true) => BLUE,
    }
}

/// Networks come as plain ones and then residual ones, the shallow one first.
fn is_deep(index: usize) -> bool {
    index % 2 == 1
}

fn note(text: &str, at: (f64, f64), offset: (i32, i32), align: HPos) -> Label {
    Label { text: text.into(), at, offset, colour: GREY, align }
}

fn after(courses: &[Course]) -> Vec<Measured<Flow>> {
    courses.iter().map(|c| c.after.clone()).collect()
}

fn norms(heading: &str, name: &str, lines: Vec<Line>, y_range: (f64, f64)) -> Panel {
    let layers = lines.iter().flat_map(|l| &l.points).fold(1.0, |m: f64, p| m.max(p.0));
    let chart = Chart {
        heading: heading.into(),
        x: "layer".into(),
        y: name.into(),
        x_range: (0.0, layers),
        y_range,
        scaling: Scaling::Logarithmic,
    };
    (chart, lines, Vec::new())
}

/// Gradients with respect to activations, over the layers.
fn gradients(heading: &str, all: &[Measured<Flow>], y_range: (f64, f64)) -> Panel {
    let line = |(i, m): (usize, &Measured<Flow>)| {
        let last = m.what.activations.last().map_or(1.0, |a| a.1);
        let points = m.what.activations.iter().map(|&(layer, norm)| (layer as f64, norm / last)).collect();
        Line { name: m.kind.name(), points, colour: colour(m.kind, is_deep(i)), stroke: Stroke::Plain }
    };
    norms(heading, "norm of dL/da, last = 1", all.iter().enumerate().map(line).collect(), y_range)
}

/// Gradients with respect to weights, over the layers.
fn weights(heading: &str, all: &[Measured<Flow>], y_range: (f64, f64)) -> Panel {
    let line = |(i, m): (usize, &Measured<Flow>)| {
        let points = m.what.weights.iter().map(|&(layer, norm)| (layer as f64, norm)).collect();
        Line { name: m.kind.name(), points, colour: colour(m.kind, is_deep(i)), stroke: Stroke::Plain }
    };
    norms(heading, "norm of dL/dW / norm of W", all.iter().enumerate().map(line).collect(), y_range)
}

/// How alike slopes are, over the places between them.
fn correlation(slopes: &[Measured<Slopes>]) -> Panel {
    let line = |(i, m): (usize, &Measured<Slopes>)| {
        let points = m.what.autocorrelation(LAGS).into_iter().enumerate().map(|(lag, r)| (lag as f64, r));
        Line {
            name: m.kind.name(),
            points: points.collect(),
            colour: colour(m.kind, is_deep(i)),
            stroke: Stroke::Plain,
        }
    };
    let chart = Chart {
        heading: "How alike neighbouring pictures' gradients are".into(),
        x: format!("places apart, of {PLACES} between two pictures"),
        y: "correlation".into(),
        x_range: (0.0, (LAGS - 1) as f64),
        y_range: (-0.25, 1.0),
        scaling: Scaling::Linear,
    };
    (chart, slopes.iter().enumerate().map(line).collect(), Vec::new())
}

/// Two panels: what `lines` draws of plain networks, and of residual ones.
fn learning(courses: &[Course], draw: fn(&[&Course]) -> Panel) -> Vec<Panel> {
    let of = |shortcuts: bool| courses.iter().filter(move |c| c.after.kind.shortcuts == shortcuts);
    [false, true].map(|shortcuts| draw(&of(shortcuts).collect::<Vec<_>>())).into_iter().collect()
}

fn steps(courses: &[&Course]) -> f64 {
    courses.iter().flat_map(|c| &c.runs).map(|r| r.losses.len()).max().unwrap_or(1) as f64
}

/// The mean over all trainings, as far as all of them go.
fn mean(runs: &[Run], values: fn(&Run) -> &Vec<f32>) -> Vec<(f64, f64)> {
    let length = runs.iter().map(|r| values(r).len()).min().unwrap_or(0);
    let at = |i: usize| runs.iter().map(|r| values(r)[i]).sum::<f32>() / runs.len() as f32;
    numbered(&(0..length).map(at).collect::<Vec<f32>>())
}

/// Smoothed values of the steps from the first one on.
fn numbered(values: &[f32]) -> Vec<(f64, f64)> {
    smoothed(values, REACH).into_iter().enumerate().map(|(i, v)| ((i + 1) as f64, v)).collect()
}

fn learned(heading: &str, courses: &[&Course], values: fn(&Run) -> &Vec<f32>) -> (Chart, Vec<Line>) {
    let mut lines = Vec::new();
    for (i, course) in courses.iter().enumerate() {
        let colour = colour(course.after.kind, is_deep(i));
        let line = |name: String, points, stroke| Line { name, points, colour, stroke };
        if course.runs.len() > 1 {
            let each = course.runs.iter().map(|r| line(String::new(), numbered(values(r)), Stroke::Faint));
            lines.extend(each);
        }
        lines.push(line(course.after.kind.name(), mean(&course.runs, values), Stroke::Plain));
    }
    let kind =
        courses.first().map_or("", |c| if c.after.kind.shortcuts { "Shortcuts" } else { "No shortcuts" });
    let chart = Chart {
        heading: format!("{kind}: {heading}"),
        x: "training step".into(),
        y: String::new(),
        x_range: (0.0, steps(courses)),
        y_range: (0.0, 100.0),
        scaling: Scaling::Linear,
    };
    (chart, lines)
}

/// Training and test errors.
fn errors(courses: &[&Course]) -> Panel {
    let (chart, mut lines) = learned("error in training and on test pictures", courses, |r| &r.errors);
    for (i, course) in courses.iter().enumerate() {
        let tests = course.runs.iter().map(|r| r.tests.len()).min().unwrap_or(0);
        let error =
            |t: usize| course.runs.iter().map(|r| r.tests[t].1).sum::<f64>() / course.runs.len() as f64;
        lines.push(Line {
            name: String::new(),
            points: (0..tests).map(|t| (course.runs[0].tests[t].0 as f64, error(t))).collect(),
            colour: colour(course.after.kind, is_deep(i)),
            stroke: Stroke::Dashed,
        });
    }
    let label = note("dashed: test error", (0.0, 0.0), (10, -14), HPos::Left);
    (Chart { y: "error in %".into(), ..chart }, lines, vec![label])
}

/// Losses.
fn losses(courses: &[&Course]) -> Panel {
    let (chart, lines) = learned("training loss", courses, |r| &r.losses);
    (Chart { y: "loss".into(), y_range: (0.0, 3.0), ..chart }, lines, Vec::new())
}
