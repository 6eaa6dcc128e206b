//! What pictures are drawn with: text, rectangles, bitmaps, tiles in rows, axes.
//!
//! Places and sizes are in pixels of the finished picture.

// Each example uses a part of this.
#![allow(dead_code)]

pub use super::colour::*;

use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::{
    BitMapBackend, BitMapElement, Cartesian2d, ChartContext, Color, DrawingArea, FontDesc, FontStyle,
    IntoDrawingArea, IntoFont, PathElement, RGBColor, Ranged, Rectangle, ShapeStyle, Text,
};
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::error::Error;
use std::path::{Path, PathBuf};

/// Space around the contents of every picture, in pixels.
pub const MARGIN: i32 = 28;
/// Everything is drawn this many times larger and then averaged, for smooth lines and even letters.
pub const FINE: i32 = 4;
/// Height of the title above the contents.
pub const TITLE: i32 = 64;
/// Width of a colour bar with its numbers.
pub const BAR: i32 = 96;

/// Why a picture could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The drawing itself failed.
    #[error("cannot draw the picture")]
    Draw(#[source] Box<dyn Error + Send + Sync>),
    /// The PNG cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The encoder's reason.
        source: png::EncodingError,
    },
    /// There is nothing to show.
    #[error("nothing to draw")]
    Empty,
}

pub type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
pub const CENTRE: Pos = Pos { h_pos: HPos::Center, v_pos: VPos::Center };

pub type Drawn<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Draws on white below `title` and writes the result to `path`.
pub fn picture(
    path: impl AsRef<Path>,
    title: &str,
    (width, height): (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<(), PictureError> {
    let (fine_width, fine_height) = (width * FINE as u32, height * FINE as u32);
    let mut fine = vec![255; fine_width as usize * fine_height as usize * 3];
    {
        let area = BitMapBackend::with_buffer(&mut fine, (fine_width, fine_height)).into_drawing_area();
        let drawn = load_font()
            .and_then(|()| text(&area, title, (MARGIN, MARGIN + 14), 25, INK, HPos::Left))
            .and_then(|()| draw(&area));
        drawn.and_then(|()| Ok(area.present()?)).map_err(PictureError::Draw)?;
    }
    let pixels = averaged(&fine, fine_width as usize);
    let path = path.as_ref();
    let write = || {
        let file = std::io::BufWriter::new(std::fs::File::create(path)?);
        let mut encoder = png::Encoder::new(file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&pixels)?;
        writer.finish()
    };
    write().map_err(|source| PictureError::Write { path: path.to_owned(), source })
}

/// Shrinks an RGB picture of `width` pixels per row by [`FINE`].
fn averaged(fine: &[u8], width: usize) -> Vec<u8> {
    let n = FINE as usize;
    let mut pixels = Vec::with_capacity(fine.len() / (n * n));
    let mut sums = vec![0u16; 3 * width];
    for rows in fine.chunks_exact(3 * width * n) {
        sums.fill(0);
        for row in rows.chunks_exact(3 * width) {
            sums.iter_mut().zip(row).for_each(|(sum, &v)| *sum += u16::from(v));
        }
        for places in sums.chunks_exact(3 * n) {
            let channel = |c: usize| places.iter().skip(c).step_by(3).sum::<u16>() / (n * n) as u16;
            pixels.extend([channel(0) as u8, channel(1) as u8, channel(2) as u8]);
        }
    }
    pixels
}

/// Makes the fonts known that the pictures are written in, so that none has to be installed.
pub fn load_font() -> Drawn {
    let load = |name, bytes| {
        register_font(name, FontStyle::Normal, bytes).map_err(|_| "the embedded font is damaged".into())
    };
    load("sans-serif", epaint_default_fonts::UBUNTU_LIGHT)
        .and_then(|()| load("monospace", epaint_default_fonts::HACK_REGULAR))
}

pub fn fine((x, y): (i32, i32)) -> (i32, i32) {
    (x * FINE, y * FINE)
}

pub fn font(size: i32) -> FontDesc<'static> {
    ("sans-serif", size * FINE).into_font()
}

/// Characters that the pictures' font does not have, and another one has.
const SYMBOLS: [char; 9] = ['→', '←', '↓', '⌊', '⌋', '≈', '≤', '≥', '∞'];

/// Writes `what` in one line, vertically centred on `place`.
pub fn text(
    area: &Area<'_>,
    what: &str,
    place: (i32, i32),
    size: i32,
    colour: RGBColor,
    align: HPos,
) -> Drawn {
    let parts = parts(area, what, size)?;
    let width = parts.iter().map(|p| p.2).sum::<i32>();
    let (x, y) = fine(place);
    // One part is left to the library, which places it by the pixel.
    if let [(part, font, _)] = &parts[..] {
        let style = font.clone().color(&colour).pos(Pos::new(align, VPos::Center));
        return Ok(area.draw(&Text::new(*part, (x, y), style))?);
    }
    let mut left = match align {
        HPos::Left => x,
        HPos::Center => x - width / 2,
        HPos::Right => x - width,
    };
    for (part, font, width) in parts {
        let style = font.color(&colour).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(part, (left, y), style))?;
        left += width;
    }
    Ok(())
}

