//! Pictures of what a network learned, as PNG files: learning curve, confusion matrix, filters, feature
//! maps, misclassified digits.

// Each example uses a part of this.
#![allow(dead_code)]

use super::canvas::*;
use super::colour::{BLUE, RED, WHITE};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

pub use super::canvas::PictureError;

/// The loss of every step (pale), its running mean (dark) and the test accuracy after each epoch.
///
/// `losses` are pairs of step and loss, `accuracies` pairs of epochs done and per cent.
pub fn learning_curve(
    path: impl AsRef<Path>,
    title: &str,
    losses: &[(u64, f32)],
    accuracies: &[(u64, f64)],
) -> Result<(), PictureError> {
    // The axis is logarithmic, and a loss that broke down has no place on it.
    let losses: Vec<(f64, f64)> = losses
        .iter()
        .filter(|(_, loss)| loss.is_finite())
        .map(|&(step, loss)| (step as f64, f64::from(loss).max(1e-6)))
        .collect();
    let (Some(&(first, _)), Some(&(last, _))) = (losses.first(), losses.last()) else {
        return Err(PictureError::Empty);
    };
    let smooth = running_mean(&losses, (losses.len() / 80).clamp(2, 50));
    let high = losses.iter().map(|p| p.1).fold(0.0, f64::max);
    // At least one power of ten lies in a range this wide, so that the axis has a number.
    let low = losses.iter().map(|p| p.1).fold(high / 20.0, f64::min);

    picture(path, title, (1280, 560), |area| {
        let (left, right) = area.split_horizontally(FINE * if accuracies.is_empty() { 1280 } else { 780 });
        let mut chart = ChartBuilder::on(&left)
            .margin(MARGIN * FINE)
            .margin_top((TITLE + 8) * FINE)
            .x_label_area_size(52 * FINE)
            .y_label_area_size(78 * FINE)
            .build_cartesian_2d(first..last.max(first + 1.0), (low * 0.8..high * 1.25).log_scale())?;
        let steps = |v: &f64| if v.fract() == 0.0 { thousands(*v as u64) } else { String::new() };
        mesh(&mut chart, "step", "training loss", 8, &steps, &|v: &f64| format!("{v}"))?;
        chart
            .draw_series(segments(&losses, BLUE.mix(0.3).stroke_width(FINE as u32 / 2)))?
            .label("each step")
            .legend(|(x, y)| {
                PathElement::new([(x, y), (x + 24 * FINE, y)], BLUE.mix(0.35).stroke_width(2 * FINE as u32))
            });
        chart
            .draw_series(segments(&smooth, BLUE.stroke_width(3 * FINE as u32)))?
            .label("running mean")
            .legend(|(x, y)| {
                PathElement::new([(x, y), (x + 24 * FINE, y)], BLUE.stroke_width(3 * FINE as u32))
            });
        // The joints of the thick line.
        chart.draw_series(smooth.iter().map(|&p| Circle::new(p, 3 * FINE / 2, BLUE.filled())))?;
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE)
            .border_style(PALE.stroke_width(FINE as u32))
            .legend_area_size(34 * FINE)
            .margin(14 * FINE)
            .label_font(font(17).color(&INK))
            .draw()?;
        if accuracies.is_empty() { Ok(()) } else { accuracy_chart(&right, accuracies) }
    })
}

