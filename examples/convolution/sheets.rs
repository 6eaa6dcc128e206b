//! The pictures of the example, one per question.

use super::filter::{self, Filtered, receptive_field, results};
use crate::support::canvas::*;
use crate::support::kernels::Kernel;
use crate::support::scene::{self, HEIGHT, WIDTH};
use plotters::style::text_anchor::HPos;
use recurve::{Device, Tensor};
use std::error::Error;
use std::path::Path;

type Done = Result<(), Box<dyn Error>>;

/// A name, what it shows, and the function that draws it.
pub type Sheet = (&'static str, &'static str, fn(&Scene, &Path) -> Done);

/// All of them.
pub const ALL: [Sheet; 4] = [
    ("kernels", "blurs, edges, sharpening", kernels),
    ("padding", "without it a result shrinks, zeros darken its border", padding),
    ("stride", "fewer results; what is finer than the stride turns into false patterns", stride),
    ("dilation", "the same nine weights see farther", dilation),
];

/// Height and width of a tile on the sheets.
const TILE: (i32, i32) = (WIDTH as i32, HEIGHT as i32);
/// Space between tiles.
const GAP: i32 = 22;
/// Height of a caption of two lines.
const CAPTION: i32 = 58;

/// The picture that everything is shown on.
pub struct Scene {
    /// `[3, HEIGHT, WIDTH]`.
    pub planes: Vec<f32>,
    /// The same on the device, `[1, 3, HEIGHT, WIDTH]`.
    pub tensor: Tensor,
}

impl Scene {
    /// Draws it and uploads it.
    pub fn new(dev: &Device) -> Result<Scene, PictureError> {
        let planes = scene::scene()?;
        let tensor = dev.tensor(planes.clone(), [1, 3, HEIGHT, WIDTH]);
        Ok(Scene { planes, tensor })
    }
}

/// Blurs, edges, sharpening, each with its kernel.
fn kernels(scene: &Scene, path: &Path) -> Done {
    let blurs = [(3, 0.8), (5, 1.3), (9, 2.4)].map(|(size, sigma)| Kernel::gaussian(size, sigma));
    let edges = [Kernel::sobel_x(), Kernel::sobel_y(), Kernel::laplacian()];
    let mut tiles = vec![("Input".to_string(), Bitmap::planes(&scene.planes, WIDTH), None)];
    for kernel in blurs.into_iter().chain([Kernel::sharpen()]) {
        let y = filter::colours(&scene.tensor, &kernel, kernel.size / 2, 1, 1)?;
        tiles.push((caption(&kernel), Bitmap::planes(&y.values, y.width), Some(kernel)));
    }
    for kernel in edges {
        let y = filter::brightness(&scene.tensor, &kernel, kernel.size / 2, 1)?;
        // A few strong edges would leave the rest pale.
        let map = Bitmap::signed(&y.values, y.width, 0.45 * limit(&y.values));
        tiles.push((caption(&kernel), map, Some(kernel)));
    }
    // Sharpening comes last.
    let sharpen = tiles.remove(4);
    tiles.push(sharpen);

    let grid = Grid::new(8, 4, TILE, 84).gap(GAP);
    let title = "The kernel decides what a convolution shows";
    Ok(picture(path, title, sheet(&grid), |area| {
        for (i, (name, map, kernel)) in tiles.iter().enumerate() {
            let (x, y) = grid.place(i, (MARGIN, TITLE + 8));
            bitmap(area, map, (x, y), TILE)?;
            let below = y + TILE.1;
            let Some(kernel) = kernel else {
                text(area, name, (x, below + 20), 20, INK, HPos::Left)?;
                let size = format!("{HEIGHT}×{WIDTH}, three channels");
                text(area, &size, (x, below + 44), 16, GREY, HPos::Left)?;
                continue;
            };
            weights(area, kernel, (x, below + 10))?;
            text(area, name, (x + 76, below + 20), 20, INK, HPos::Left)?;
            let n = kernel.size;
            let sizes = format!("{HEIGHT}×{WIDTH} → {}×{}", map.height(), map.width);
            text(area, &sizes, (x + 76, below + 44), 16, GREY, HPos::Left)?;
            let sum = format!("padding {}, sum of weights {:.0}", n / 2, kernel.sum());
            text(area, &sum, (x + 76, below + 64), 16, GREY, HPos::Left)?;
        }
        Ok(())
    })?)
}

