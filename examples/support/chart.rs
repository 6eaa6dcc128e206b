//! Line charts, alone or side by side.

// Each example uses a part of this.
#![allow(dead_code)]

use super::canvas::*;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::{
    BitMapBackend, Cartesian2d, ChartBuilder, ChartContext, Circle, Color, IntoLogRange, PathElement,
    RGBColor, Ranged,
};
use plotters::style::text_anchor::HPos;

/// A line of a chart.
#[derive(Clone, Debug)]
pub struct Line {
    /// What to call it.
    pub name: String,
    /// Pairs of x and y; what is not finite has no place.
    pub points: Vec<(f64, f64)>,
    /// Its colour.
    pub colour: RGBColor,
    /// How it is drawn.
    pub stroke: Stroke,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// A line.
    Plain,
    /// A line with its points.
    Dotted,
    /// Short dashes.
    Dashed,
    /// Thin and pale, behind others.
    Faint,
}

/// How y is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// Evenly.
    Linear,
    /// By powers of ten.
    Logarithmic,
}

/// A chart without its lines.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it shows.
    pub heading: String,
    /// Name of the horizontal axis.
    pub x: String,
    /// Name of the vertical axis.
    pub y: String,
    /// Least and largest x.
    pub x_range: (f64, f64),
    /// Least and largest y; lines are cut off there.
    pub y_range: (f64, f64),
    /// How y is drawn.
    pub scaling: Scaling,
}

/// Words inside a chart, beside what they name.
#[derive(Clone)]
pub struct Label {
    /// The words.
    pub text: String,
    /// Where they stand, in numbers of the axes.
    pub at: (f64, f64),
    /// Pixels from there, to the right and down.
    pub offset: (i32, i32),
    /// Their colour.
    pub colour: RGBColor,
    /// Which end of the words is there.
    pub align: HPos,
}

/// Height of the heading and the names of lines above a chart.
const ABOVE: i32 = 66;
/// From so many powers of ten on, only powers are numbers of an axis.
const POWERS: f64 = 8.0;

/// Draws a chart into a part of a picture.
pub fn chart(area: &Area<'_>, place: (i32, i32), size: (i32, i32), chart: &Chart, lines: &[Line]) -> Drawn {
    labelled_chart(area, place, size, chart, lines, &[])
}

/// Draws a chart with words in it. Lines without a name are not named above it.
pub fn labelled_chart(
    area: &Area<'_>,
    place: (i32, i32),
    size: (i32, i32),
    chart: &Chart,
    lines: &[Line],
    labels: &[Label],
) -> Drawn {
    text(area, &chart.heading, (place.0, place.1 + 12), 20, INK, HPos::Left)?;
    let mut x = place.0;
    for line in lines.iter().filter(|l| l.stroke != Stroke::Faint && !l.name.is_empty()) {
        let y = place.1 + 42;
        let sample = [(f64::from(x), f64::from(y)), (f64::from(x + 26), f64::from(y))];
        for [a, b] in pieces(&sample, line.stroke, 6.0) {
            let ends = [a, b].map(|p| ((p.0 * f64::from(FINE)) as i32, (p.1 * f64::from(FINE)) as i32));
            area.draw(&PathElement::new(ends, line.colour.stroke_width(3 * FINE as u32)))?;
        }
        text(area, &line.name, (x + 33, y), 16, INK, HPos::Left)?;
        x += 33 + width_of(area, &line.name, 16)? + 22;
    }
    let below = area.clone().shrink(fine((place.0, place.1 + ABOVE)), fine((size.0, size.1 - ABOVE)));
    let mut builder = ChartBuilder::on(&below);
    builder
        .margin_top(10 * FINE)
        .margin_right(14 * FINE)
        .x_label_area_size(50 * FINE)
        .y_label_area_size(70 * FINE);
    let (x_range, y_range) = (chart.x_range.0..chart.x_range.1, chart.y_range.0..chart.y_range.1);
    match chart.scaling {
        Scaling::Linear => {
            let decimals = decimals(chart.y_range.1 - chart.y_range.0);
            // Ticks are sums of steps: the one at zero may be a little below.
            let label =
                |v: &f64| format!("{:.decimals$}", if v.abs() < 1e-9 { 0.0 } else { *v }).replace('-', "−");
            let mut context = builder.build_cartesian_2d(x_range, y_range)?;
            fill(&mut context, chart, &label, lines)?;
            write(area, &context, labels)
        }
        Scaling::Logarithmic if (y_range.end / y_range.start).log10() < POWERS => {
            let label = |v: &f64| if (0.001..1e5).contains(v) { format!("{v}") } else { format!("{v:e}") };
            let mut context = builder.build_cartesian_2d(x_range, y_range.log_scale())?;
            fill(&mut context, chart, &label, lines)?;
            write(area, &context, labels)
        }
        // The library's logarithmic axis miscounts over so many powers.
        Scaling::Logarithmic => {
            let power = |(x, y): (f64, f64)| (x, y.log10());
            let label = |v: &f64| match v.round() {
                0.0 => "1".into(),
                v => format!("1e{v}").replace('-', "−"),
            };
            let exponents = y_range.start.log10()..y_range.end.log10();
            let chart = Chart { y_range: (exponents.start, exponents.end), ..chart.clone() };
            let mut lines = lines.to_vec();
            lines.iter_mut().flat_map(|l| &mut l.points).for_each(|p| *p = power(*p));
            let mut labels = labels.to_vec();
            labels.iter_mut().for_each(|l| l.at = power(l.at));
            let mut context = builder.build_cartesian_2d(x_range, exponents)?;
            fill(&mut context, &chart, &label, &lines)?;
            write(area, &context, &labels)
        }
    }
}