/// How often each class was taken for each: `counts[truth * labels.len() + predicted]`.
///
/// Right answers are blue, mistakes red, so that a handful of them shows beside a thousand right ones.
pub fn confusion_matrix(
    path: impl AsRef<Path>,
    title: &str,
    counts: &[u32],
    labels: &[&str],
) -> Result<(), PictureError> {
    let n = labels.len();
    assert_eq!(counts.len(), n * n, "confusion_matrix: counts of shape [{n}, {n}]");
    if n == 0 {
        return Err(PictureError::Empty);
    }
    const CELL: i32 = 68;
    // The share of a class from which a mistake is painted in full red: of a poor classifier, its most common one.
    let shares = counts.chunks_exact(n).enumerate().flat_map(|(truth, row)| {
        let total = f64::from(row.iter().sum::<u32>().max(1));
        let mistakes = row.iter().enumerate().filter(move |(predicted, _)| *predicted != truth);
        mistakes.map(move |(_, &count)| f64::from(count) / total)
    });
    let notable = shares.fold(0.03, f64::max);
    let (x0, y0) = (MARGIN + 84, TITLE + 72);
    let side = CELL * n as i32;
    picture(path, title, ((x0 + side + 112) as u32, (y0 + side + MARGIN) as u32), |area| {
        text(area, "predicted", (x0 + side / 2, y0 - 50), 20, GREY, HPos::Center)?;
        text(area, "recall", (x0 + side + 54, y0 - 20), 17, GREY, HPos::Center)?;
        let vertical = font(20).color(&GREY).transform(FontTransform::Rotate270).pos(CENTRE);
        area.draw(&Text::new("true", fine((MARGIN + 16, y0 + side / 2)), vertical))?;
        for (truth, row) in counts.chunks_exact(n).enumerate() {
            let y = y0 + CELL * truth as i32;
            let middle = y + CELL / 2;
            text(area, labels[truth], (x0 - 18, middle), 21, INK, HPos::Right)?;
            text(area, labels[truth], (x0 + CELL * truth as i32 + CELL / 2, y0 - 20), 21, INK, HPos::Center)?;
            let total: u32 = row.iter().sum();
            for (predicted, &count) in row.iter().enumerate() {
                let x = x0 + CELL * predicted as i32;
                let share = f64::from(count) / f64::from(total.max(1));
                let (strength, colour) = if predicted == truth {
                    (share, BLUE)
                } else {
                    ((share / notable).sqrt().min(1.0) * 0.85, RED)
                };
                rectangle(
                    area,
                    (x, y),
                    (CELL - 2, CELL - 2),
                    mix(RGBColor(246, 248, 250), colour, strength),
                )?;
                if count > 0 {
                    let colour = if strength > 0.55 { WHITE } else { INK };
                    text(
                        area,
                        &thousands(count.into()),
                        (x + CELL / 2 - 1, middle),
                        19,
                        colour,
                        HPos::Center,
                    )?;
                }
            }
            let recall = 100.0 * f64::from(row[truth]) / f64::from(total.max(1));
            text(area, &format!("{recall:.1} %"), (x0 + side + 54, middle), 17, GREY, HPos::Center)?;
        }
        Ok(())
    })
}

/// The kernels of a convolution, `weight` of shape `[K, C, R, S]`: one tile per output and input channel,
/// blue below zero, white at zero, red above.
pub fn filters(
    path: impl AsRef<Path>,
    title: &str,
    weight: &[f32],
    [k, c, r, s]: [usize; 4],
) -> Result<(), PictureError> {
    assert_eq!(weight.len(), k * c * r * s, "filters: a weight of shape {:?}", [k, c, r, s]);
    if weight.is_empty() {
        return Err(PictureError::Empty);
    }
    let scale = (96 / r.max(s)).max(4) as i32;
    let grid = Grid::new(k * c, 8, (s as i32 * scale, r as i32 * scale), 26);
    let (width, height) = grid.size();
    let limit = weight.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let colour = |v: f32| along(&BLUE_TO_RED, f64::from(v / limit) / 2.0 + 0.5);

    let size = (width + 2 * MARGIN + BAR, height + TITLE + 2 * MARGIN);
    picture(path, title, (size.0 as u32, size.1 as u32), |area| {
        for (i, kernel) in weight.chunks_exact(r * s).enumerate() {
            let (x, y) = grid.place(i, (MARGIN, TITLE + MARGIN));
            rectangle(area, (x - 1, y - 1), (s as i32 * scale + 2, r as i32 * scale + 2), PALE)?;
            image(area, kernel, s, (x, y), scale, colour)?;
            let name = if c == 1 { i.to_string() } else { format!("{}, {}", i / c, i % c) };
            text(area, &name, (x + s as i32 * scale / 2, y + r as i32 * scale + 12), 14, GREY, HPos::Center)?;
        }
        let place = (MARGIN + width + 22, TITLE + MARGIN);
        bar(area, place, height - 26, (-limit, limit), |t| along(&BLUE_TO_RED, t))
    })
}

