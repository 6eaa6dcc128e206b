//! The pictures of the example: learned kernels, and the maps of each stage.

use super::maps::{FIELD, Maps, Patch, Stage, Traced, moved, strongest};
use crate::support::canvas::*;
use crate::support::colour::BLUE;
use plotters::style::text_anchor::HPos;
use std::path::Path;

/// Channels shown of each stage.
const COLUMNS: usize = 14;
/// Height and width of a map.
const TILE: i32 = 72;
/// From one map to the next.
const STEP: i32 = TILE + 6;

/// The kernels of conv1 `[32, 1, 3, 3]` and the first 16 outputs of conv2 `[64, 32, 3, 3]`, each as `[initial, learned]`.
pub fn kernels(path: &Path, conv1: [&[f32]; 2], conv2: [&[f32]; 2]) -> Result<(), PictureError> {
    const OUTPUTS: usize = 16;
    let first = Grid::new(32, 16, (36, 36), 0).gap(6);
    let (width, height) = first.size();
    let (left, right) = (MARGIN, MARGIN + width + 60);
    let top = TITLE + 44;
    let second = mosaic(&conv2[1][..OUTPUTS * 32 * 9], 32);
    let wide = (second.width as i32 * 5, second.height() as i32 * 5);
    let size = (right + wide.0 + MARGIN, top + wide.1 + MARGIN);
    let title = format!(
        "Kernels of 3×3 weights: conv1 has moved by {:.0} % of its size at first, conv2 by {:.0} %",
        100.0 * moved(conv1[0], conv1[1]),
        100.0 * moved(conv2[0], conv2[1])
    );
    picture(path, &title, as_u32(size), |area| {
        let strongest = limit(conv1[0]).max(limit(conv1[1]));
        for (i, name) in ["conv1 at first: random", "conv1 after training"].into_iter().enumerate() {
            let y = top + i as i32 * (height + 54);
            text(area, name, (left, y - 22), 19, INK, HPos::Left)?;
            for (i, kernel) in conv1[i].chunks_exact(9).enumerate() {
                let place = first.place(i, (left, y));
                frame(area, place, (36, 36), PALE)?;
                bitmap(area, &Bitmap::signed(kernel, 3, strongest), place, (36, 36))?;
            }
        }
        legend(area, (left, top + 2 * height + 54 + 36), width, strongest)?;
        let name = "conv2 after training: 16 of 64 outputs (rows), each sees all 32 maps (columns)";
        text(area, name, (right, top - 22), 19, INK, HPos::Left)?;
        bitmap(area, &second, (right, top), wide)
    })
}

/// What channels of conv2 respond to most strongly, among the digits of the test set.
pub fn favourites(path: &Path, channels: &[Vec<Patch>]) -> Result<(), PictureError> {
    const ZOOM: i32 = 5;
    const SIDE: i32 = FIELD as i32 * ZOOM;
    const SHOWN: usize = 30;
    // Nine patches, two pixels apart.
    let tile = 3 * SIDE + 4;
    let grid = Grid::new(channels.len().min(SHOWN), 10, (tile, tile), 20);
    let (width, height) = grid.size();
    let title = "What channels of conv2 look for: the nine parts of 1,000 digits that each responds to most";
    picture(path, title, as_u32((width + 2 * MARGIN, height + TITLE + 8 + MARGIN)), |area| {
        for (i, patches) in channels.iter().take(SHOWN).enumerate() {
            let (x, y) = grid.place(i, (MARGIN, TITLE + 8));
            // Strokes are white and paper is black, so neither can part the patches.
            rectangle(area, (x, y), (tile, tile), BLUE)?;
            for (j, patch) in patches.iter().take(9).enumerate() {
                let place = (x + j as i32 % 3 * (SIDE + 2), y + j as i32 / 3 * (SIDE + 2));
                bitmap(area, &Bitmap::grey(&patch.pixels, FIELD, (0.0, 1.0)), place, (SIDE, SIDE))?;
            }
            text(area, &i.to_string(), (x + tile / 2, y + tile + 11), 14, GREY, HPos::Center)?;
        }
        Ok(())
    })
}

/// A horizontal scale from −`limit` to `limit`.
fn legend(area: &Area<'_>, (x, y): (i32, i32), width: i32, limit: f32) -> Drawn {
    let values: Vec<f32> = (0..width).map(|i| i as f32 / (width - 1) as f32).collect();
    bitmap(area, &Bitmap::scaled(&values, width as usize, (0.0, 1.0), &BLUE_TO_RED), (x, y), (width, 12))?;
    for (at, v, align) in
        [(0, -limit, HPos::Left), (width / 2, 0.0, HPos::Center), (width, limit, HPos::Right)]
    {
        text(area, &format!("{v:.2}").replace('-', "−"), (x + at, y + 28), 15, GREY, align)?;
    }
    Ok(())
}

