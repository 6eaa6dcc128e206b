//! The pictures of the example.

use super::heads::{Head, LONGEST, Pooling, SIDE};
use super::moved::{moved, on_canvas};
use crate::support::canvas::*;
use crate::support::chart::{Chart, Line, Scaling, Stroke, chart};
use crate::support::colour::{BLUE, GREEN, ORANGE, PURPLE, RED};
use crate::support::kernels::Kernel;
use crate::support::scene::{HEIGHT, WIDTH};
use plotters::style::text_anchor::HPos;
use recurve::data::Dataset;
use recurve::ops::conv2d::Conv2dConfig;
use recurve::{Device, Result as Computed, no_grad};
use std::error::Error;
use std::path::Path;

type Done = Result<(), Box<dyn Error>>;

/// How far the picture is moved: down, right.
const BY: (i32, i32) = (24, 48);

/// Both ways to the same result, what differs, and how much for other shifts and strides.
///
/// `errors` are pairs of a stride and the relative error for shifts of 0, 1, ..; `planes` are `[3, HEIGHT, WIDTH]`.
pub fn equivariance(dev: &Device, planes: &[f32], errors: &[(usize, Vec<f32>)], path: &Path) -> Done {
    let size = (HEIGHT, WIDTH);
    let weight: Vec<f32> = Kernel::sobel_x().weights.repeat(3);
    let weight = dev.tensor(weight, [1, 3, 3, 3]);
    let conv = |planes: &[f32]| -> Computed<Vec<f32>> {
        let x = dev.tensor(planes, [1, 3, HEIGHT, WIDTH]);
        let config = Conv2dConfig { padding: 1.into(), ..Default::default() };
        no_grad(|| x.conv2d(&weight, None, config)).to_vec()
    };
    let shifted = moved(planes, size, BY);
    let (still, one) = (conv(planes)?, conv(&shifted)?);
    let other = moved(&still, size, BY);
    let difference: Vec<f32> = one.iter().zip(&other).map(|(a, b)| a - b).collect();
    let strongest = 0.45 * limit(&still);
    let signed = |values: &[f32]| Bitmap::signed(values, WIDTH, strongest);
    let tiles = [
        ("x", Bitmap::planes(planes, WIDTH)),
        ("shift(x)", Bitmap::planes(&shifted, WIDTH)),
        ("conv(shift(x))", signed(&one)),
        ("conv(x)", signed(&still)),
        ("shift(conv(x))", signed(&other)),
        ("their difference: 0, but for the border", signed(&difference)),
    ];
    let tile = (WIDTH as i32, HEIGHT as i32);
    let grid = Grid::new(6, 3, tile, 40).gap(22);
    let (width, height) = grid.size();
    let chart_width = 400;
    let size = (width + chart_width + 2 * MARGIN + 50, height + TITLE + 8 + MARGIN);
    let title = "Convolution is equivariant: moving the input moves the result, and nothing else";
    Ok(picture(path, title, (size.0 as u32, size.1 as u32), |area| {
        for (i, (name, map)) in tiles.iter().enumerate() {
            let place = grid.place(i, (MARGIN, TITLE + 8));
            frame(area, place, tile, PALE)?;
            bitmap(area, map, place, tile)?;
            text(area, name, (place.0, place.1 + tile.1 + 19), 19, INK, HPos::Left)?;
        }
        let colours = [BLUE, RED, ORANGE];
        let lines: Vec<Line> = (errors.iter().zip(colours))
            .map(|((stride, errors), colour)| Line {
                name: format!("stride {stride}"),
                points: errors.iter().enumerate().map(|(i, &e)| (i as f64, f64::from(e))).collect(),
                colour,
                stroke: Stroke::Dotted,
            })
            .collect();
        let highest = lines.iter().flat_map(|l| &l.points).map(|p| p.1).fold(0.1, f64::max);
        let with = Chart {
            heading: "With a stride, only its multiples are exact".into(),
            x: "shift in pixels".into(),
            y: "largest difference / largest value".into(),
            x_range: (-0.3, errors[0].1.len() as f64 - 0.7),
            y_range: (-0.02 * highest, 1.05 * highest),
            scaling: Scaling::Linear,
        };
        chart(area, (MARGIN + width + 50, TITLE + 8), (chart_width, height), &with, &lines)
    })?)
}

/// How features and accuracy depend on the shift, with a digit to see how far it goes.
pub fn invariance(
    path: &Path,
    digit: &Dataset,
    changes: &[(Pooling, Vec<f64>)],
    accuracies: &[(Head, Vec<f64>)],
) -> Done {
    const CHART: (i32, i32) = (620, 470);
    const DIGIT: i32 = 56;
    let size = (2 * CHART.0 + 2 * MARGIN + 50, TITLE + 8 + CHART.1 + 2 * MARGIN + DIGIT);
    let colours = [RED, ORANGE, GREEN, BLUE, PURPLE];
    let line = |(i, (name, values)): (usize, (String, &Vec<f64>))| Line {
        name,
        points: values.iter().enumerate().map(|(i, &v)| (i as f64, v)).collect(),
        colour: colours[i],
        stroke: Stroke::Dotted,
    };
    let first: Vec<Line> = changes.iter().map(|(p, v)| (p.name(), v)).enumerate().map(line).collect();
    let second: Vec<Line> = accuracies
        .iter()
        .map(|(h, v)| (h.name().to_string(), v))
        .enumerate()
        .map(|(i, l)| line((3 * i, l)))
        .collect();
    let highest = first.iter().flat_map(|l| &l.points).map(|p| p.1).fold(0.1, f64::max);
    let x_range = (-0.3, LONGEST as f64 + 0.3);
    let charts = [
        Chart {
            heading: "Change of the features of conv1 after max pooling".into(),
            x: "shift in pixels".into(),
            y: "|f(shift(x)) − f(x)| / |f(x)|".into(),
            x_range,
            y_range: (-0.02 * highest, 1.05 * highest),
            scaling: Scaling::Linear,
        },
        Chart {
            heading: "Accuracy of networks that have only seen centred digits".into(),
            x: "shift in pixels".into(),
            y: "digits read right in %".into(),
            x_range,
            y_range: (0.0, 102.0),
            scaling: Scaling::Linear,
        },
    ];
    let title = "Pooling makes invariant: the larger its windows, the less a shift matters";
    Ok(picture(path, title, (size.0 as u32, size.1 as u32), |area| {
        for (i, (with, lines)) in charts.iter().zip([&first, &second]).enumerate() {
            let x = MARGIN + i as i32 * (CHART.0 + 50);
            chart(area, (x, TITLE + 8), CHART, with, lines)?;
        }
        let y = TITLE + 8 + CHART.1 + MARGIN / 2;
        text(area, "to the right", (MARGIN, y + DIGIT / 2 - 10), 16, GREY, HPos::Left)?;
        text(area, "by 0 to 8 px", (MARGIN, y + DIGIT / 2 + 10), 16, GREY, HPos::Left)?;
        for pixels in 0..=LONGEST {
            let canvas = on_canvas(digit, SIDE, (0, pixels as i32));
            let values: Vec<f32> = canvas.image(0).iter().map(|&v| f32::from(v)).collect();
            let place = (MARGIN + 110 + pixels as i32 * (DIGIT + 8), y);
            bitmap(area, &Bitmap::grey(&values, SIDE, (0.0, 255.0)), place, (DIGIT, DIGIT))?;
        }
        Ok(())
    })?)
}