/// The maps of one layer, see [`feature_maps`].
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// What to call it.
    pub name: &'a str,
    /// Values of shape `shape`.
    pub values: &'a [f32],
    /// `[C, H, W]`.
    pub shape: [usize; 3],
}

/// What each channel of each layer makes of one digit of 28×28, which is shown from its darkest to its
/// brightest value. The maps of one layer share a scale, so that silent channels stay dark.
pub fn feature_maps(
    path: impl AsRef<Path>,
    title: &str,
    digit: &[f32],
    layers: &[Layer<'_>],
) -> Result<(), PictureError> {
    assert_eq!(digit.len(), 28 * 28, "feature_maps: a digit of 28x28");
    const DIGIT: i32 = 28 * 8;
    const HEADING: i32 = 40;
    for layer in layers {
        let size: usize = layer.shape.iter().product();
        assert_eq!(layer.values.len(), size, "feature_maps: {} of shape {:?}", layer.name, layer.shape);
        if layer.values.is_empty() {
            return Err(PictureError::Empty);
        }
    }
    let grids: Vec<(Grid, i32)> = layers
        .iter()
        .map(|&Layer { shape: [c, h, w], .. }| {
            let scale = (84 / h.max(w)).max(1) as i32;
            (Grid::new(c, 16, (w as i32 * scale, h as i32 * scale), 0), scale)
        })
        .collect();
    let x0 = 2 * MARGIN + DIGIT;
    let top = TITLE + 8;
    let width = grids.iter().map(|(grid, _)| grid.size().0).max().unwrap_or(0);
    let height: i32 = grids.iter().map(|(grid, _)| grid.size().1 + HEADING + 12).sum();
    let size = (x0 + width + BAR + MARGIN, top + height.max(DIGIT + HEADING) + MARGIN);

    picture(path, title, (size.0 as u32, size.1 as u32), |area| {
        text(area, "input", (MARGIN, top + HEADING / 2), 19, INK, HPos::Left)?;
        grey_image(area, digit, (MARGIN, top + HEADING), 8)?;
        let mut y0 = top;
        for (layer, (grid, scale)) in layers.iter().zip(&grids) {
            let [c, h, w] = layer.shape;
            let heading = format!("{}: {c} maps of {h}×{w}", layer.name);
            text(area, &heading, (x0, y0 + HEADING / 2), 19, INK, HPos::Left)?;
            let (low, high) = range(layer.values);
            let colour = |v: f32| along(&VIRIDIS, f64::from((v - low) / (high - low)));
            for (i, map) in layer.values.chunks_exact(h * w).enumerate() {
                image(area, map, w, grid.place(i, (x0, y0 + HEADING)), *scale, colour)?;
            }
            let (w, h) = grid.size();
            bar(area, (x0 + w + 22, y0 + HEADING), h, (low, high), |t| along(&VIRIDIS, t))?;
            y0 += h + HEADING + 12;
        }
        Ok(())
    })
}

/// A digit that the network took for another one.
#[derive(Clone, Copy, Debug)]
pub struct Mistake<'a> {
    /// 28×28 values, shown from the darkest to the brightest.
    pub digit: &'a [f32],
    /// What it is.
    pub truth: u8,
    /// What the network took it for.
    pub predicted: u8,
    /// How sure the network was of that, 0..=1.
    pub probability: f32,
}