/// The width of a line of text.
pub fn width_of(area: &Area<'_>, what: &str, size: i32) -> Drawn<i32> {
    Ok(parts(area, what, size)?.iter().map(|p| p.2).sum::<i32>() / FINE)
}

/// Cuts a line into parts of one font, with their widths.
fn parts<'t>(area: &Area<'_>, what: &'t str, size: i32) -> Drawn<Vec<(&'t str, FontDesc<'static>, i32)>> {
    let mut all = Vec::new();
    for part in what.split_inclusive(SYMBOLS) {
        let (plain, symbol) = part.split_at(part.trim_end_matches(SYMBOLS).len());
        for (part, font) in [(plain, font(size)), (symbol, ("monospace", size * FINE).into_font())] {
            if !part.is_empty() {
                let width = area.estimate_text_size(part, &font.clone().color(&INK))?.0 as i32;
                all.push((part, font, width));
            }
        }
    }
    Ok(all)
}

pub fn rectangle(area: &Area<'_>, (x, y): (i32, i32), (w, h): (i32, i32), colour: RGBColor) -> Drawn {
    Ok(area.draw(&Rectangle::new([fine((x, y)), fine((x + w, y + h))], colour.filled()))?)
}

/// A thin line around a rectangle.
pub fn frame(area: &Area<'_>, (x, y): (i32, i32), (w, h): (i32, i32), colour: RGBColor) -> Drawn {
    rectangle(area, (x - 1, y - 1), (w + 2, 1), colour)?;
    rectangle(area, (x - 1, y + h), (w + 2, 1), colour)?;
    rectangle(area, (x - 1, y), (1, h), colour)?;
    rectangle(area, (x + w, y), (1, h), colour)
}

/// Draws a bitmap, stretched to `size`.
pub fn bitmap(area: &Area<'_>, bitmap: &Bitmap, place: (i32, i32), size: (i32, i32)) -> Drawn {
    let (width, height) = fine(size);
    let mut bytes = Vec::with_capacity(3 * (width * height) as usize);
    for y in 0..height as usize {
        let row = &bitmap.pixels[y * bitmap.height() / height as usize * bitmap.width..];
        for x in 0..width as usize {
            let RGBColor(r, g, b) = row[x * bitmap.width / width as usize];
            bytes.extend([r, g, b]);
        }
    }
    let element = BitMapElement::with_owned_buffer(fine(place), (width as u32, height as u32), bytes);
    Ok(area.draw(&element.expect("a buffer of the size that it was made for"))?)
}

/// Draws values as squares of `scale` pixels, row by row.
pub fn image(
    area: &Area<'_>,
    values: &[f32],
    width: usize,
    place: (i32, i32),
    scale: i32,
    colour: impl Fn(f32) -> RGBColor,
) -> Drawn {
    let map = Bitmap::map(values, width, colour);
    bitmap(area, &map, place, (width as i32 * scale, map.height() as i32 * scale))
}

