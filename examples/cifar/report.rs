//! What a person wants to see after training.

use super::data::Data;
use super::train::{Training, accuracy};
use crate::support::canvas::*;
use crate::support::chart::{Chart, Line, Scaling, Stroke, chart, smoothed};
use crate::support::colour::{BLUE, RED};
use crate::support::pictures::confusion_matrix;
use std::error::Error;
use std::path::Path;

/// Names of the classes that fit beside a picture's rows.
const SHORT: [&str; 10] = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Tests, draws, and prints what came out.
pub fn finish(training: &mut Training<'_>, data: &Data, out: &Path) -> Result<(), Box<dyn Error>> {
    let predicted = training.predict(&data.test)?;
    let n = data.classes.len();
    let mut counts = vec![0u32; n * n];
    for (&truth, &found) in data.test.labels().iter().zip(&predicted) {
        counts[usize::from(truth) * n + usize::from(found)] += 1;
    }
    println!("{}", worst(&counts, &data.classes, 5));
    let averaged = training.plan.ema > 0.0;
    curves(&out.join("curves.png"), &training.losses, &training.accuracies, averaged)?;
    confusion_matrix(out.join("confusion.png"), "CIFAR-10, pictures held out", &counts, &SHORT)?;
    training.save_weights(&out.join("weights.safetensors"))?;
    println!("loss.csv, weights and pictures are in {}", out.display());
    println!("test accuracy {:.1} %", accuracy(&data.test, &predicted));
    Ok(())
}

/// The classes with what each was taken for, and the mistakes made most often.
pub fn worst(counts: &[u32], classes: &[&str], mistakes: usize) -> String {
    let n = classes.len();
    let mut text = String::from("  class        right  most often taken for\n");
    for (truth, row) in counts.chunks(n).enumerate() {
        let total: u32 = row.iter().sum();
        let mut others: Vec<usize> = (0..n).filter(|&i| i != truth && row[i] > 0).collect();
        others.sort_by_key(|&i| std::cmp::Reverse(row[i]));
        let named = others.iter().take(2).map(|&i| format!("{} {}", classes[i], row[i])).collect::<Vec<_>>();
        let right = format!("{}/{total}", row[truth]);
        text += &format!("  {:11} {right:>7}  {}\n", classes[truth], named.join(", "));
    }
    let mut pairs: Vec<(usize, usize)> = (0..n * n).map(|i| (i / n, i % n)).filter(|(a, b)| a < b).collect();
    let both = |&(a, b): &(usize, usize)| counts[a * n + b] + counts[b * n + a];
    pairs.sort_by_key(|pair| std::cmp::Reverse(both(pair)));
    let confused = pairs.iter().take(mistakes).filter(|pair| both(pair) > 0);
    let confused: Vec<String> =
        confused.map(|p| format!("{} and {} {}", classes[p.0], classes[p.1], both(p))).collect();
    text + "  confused with each other: " + &confused.join(", ")
}

/// Loss of the steps, and test accuracy.
pub fn curves(
    path: &Path,
    losses: &[(u64, f32)],
    accuracies: &[(u64, f64)],
    averaged: bool,
) -> Result<(), PictureError> {
    const CHART: (i32, i32) = (600, 420);
    const GAP: i32 = 40;
    if losses.is_empty() {
        return Err(PictureError::Empty);
    }
    let size = (2 * CHART.0 + GAP + 2 * MARGIN, TITLE + 8 + CHART.1 + MARGIN);
    let at = |heading: &str, x: &str, y: &str, x_range, y_range| Chart {
        heading: heading.into(),
        x: x.into(),
        y: y.into(),
        x_range,
        y_range,
        scaling: Scaling::Linear,
    };
    let line = |name: &str, points, colour, stroke| Line { name: name.into(), points, colour, stroke };
    picture(path, "A residual network learns CIFAR-10", (size.0 as u32, size.1 as u32), |area| {
        let steps = |values: Vec<f64>| losses.iter().map(|l| l.0 as f64).zip(values).collect::<Vec<_>>();
        let values: Vec<f32> = losses.iter().map(|l| l.1).collect();
        let each = steps(values.iter().map(|&v| f64::from(v)).collect());
        let mean = steps(smoothed(&values, (values.len() / 100).clamp(2, 50)));
        let highest = mean.iter().fold(1.0, |m: f64, p| m.max(p.1));
        let lines = [
            line("each step", each, BLUE, Stroke::Faint),
            line("running mean of the training loss", mean, BLUE, Stroke::Plain),
        ];
        let last = losses[losses.len() - 1].0 as f64;
        let with =
            at("Loss, with label smoothing", "step", "cross-entropy", (0.0, last), (0.0, highest * 1.05));
        chart(area, (MARGIN, TITLE + 8), CHART, &with, &lines)?;
        let points: Vec<(f64, f64)> = accuracies.iter().map(|&(e, a)| (e as f64, a)).collect();
        let epochs = points.last().map_or(1.0, |p| p.0);
        let with = at("Right answers on pictures held out", "epoch", "per cent", (0.0, epochs), (0.0, 100.0));
        let lines = [line(
            if averaged { "averaged weights" } else { "the weights as they are" },
            points,
            RED,
            Stroke::Dotted,
        )];
        chart(area, (MARGIN + CHART.0 + GAP, TITLE + 8), CHART, &with, &lines)
    })
}