/// Misclassified digits, each with its label, what it was taken for, and how surely.
pub fn misclassified(
    path: impl AsRef<Path>,
    title: &str,
    mistakes: &[Mistake<'_>],
) -> Result<(), PictureError> {
    const SCALE: i32 = 4;
    const CAPTION: i32 = 50;
    let grid = Grid::new(mistakes.len().max(1), 10, (28 * SCALE, 28 * SCALE), CAPTION);
    let (width, height) = grid.size();
    // A title needs room even where there is no mistake to show.
    let size = (width.max(700) + 2 * MARGIN, height + TITLE + MARGIN);
    picture(path, title, (size.0 as u32, size.1 as u32), |area| {
        if mistakes.is_empty() {
            return text(area, "none", (MARGIN, TITLE + 28), 20, GREY, HPos::Left);
        }
        for (i, mistake) in mistakes.iter().enumerate() {
            assert_eq!(mistake.digit.len(), 28 * 28, "misclassified: digits of 28x28");
            let (x, y) = grid.place(i, (MARGIN, TITLE + 8));
            grey_image(area, mistake.digit, (x, y), SCALE)?;
            let (middle, below) = (x + 14 * SCALE, y + 28 * SCALE);
            let verdict = format!("said {}, {:.0} %", mistake.predicted, 100.0 * mistake.probability);
            text(area, &verdict, (middle, below + 14), 16, RED, HPos::Center)?;
            text(area, &format!("is {}", mistake.truth), (middle, below + 33), 15, GREY, HPos::Center)?;
        }
        Ok(())
    })
}

/// The right half of the learning curve.
fn accuracy_chart(area: &Area<'_>, accuracies: &[(u64, f64)]) -> Drawn {
    let points = || accuracies.iter().map(|&(epoch, percent)| (epoch as f64, percent));
    let last = points().map(|p| p.0).fold(1.0, f64::max);
    let low = points().map(|p| p.1).fold(100.0, f64::min);
    let high = points().map(|p| p.1).fold(0.0, f64::max);
    // Room for the numbers at the points.
    let room = ((high - low) * 0.3).max(0.5);
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN * FINE)
        .margin_top((TITLE + 8) * FINE)
        .x_label_area_size(52 * FINE)
        .y_label_area_size(78 * FINE)
        .build_cartesian_2d(0.5..last + 0.5, low - room..high + room)?;
    let whole = |v: &f64| if v.fract() == 0.0 { format!("{v}") } else { String::new() };
    mesh(&mut chart, "epoch", "test accuracy in %", last.min(8.0) as usize, &whole, &|v: &f64| {
        format!("{v:.1}")
    })?;
    let line: Vec<(f64, f64)> = points().collect();
    chart.draw_series(segments(&line, RED.stroke_width(3 * FINE as u32)))?;
    chart.draw_series(points().map(|p| Circle::new(p, 5 * FINE, RED.filled())))?;
    let every = accuracies.len().div_ceil(8);
    let named =
        accuracies.iter().enumerate().filter(|(i, _)| (accuracies.len() - 1 - i).is_multiple_of(every));
    let style = font(17).color(&INK).pos(Pos::new(HPos::Right, VPos::Bottom));
    chart.draw_series(named.map(|(_, &(epoch, percent))| {
        EmptyElement::at((epoch as f64, percent))
            + Text::new(format!("{percent:.2}"), (-6 * FINE, -8 * FINE), style.clone())
    }))?;
    Ok(())
}

/// The mean of up to `reach` points before and after each of about 200 places.
fn running_mean(points: &[(f64, f64)], reach: usize) -> Vec<(f64, f64)> {
    let last = points.len() - 1;
    let places = last.min(200);
    let mean = |place: usize| {
        let middle = place * last / places.max(1);
        // Symmetric at the beginning too, so that the steep start is not pulled down.
        let after = (middle + reach.min(middle)).min(last);
        let around = &points[middle - reach.min(middle)..=after];
        (points[middle].0, around.iter().map(|p| p.1).sum::<f64>() / around.len() as f64)
    };
    (0..=places).map(mean).collect()
}
