//! The pictures of the example.

use super::pool::{KINDS, Kind, Pooled, Windows, repeated};
use crate::support::canvas::*;
use crate::support::kernels::Kernel;
use crate::support::scene::{HEIGHT, WIDTH, repeat_edges};
use plotters::prelude::RGBColor;
use plotters::style::text_anchor::HPos;
use recurve::{Device, Tensor, no_grad};
use std::error::Error;
use std::path::Path;

type Done = Result<(), Box<dyn Error>>;

const GAP: i32 = 20;
const CAPTION: i32 = 58;

/// Height and width of a cell with a number.
const CELL: i32 = 46;

/// A small array whose every window can be checked by eye; 7×7.
pub const NUMBERS: [f32; 49] = [
    1., 3., 2., 0., 4., 6., 1., //
    5., 2., 1., 7., 0., 2., 3., //
    0., 4., 9., 3., 1., 5., 2., //
    2., 6., 3., 8., 2., 0., 4., //
    7., 1., 0., 2., 5., 3., 9., //
    3., 0., 4., 1., 6., 8., 2., //
    1., 5., 2., 6., 3., 1., 0.,
];

/// Both poolings of the small array: 2×2, 3×3 with stride 2, global.
pub fn numbers(dev: &Device, path: &Path) -> Done {
    // 2×2 windows tile 6×6; those of 3×3 with stride 2 share rows and columns of 7×7.
    let six: Vec<f32> = (0..36).map(|i| NUMBERS[i / 6 * 7 + i % 6]).collect();
    let inputs = [(six, 6), (NUMBERS.to_vec(), 7)];
    let squares = [Windows::Squares { size: 2, stride: 2 }, Windows::Squares { size: 3, stride: 2 }];
    let mut results = Vec::new();
    for ((values, side), windows) in inputs.iter().zip(squares) {
        let x = dev.tensor(values.clone(), [1, 1, *side, *side]);
        for windows in [windows, Windows::Global] {
            for kind in KINDS {
                results.push(Pooled::read(&kind.apply(&x, windows))?);
            }
        }
    }
    let columns = [MARGIN, 430, 620, 810, 960];
    let rows = [TITLE + 40, TITLE + 40 + 7 * CELL + 32];
    let size = (columns[4] + 2 * CELL + 80, rows[1] + 7 * CELL + MARGIN);
    let title = "Pooling lets one number stand for each window: its largest value, or its mean";
    Ok(picture(path, title, (size.0 as u32, size.1 as u32), |area| {
        for (i, ((values, side), name)) in inputs
            .iter()
            .zip(["6×6, windows of 2×2", "7×7, windows of 3×3, stride 2: grey cells belong to several"])
            .enumerate()
        {
            let (y, stride) = (rows[i], 2);
            let window = i + 2;
            text(area, name, (columns[0], y - 22), 19, INK, HPos::Left)?;
            let last = (side - window) / stride;
            cells(area, values, *side, (columns[0], y), |row, column| {
                // Windows over this cell, each in one of two shades like a chessboard; shared cells are mixed.
                let over =
                    |at: usize| (0..=last).filter(move |w| (w * stride..w * stride + window).contains(&at));
                let shades: Vec<f64> =
                    over(row).flat_map(|r| over(column).map(move |c| ((r + c) % 2) as f64)).collect();
                let mean = shades.iter().sum::<f64>() / shades.len().max(1) as f64;
                mix(WINDOWS[0], WINDOWS[1], mean)
            })?;
            for (j, kind) in KINDS.into_iter().enumerate() {
                let middle = y + (7 - 3) * CELL / 2 - if i == 0 { CELL / 2 } else { 0 };
                let place = |column: usize, height: i32| (columns[column], middle + (3 - height) * CELL / 2);
                let y = &results[4 * i + j];
                let heading = format!("{} → {}×{}", kind.name(), y.height, y.width);
                text(area, &heading, (columns[1 + j], middle - 22), 19, INK, HPos::Left)?;
                cells(area, &y.values, y.width, place(1 + j, 3), |row, column| WINDOWS[(row + column) % 2])?;
                let y = &results[4 * i + 2 + j];
                let (x, middle) = place(3 + j, 1);
                let heading = format!("Global {}", kind.name().to_lowercase());
                text(area, &heading, (x, middle - 22), 19, INK, HPos::Left)?;
                cells(area, &y.values, 1, (x, middle), |_, _| RGBColor(238, 240, 243))?;
            }
        }
        Ok(())
    })?)
}

/// The two shades of windows.
const WINDOWS: [RGBColor; 2] = [RGBColor(205, 224, 240), RGBColor(252, 226, 190)];

/// Numbers in cells.
fn cells(
    area: &Area<'_>,
    values: &[f32],
    width: usize,
    (x0, y0): (i32, i32),
    shade: impl Fn(usize, usize) -> RGBColor,
) -> Drawn {
    for (i, v) in values.iter().enumerate() {
        let (row, column) = (i / width, i % width);
        let (x, y) = (x0 + column as i32 * CELL, y0 + row as i32 * CELL);
        rectangle(area, (x, y), (CELL - 2, CELL - 2), shade(row, column))?;
        let number = if v.fract() == 0.0 { format!("{v:.0}") } else { format!("{v:.2}") };
        let size = if v.fract() == 0.0 { 20 } else { 17 };
        text(area, &number, (x + CELL / 2 - 1, y + CELL / 2 + 2), size, INK, HPos::Center)?;
    }
    Ok(())
}