/// 3×3 kernels in rows of `columns`, one pixel apart, on the same scale.
fn mosaic(weights: &[f32], columns: usize) -> Bitmap {
    let strongest = 0.7 * limit(weights);
    let count = weights.len() / 9;
    let (width, height) = (columns * 4 - 1, count.div_ceil(columns) * 4 - 1);
    let mut pixels = vec![WHITE; width * height];
    for (i, kernel) in weights.chunks_exact(9).enumerate() {
        for (j, &w) in kernel.iter().enumerate() {
            let (x, y) = (i % columns * 4 + j % 3, i / columns * 4 + j / 3);
            pixels[y * width + x] = along(&BLUE_TO_RED, f64::from(w / strongest) / 2.0 + 0.5);
        }
    }
    Bitmap { width, pixels }
}

fn as_u32((width, height): (i32, i32)) -> (u32, u32) {
    (width as u32, height as u32)
}

/// One stage: a column per channel, its kernel on top, and for each digit what the convolution, batch normalisation
/// with ReLU, and pooling leave.
pub fn stage(
    path: &Path,
    title: &str,
    traced: &[Traced],
    index: usize,
    weight: &[f32],
    inputs: usize,
) -> Result<(), PictureError> {
    let channels = strongest(traced, index, COLUMNS);
    let left = MARGIN + 222;
    let top = TITLE + 78;
    let digit_height = 3 * STEP + 14;
    let width = left + channels.len() as i32 * STEP + MARGIN;
    let height = top + traced.len() as i32 * digit_height + MARGIN - 14;
    picture(path, title, as_u32((width, height)), |area| {
        text(area, "kernel", (left - 14, TITLE + 34), 17, INK, HPos::Right)?;
        let strongest = limit(weight);
        for (column, &channel) in channels.iter().enumerate() {
            let kernel = &weight[channel * inputs * 9..][..inputs * 9];
            let x = left + column as i32 * STEP;
            if inputs == 1 {
                let place = (x + (TILE - 48) / 2, TITLE + 10);
                frame(area, place, (48, 48), PALE)?;
                bitmap(area, &Bitmap::signed(kernel, 3, strongest), place, (48, 48))?;
            } else {
                let map = mosaic(kernel, 8);
                bitmap(area, &map, (x, TITLE + 16), (TILE, TILE * map.height() as i32 / map.width as i32))?;
            }
        }
        for (i, traced) in traced.iter().enumerate() {
            let y = top + i as i32 * digit_height;
            grey_image(area, &traced.digit, (MARGIN, y), 3)?;
            text(area, &format!("a {}", traced.label), (MARGIN + 42, y + 100), 19, INK, HPos::Center)?;
            rows(area, &traced.stages[index], &channels, (left, y))?;
        }
        Ok(())
    })
}

/// The three rows of one digit.
fn rows(area: &Area<'_>, stage: &Stage, channels: &[usize], (x0, y0): (i32, i32)) -> Drawn {
    let signed = 0.8 * limit(&stage.conv.values);
    let high = 0.8 * limit(&stage.relu.values);
    let draw = |row: i32, name: [&str; 2], maps: &Maps, paint: &dyn Fn(&[f32]) -> Bitmap| -> Drawn {
        let y = y0 + row * STEP;
        text(area, name[0], (x0 - 14, y + TILE / 2 - 11), 17, INK, HPos::Right)?;
        let size = format!("{}{}×{}", name[1], maps.side, maps.side);
        text(area, &size, (x0 - 14, y + TILE / 2 + 11), 15, GREY, HPos::Right)?;
        for (column, &channel) in channels.iter().enumerate() {
            let place = (x0 + column as i32 * STEP, y);
            frame(area, place, (TILE, TILE), PALE)?;
            bitmap(area, &paint(maps.channel(channel)), place, (TILE, TILE))?;
        }
        Ok(())
    };
    let scaled = |side: usize| move |map: &[f32]| Bitmap::scaled(map, side, (0.0, high), &VIRIDIS);
    draw(0, ["convolution", ""], &stage.conv, &|map| Bitmap::signed(map, stage.conv.side, signed))?;
    draw(1, ["normed, ReLU", ""], &stage.relu, &scaled(stage.relu.side))?;
    draw(2, ["max pooling", "2×2, to "], &stage.pool, &scaled(stage.pool.side))
}