/// A kernel as a square of 63 pixels; small ones with their numbers.
fn weights(area: &Area<'_>, kernel: &Kernel, (x, y): (i32, i32)) -> Drawn {
    let n = kernel.size as i32;
    let cell = 63 / n;
    let side = cell * n;
    rectangle(area, (x - 1, y - 1), (side + 2, side + 2), PALE)?;
    let strongest = limit(&kernel.weights);
    image(area, &kernel.weights, kernel.size, (x, y), cell, |w| {
        along(&BLUE_TO_RED, f64::from(0.42 * w / strongest) + 0.5)
    })?;
    let whole = kernel.weights.iter().all(|w| w.fract() == 0.0);
    for (i, w) in kernel.weights.iter().enumerate().filter(|_| whole) {
        let (column, row) = (i as i32 % n, i as i32 / n);
        let middle = (x + column * cell + cell / 2, y + row * cell + cell / 2);
        text(area, &format!("{w:.0}").replace('-', "−"), middle, 15, INK, HPos::Center)?;
    }
    Ok(())
}

fn caption(kernel: &Kernel) -> String {
    format!("{} {n}×{n}", kernel.name, n = kernel.size)
}

/// Width and height of a picture that holds a grid.
fn sheet(grid: &Grid) -> (u32, u32) {
    let (w, h) = grid.size();
    ((w + 2 * MARGIN) as u32, (h + TITLE + 8 + MARGIN) as u32)
}

/// What a wide blur does at the border, for four ways to treat it: the whole result, and its upper right corner.
fn padding(scene: &Scene, path: &Path) -> Done {
    const CORNER: (usize, usize) = (64, 48);
    let kernel = Kernel::gaussian(13, 4.0);
    let (n, half) = (kernel.size, kernel.size / 2);
    let dev = scene.tensor.device();
    let (height, width) = (HEIGHT + 2 * half, WIDTH + 2 * half);
    let repeated = scene::repeat_edges(&scene.planes, (HEIGHT, WIDTH), half);
    let repeated = dev.tensor(repeated, [1, 3, height, width]);
    let input = (HEIGHT, WIDTH);
    let ways = [
        ("No padding", &scene.tensor, input, 0),
        ("Zeros, “same”", &scene.tensor, input, half),
        ("Zeros, “full”", &scene.tensor, input, n - 1),
        ("Edge repeated, then no padding", &repeated, (height, width), 0),
    ];
    let mut results = Vec::new();
    for (_, tensor, size, padding) in &ways {
        let colours = filter::colours(tensor, &kernel, *padding, 1, 1)?;
        assert_eq!(colours.height, filter::results(size.0, n, *padding, 1, 1));
        results.push((colours, filter::white(dev, *size, &kernel, *padding)?));
    }

    // Tiles are as large as the largest result; a thin frame shows where the input's edge lies.
    let tile = (results[2].0.width as i32, results[2].0.height as i32);
    let grid = Grid::new(8, 4, tile, CAPTION).gap(GAP);
    let title =
        "Padding decides the size of the result, and what the kernel sees at the border (Gaussian 13×13)";
    let (width, height) = sheet(&grid);
    // Corners are not as high as tiles.
    let height = height - (tile.1 - TILE.0 * 3 / 4) as u32;
    Ok(picture(path, title, (width, height), |area| {
        for (i, ((name, _, size, padding), (blurred, white))) in ways.iter().zip(&results).enumerate() {
            let map = Bitmap::planes(&blurred.values, blurred.width);
            let (x, y) = grid.place(i, (MARGIN, TITLE + 8));
            let shown = (map.width as i32, map.height() as i32);
            let place = |size: (i32, i32)| (x + (tile.0 - size.0) / 2, y + (tile.1 - size.1) / 2);
            frame(area, place(TILE), TILE, PALE)?;
            bitmap(area, &map, place(shown), shown)?;
            let (left, below) = (place(TILE).0, y + tile.1);
            text(area, name, (left, below + 18), 20, INK, HPos::Left)?;
            let sizes = format!(
                "{} + 2·{padding} − {n} + 1 = {h}: {}×{} → {h}×{}",
                size.0,
                size.0,
                size.1,
                blurred.width,
                h = blurred.height
            );
            text(area, &sizes, (left, below + 41), 16, GREY, HPos::Left)?;

            let (_, y) = grid.place(4 + i, (MARGIN, TITLE + 8));
            let corner = map.crop((map.width - CORNER.0, 0), CORNER);
            bitmap(area, &corner, (left, y), (TILE.0, TILE.0 * 3 / 4))?;
            let below = y + TILE.0 * 3 / 4;
            text(area, "the corner, enlarged", (left, below + 18), 18, INK, HPos::Left)?;
            let at = |row: usize, column: usize| 100.0 * white.values[row * white.width + column];
            let keeps = format!(
                "of white, the edge keeps {:.0} %, the corner {:.0} %",
                at(0, white.width / 2),
                at(0, 0)
            );
            text(area, &keeps, (left, below + 41), 16, GREY, HPos::Left)?;
        }
        Ok(())
    })?)
}