fn fill<X, Y>(
    context: &mut ChartContext<'_, BitMapBackend<'_>, Cartesian2d<X, Y>>,
    chart: &Chart,
    y_label: &dyn Fn(&f64) -> String,
    lines: &[Line],
) -> Drawn
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let x_label = |v: &f64| if v.fract() == 0.0 { thousands(*v as u64) } else { String::new() };
    mesh(context, &chart.x, &chart.y, 9, &x_label, y_label)?;
    let (low, high) = chart.y_range;
    let reach = (chart.x_range.1 - chart.x_range.0) / 60.0;
    // Pale lines lie behind the others.
    let (faint, strong): (Vec<_>, Vec<_>) = lines.iter().partition(|l| l.stroke == Stroke::Faint);
    for line in faint.into_iter().chain(strong) {
        let inside: Vec<(f64, f64)> = (line.points.iter())
            .take_while(|p| p.1.is_finite())
            .map(|&(x, y)| (x, y.clamp(low, high)))
            .collect();
        let style = match line.stroke {
            Stroke::Faint => line.colour.mix(0.3).stroke_width(FINE as u32),
            _ => line.colour.stroke_width(5 * FINE as u32 / 2),
        };
        let pieces = pieces(&inside, line.stroke, reach);
        context.draw_series(pieces.into_iter().map(|ends| PathElement::new(ends, style)))?;
        let radius = if line.stroke == Stroke::Dotted { 9 * FINE / 2 } else { 5 * FINE / 4 };
        if matches!(line.stroke, Stroke::Plain | Stroke::Dotted) {
            // Also the joints of a thick line.
            let dots = inside.iter().map(|&p| Circle::new(p, radius, line.colour.filled()));
            context.draw_series(dots)?;
        }
    }
    Ok(())
}

fn write<X, Y>(
    area: &Area<'_>,
    context: &ChartContext<'_, BitMapBackend<'_>, Cartesian2d<X, Y>>,
    labels: &[Label],
) -> Drawn
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    for label in labels {
        let (x, y) = context.backend_coord(&label.at);
        let place = (x / FINE + label.offset.0, y / FINE + label.offset.1);
        text(area, &label.text, place, 16, label.colour, label.align)?;
    }
    Ok(())
}

/// The pieces of a line: each from one point to the next, or dashes about as long as `dash`.
fn pieces(points: &[(f64, f64)], stroke: Stroke, dash: f64) -> Vec<[(f64, f64); 2]> {
    let mut all = Vec::new();
    for ends in points.windows(2) {
        let (a, b) = (ends[0], ends[1]);
        if stroke != Stroke::Dashed {
            all.push([a, b]);
            continue;
        }
        let between = |t: f64| (a.0 + (b.0 - a.0) * t, a.1 + (b.1 - a.1) * t);
        let count = ((b.0 - a.0) / dash).ceil().max(1.0) as usize;
        let part = |i: usize| between(i as f64 / count as f64);
        all.extend((0..count).map(|i| [part(i), between((i as f64 + 0.55) / count as f64)]));
    }
    all
}

/// How many decimals tell numbers apart that lie a tenth of `span` from one another.
fn decimals(span: f64) -> usize {
    (1.0 - span.log10().floor()).clamp(0.0, 6.0) as usize - usize::from((5.0..10.0).contains(&span))
}

/// The mean of up to `reach` values before and after each.
pub fn smoothed(values: &[f32], reach: usize) -> Vec<f64> {
    let mean = |i: usize| {
        let around = &values[i.saturating_sub(reach)..(i + reach + 1).min(values.len())];
        around.iter().map(|&v| f64::from(v)).sum::<f64>() / around.len() as f64
    };
    (0..values.len()).map(mean).collect()
}