/// A tile of a sheet: what is shown, and two lines below.
struct Tile {
    map: Bitmap,
    name: String,
    note: String,
}

/// Tiles of one size, `columns` in a row.
fn sheet(path: &Path, title: &str, tiles: &[Tile], columns: usize, tile: (i32, i32)) -> Done {
    let grid = Grid::new(tiles.len(), columns, tile, CAPTION).gap(GAP);
    let (w, h) = grid.size();
    let size = ((w + 2 * MARGIN) as u32, (h + TITLE + 8 + MARGIN) as u32);
    Ok(picture(path, title, size, |area| {
        for (i, t) in tiles.iter().enumerate() {
            let place = grid.place(i, (MARGIN, TITLE + 8));
            frame(area, place, tile, PALE)?;
            bitmap(area, &t.map, place, tile)?;
            text(area, &t.name, (place.0, place.1 + tile.1 + 18), 19, INK, HPos::Left)?;
            text(area, &t.note, (place.0, place.1 + tile.1 + 41), 16, GREY, HPos::Left)?;
        }
        Ok(())
    })?)
}

/// Both poolings of the picture `[1, 3, HEIGHT, WIDTH]`.
pub fn windows(scene: &Tensor, path: &Path) -> Done {
    let all = [
        (Windows::Squares { size: 2, stride: 2 }, "2×2"),
        (Windows::Squares { size: 3, stride: 2 }, "3×3, stride 2"),
        (Windows::Squares { size: 8, stride: 8 }, "8×8"),
        (Windows::Global, "global"),
    ];
    let mut tiles = Vec::new();
    for kind in KINDS {
        for (windows, name) in all {
            let y = Pooled::read(&kind.apply(scene, windows))?;
            let note = match windows {
                Windows::Global => {
                    let [r, g, b] = [0, 1, 2].map(|c| y.values[c]);
                    format!("three numbers: {r:.2}, {g:.2}, {b:.2}")
                }
                Windows::Squares { .. } => format!("{HEIGHT}×{WIDTH} → {}×{}", y.height, y.width),
            };
            let name = format!("{} {name}", kind.name());
            tiles.push(Tile { map: Bitmap::planes(&y.values, y.width), name, note });
        }
    }
    let title = "Max pooling keeps the brightest of each window, average pooling its mean";
    sheet(path, title, &tiles, 4, (WIDTH as i32, HEIGHT as i32))
}

/// How strong vertical edges are everywhere in the scene: `[1, 1, HEIGHT, WIDTH]`, 0 where there is none.
pub fn edges(dev: &Device, scene: &[f32]) -> Tensor {
    // Zeros around the picture would be its strongest edge.
    let larger = repeat_edges(scene, (HEIGHT, WIDTH), 1);
    let x = dev.tensor(larger, [1, 3, HEIGHT + 2, WIDTH + 2]);
    let weight: Vec<f32> = Kernel::sobel_x().weights.repeat(3).iter().map(|w| w / 12.0).collect();
    let weight = dev.tensor(weight, [1, 3, 3, 3]);
    no_grad(|| x.conv2d(&weight, None, Default::default()).abs())
}

/// What is left of the picture after up to six poolings of 2×2.
pub fn repeated_picture(scene: &Tensor, path: &Path) -> Done {
    let mut tiles = Vec::new();
    for kind in KINDS {
        for (times, y) in repeated(scene, kind, 6)?.iter().enumerate().skip(2) {
            let name = format!("{} of {}×{} pixels", kind.name(), 1 << times, 1 << times);
            let note = format!("{times} times 2×2: {}×{}, mean {:.2}", y.height, y.width, y.mean());
            tiles.push(Tile { map: Bitmap::planes(&y.values, y.width), name, note });
        }
    }
    let title =
        "Pooled again and again: maxima grow together and brighten, means stay true on average and fade";
    sheet(path, title, &tiles, 5, (240, 192))
}

/// The maps of one kind after 0, 1, .. poolings.
pub type Series = (Kind, Vec<Pooled>);

/// What is left of the [`edges`] after several poolings of 2×2, and how strong it is.
pub fn repeated_edges(edges: &Tensor, path: &Path) -> Result<Vec<Series>, Box<dyn Error>> {
    let mut tiles = Vec::new();
    let mut all = Vec::new();
    for kind in KINDS {
        let maps = repeated(edges, kind, 6)?;
        for (times, y) in maps.iter().enumerate().skip(1) {
            let map = Bitmap::scaled(&y.values, y.width, (0.0, 0.8 * maps[0].largest()), &VIRIDIS);
            let name = format!("{}, {times} {}", kind.name(), if times == 1 { "time" } else { "times" });
            let note = format!("{}×{}, largest {:.2}, mean {:.2}", y.height, y.width, y.largest(), y.mean());
            tiles.push(Tile { map, name, note });
        }
        all.push((kind, maps));
    }
    let title = "Edges pooled by 2×2: the maximum keeps how strong they are, the mean dilutes them";
    sheet(path, title, &tiles, 6, (240, 192))?;
    Ok(all)
}

/// The strongest response after each number of poolings, as a share of the strongest at first.
pub fn fading(all: &[Series]) -> Vec<(Kind, Vec<f32>)> {
    let shares = |maps: &[Pooled]| maps.iter().map(|m| m.largest() / maps[0].largest()).collect();
    all.iter().map(|(kind, maps)| (*kind, shares(maps))).collect()
}