/// Strides 1, 2 and 4, with and without a blur before.
fn stride(scene: &Scene, path: &Path) -> Done {
    let kernels = [Kernel::identity(), Kernel::gaussian(7, 1.8)];
    let mut tiles = Vec::new();
    for kernel in &kernels {
        for stride in [1, 2, 4, 8] {
            let padding = kernel.size / 2;
            let y = filter::colours(&scene.tensor, kernel, padding, stride, 1)?;
            let n = kernel.size;
            assert_eq!(y.width, results(WIDTH, n, padding, stride, 1));
            let sizes = format!(
                "⌊({HEIGHT} + 2·{padding} − {n}) / {stride}⌋ + 1 = {}: {}×{}",
                y.height, y.height, y.width
            );
            tiles.push((format!("{}, stride {stride}", caption(kernel)), sizes, y));
        }
    }
    let grid = Grid::new(8, 4, TILE, CAPTION).gap(GAP);
    let title = "A stride keeps every 2nd, 4th, 8th result: what is finer than it becomes a false pattern, unless it is blurred";
    Ok(picture(path, title, sheet(&grid), |area| {
        for (i, (name, sizes, y)) in tiles.iter().enumerate() {
            colours(area, y, grid.place(i, (MARGIN, TITLE + 8)), (name, sizes))?;
        }
        Ok(())
    })?)
}

/// A coloured tile with two lines below it.
fn colours(area: &Area<'_>, y: &Filtered, place: (i32, i32), (name, note): (&str, &str)) -> Drawn {
    bitmap(area, &Bitmap::planes(&y.values, y.width), place, TILE)?;
    let below = place.1 + TILE.1;
    text(area, name, (place.0, below + 18), 20, INK, HPos::Left)?;
    text(area, note, (place.0, below + 41), 16, GREY, HPos::Left)
}

/// The taps of a dilated kernel on the picture, and what it makes of it.
fn dilation(scene: &Scene, path: &Path) -> Done {
    // An enlarged part of the picture, around the pixel whose result is drawn.
    const PART: (usize, usize) = (40, 32);
    const ZOOM: i32 = 8;
    let (corner, middle) = ((258, 142), (20, 16));
    let kernel = Kernel::sobel_x();
    let input = Bitmap::planes(&scene.planes, WIDTH);
    let part = input.crop(corner, PART);
    let dilations = [1, 2, 4, 8];
    let mut maps = Vec::new();
    for dilation in dilations {
        let y = filter::brightness(&scene.tensor, &kernel, 0, dilation)?;
        assert_eq!(y.height, results(HEIGHT, 3, 0, 1, dilation));
        maps.push(y);
    }
    let strongest = 0.45 * limit(&maps[0].values);
    let grid = Grid::new(8, 4, TILE, CAPTION).gap(GAP);
    let title = "Dilation spreads the same nine weights over a larger receptive field (Sobel x)";
    Ok(picture(path, title, sheet(&grid), |area| {
        for (i, (dilation, y)) in dilations.into_iter().zip(&maps).enumerate() {
            let (x0, y0) = grid.place(i, (MARGIN, TITLE + 8));
            bitmap(area, &part, (x0, y0), TILE)?;
            let field = receptive_field(3, dilation) as i32;
            let pixel = |column: i32, row: i32| (x0 + column * ZOOM, y0 + row * ZOOM);
            let first = (middle.0 - field / 2, middle.1 - field / 2);
            frame(area, pixel(first.0, first.1), (field * ZOOM, field * ZOOM), WHITE)?;
            for (tap, weight) in kernel.weights.iter().enumerate() {
                let step = |t: usize| t as i32 * dilation as i32;
                let (px, py) = pixel(first.0 + step(tap % 3), first.1 + step(tap / 3));
                rectangle(area, (px - 1, py - 1), (ZOOM + 2, ZOOM + 2), WHITE)?;
                let colour = along(&BLUE_TO_RED, f64::from(weight / 4.0) + 0.5);
                rectangle(area, (px, py), (ZOOM, ZOOM), colour)?;
            }
            let below = y0 + TILE.1;
            text(area, &format!("Dilation {dilation}"), (x0, below + 18), 20, INK, HPos::Left)?;
            let sees = format!("9 taps within {field}×{field} pixels, enlarged");
            text(area, &sees, (x0, below + 41), 16, GREY, HPos::Left)?;

            let (x0, y0) = grid.place(4 + i, (MARGIN, TITLE + 8));
            let size = (y.width as i32, y.height as i32);
            let map = Bitmap::signed(&y.values, y.width, strongest);
            frame(area, (x0, y0), TILE, PALE)?;
            let place = (x0 + (TILE.0 - size.0) / 2, y0 + (TILE.1 - size.1) / 2);
            bitmap(area, &map, place, size)?;
            let below = y0 + TILE.1;
            let sizes = format!("{HEIGHT}×{WIDTH} → {}×{}", y.height, y.width);
            text(area, &sizes, (x0, below + 18), 20, INK, HPos::Left)?;
            let formula = format!("{HEIGHT} − {dilation}·(3 − 1) = {}", y.height);
            text(area, &formula, (x0, below + 41), 16, GREY, HPos::Left)?;
        }
        Ok(())
    })?)
}