/// A digit of 28×28, from black at its least to white at its largest value.
pub fn grey_image(area: &Area<'_>, digit: &[f32], place: (i32, i32), scale: i32) -> Drawn {
    bitmap(area, &Bitmap::grey(digit, 28, range(digit)), place, (28 * scale, 28 * scale))
}

/// A vertical scale of colours with the values of its ends and its middle.
pub fn bar(
    area: &Area<'_>,
    (x, y): (i32, i32),
    height: i32,
    (low, high): (f32, f32),
    colour: impl Fn(f64) -> RGBColor,
) -> Drawn {
    for row in 0..height {
        rectangle(
            area,
            (x, y + row),
            (14, 1),
            colour(1.0 - f64::from(row) / f64::from(height - 1).max(1.0)),
        )?;
    }
    let decimals = if high - low < 0.1 { 4 } else { 2 };
    for (v, at) in [(high, 7), ((low + high) / 2.0, height / 2), (low, height - 7)] {
        text(area, &format!("{v:.decimals$}"), (x + 22, y + at), 14, GREY, HPos::Left)?;
    }
    Ok(())
}

/// A line through `points`, piece by piece: in one piece, a sharp bend would draw a spike far beyond it.
pub fn segments(points: &[(f64, f64)], style: ShapeStyle) -> impl Iterator<Item = PathElement<(f64, f64)>> {
    points.windows(2).map(move |ends| PathElement::new(ends, style))
}

/// Axes, their names and their pale lines.
pub fn mesh<X, Y>(
    chart: &mut ChartContext<'_, BitMapBackend<'_>, Cartesian2d<X, Y>>,
    x_name: &str,
    y_name: &str,
    x_labels: usize,
    x_label: &dyn Fn(&f64) -> String,
    y_label: &dyn Fn(&f64) -> String,
) -> Drawn
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .x_desc(x_name)
        .y_desc(y_name)
        .x_labels(x_labels)
        .y_labels(8)
        .x_label_formatter(x_label)
        .y_label_formatter(y_label)
        .axis_style(GREY.stroke_width(FINE as u32))
        .set_all_tick_mark_size(5 * FINE)
        .bold_line_style(PALE.mix(0.7).stroke_width(FINE as u32))
        .light_line_style(WHITE)
        .label_style(font(16).color(&INK))
        .axis_desc_style(font(18).color(&GREY))
        .draw()?;
    Ok(())
}

/// Equal tiles in rows.
pub struct Grid {
    columns: i32,
    rows: i32,
    tile: (i32, i32),
    below: i32,
    gap: i32,
}

impl Grid {
    /// `n` tiles, at most `columns` in a row, with `below` pixels under each for its caption.
    pub fn new(n: usize, columns: usize, tile: (i32, i32), below: i32) -> Grid {
        let columns = n.min(columns);
        Grid { columns: columns as i32, rows: n.div_ceil(columns) as i32, tile, below, gap: 10 }
    }

    /// The same with `gap` pixels between tiles instead of 10.
    pub fn gap(self, gap: i32) -> Grid {
        Grid { gap, ..self }
    }

    /// Width and height of all tiles.
    pub fn size(&self) -> (i32, i32) {
        let (w, h) = self.step();
        (self.columns * w - self.gap, self.rows * h - self.gap)
    }

    fn step(&self) -> (i32, i32) {
        (self.tile.0 + self.gap, self.tile.1 + self.below + self.gap)
    }

    /// The upper left corner of tile `i` of a grid that begins at `origin`.
    pub fn place(&self, i: usize, origin: (i32, i32)) -> (i32, i32) {
        let (w, h) = self.step();
        (origin.0 + i as i32 % self.columns * w, origin.1 + i as i32 / self.columns * h)
    }
}

/// `n` with a comma before every three digits.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
    groups.join(",")
}
