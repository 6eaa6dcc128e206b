//! Reads a handwritten digit from any PNG and brings it into the form of MNIST's digits.

// Each example uses a part of this.
#![allow(dead_code)]

use std::io::{BufRead, Cursor, Seek};
use std::path::{Path, PathBuf};

/// Height and width of MNIST's digits.
pub const SIDE: usize = 28;
/// Height and width of the box that MNIST's digits are scaled to before they are centred.
const BOX: usize = 20;
/// More pixels than any camera takes; a PNG of a few bytes can declare four billion times as many.
const MAX_PIXELS: u64 = 1 << 27;
/// Fainter than this fraction of the darkest ink is paper.
const PAPER: f32 = 0.1;

/// Why a PNG is not a readable digit.
#[derive(Debug, thiserror::Error)]
pub enum DigitError {
    /// The file cannot be opened.
    #[error("cannot open {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// It is not a PNG, or a damaged one.
    #[error("not a readable PNG")]
    Png(#[from] png::DecodingError),
    /// There are too many pixels to read into memory.
    #[error("a picture of {width}x{height} pixels is too large")]
    TooLarge {
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// All pixels are alike.
    #[error("the picture is blank")]
    Blank,
}

/// Reads the PNG at `path`; see [`from_png`].
pub fn read(path: impl AsRef<Path>) -> Result<Vec<f32>, DigitError> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| DigitError::Io { path: path.to_owned(), source })?;
    from_png(Cursor::new(bytes))
}

/// Decodes a PNG of any size and colour type and returns it like a digit of MNIST: 28×28 values from 0
/// (paper) to 1 (ink), row by row, not yet normalised by mean and standard deviation.
pub fn from_png(reader: impl BufRead + Seek) -> Result<Vec<f32>, DigitError> {
    let mut decoder = png::Decoder::new(reader);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info()?;
    let (width, height) = reader.info().size();
    let too_large = DigitError::TooLarge { width, height };
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(too_large);
    }
    let mut bytes = vec![0; reader.output_buffer_size().ok_or(too_large)?];
    let info = reader.next_frame(&mut bytes)?;
    bytes.truncate(info.buffer_size());
    from_grey(&grey(&bytes, info.color_type), width as usize, height as usize)
}

/// Brings a grey picture, row by row, into MNIST's form: ink is bright; the digit is cropped, scaled into a
/// box of 20×20 keeping its proportions, and moved so that its centre of mass is the centre of 28×28.
pub fn from_grey(picture: &[f32], width: usize, height: usize) -> Result<Vec<f32>, DigitError> {
    let ink = ink(picture, width, height).ok_or(DigitError::Blank)?;
    let has_ink = |x: usize, y: usize| ink[y * width + x] > 0.0;
    let columns: Vec<usize> = (0..width).filter(|&x| (0..height).any(|y| has_ink(x, y))).collect();
    let rows: Vec<usize> = (0..height).filter(|&y| (0..width).any(|x| has_ink(x, y))).collect();
    let (Some((&left, &right)), Some((&top, &bottom))) =
        (columns.first().zip(columns.last()), rows.first().zip(rows.last()))
    else {
        return Err(DigitError::Blank);
    };
    let (w, h) = (right - left + 1, bottom - top + 1);
    let cropped: Vec<f32> = (top..=bottom).flat_map(|y| &ink[y * width + left..][..w]).copied().collect();

    let longer = w.max(h);
    let fit = |length: usize| ((length * BOX + longer / 2) / longer).max(1);
    let (small_w, small_h) = (fit(w), fit(h));
    let mut small = resize(&cropped, w, h, small_w, small_h);
    // Thin strokes grow faint when they are scaled down.
    let darkest = small.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    small.iter_mut().for_each(|v| *v /= darkest);

    // Where the digit has to begin so that its centre of mass comes to lie on (14, 14), as MNIST's do on
    // average, but no ink is cut off.
    let mass: f32 = small.iter().sum();
    let weighted = |coordinate: fn(usize, usize) -> usize| {
        small.iter().enumerate().map(|(i, v)| v * coordinate(i, small_w) as f32).sum::<f32>() / mass
    };
    let begin = |centre: f32, length: usize| {
        ((SIDE / 2) as f32 - centre).round().clamp(0.0, (SIDE - length) as f32) as usize
    };
    let x0 = begin(weighted(|i, w| i % w), small_w);
    let y0 = begin(weighted(|i, w| i / w), small_h);
    let mut digit = vec![0.0; SIDE * SIDE];
    for (y, row) in small.chunks_exact(small_w).enumerate() {
        digit[(y0 + y) * SIDE + x0..][..small_w].copy_from_slice(row);
    }
    Ok(digit)
}

/// The luminance of each pixel, 0..=1, on a background that lets a half-transparent picture show.
fn grey(bytes: &[u8], color: png::ColorType) -> Vec<f32> {
    let samples = color.samples();
    let unit = |byte: u8| f32::from(byte) / 255.0;
    // Rec. 709.
    let luminance = |p: &[u8]| match *p {
        [r, g, b, ..] => 0.2126 * unit(r) + 0.7152 * unit(g) + 0.0722 * unit(b),
        [v, ..] => unit(v),
        [] => 0.0,
    };
    let opacity = |p: &[u8]| if samples.is_multiple_of(2) { unit(p[samples - 1]) } else { 1.0 };
    let pixels = || bytes.chunks_exact(samples);
    let visible: f32 = pixels().map(opacity).sum();
    let bright: f32 = pixels().map(|p| luminance(p) * opacity(p)).sum();
    let background = if bright > 0.5 * visible { 0.0 } else { 1.0 };
    pixels().map(|p| luminance(p) * opacity(p) + background * (1.0 - opacity(p))).collect()
}

/// How much ink is on each pixel, 0..=1, whichever of ink and paper is brighter; `None` when there is
/// none. Paper is what most of the border shows.
fn ink(picture: &[f32], width: usize, height: usize) -> Option<Vec<f32>> {
    let edge = |i: usize| {
        let (x, y) = (i % width, i / width);
        x == 0 || y == 0 || x + 1 == width || y + 1 == height
    };
    let mut border: Vec<f32> = (0..picture.len()).filter(|&i| edge(i)).map(|i| picture[i]).collect();
    if border.is_empty() {
        return None;
    }
    border.sort_by(f32::total_cmp);
    let paper = border[border.len() / 2];
    let sign = if paper > 0.5 { -1.0 } else { 1.0 };
    let darkest = picture.iter().map(|v| sign * (v - paper)).fold(0.0, f32::max);
    // A shade or two are noise, not writing.
    if darkest < 0.05 {
        return None;
    }
    let value = |v: &f32| sign * (v - paper) / darkest;
    Some(picture.iter().map(value).map(|v| if v < PAPER { 0.0 } else { v }).collect())
}

/// Scales a picture of `w`×`h` to `new_w`×`new_h`, columns first, then rows.
fn resize(picture: &[f32], w: usize, h: usize, new_w: usize, new_h: usize) -> Vec<f32> {
    let horizontal = weights(w, new_w);
    let vertical = weights(h, new_h);
    let mut wide = vec![0.0; new_w * h];
    for (row, new_row) in picture.chunks_exact(w).zip(wide.chunks_exact_mut(new_w)) {
        for (v, (first, weights)) in new_row.iter_mut().zip(&horizontal) {
            *v = row[*first..].iter().zip(weights).map(|(a, b)| a * b).sum();
        }
    }
    let mut resized = vec![0.0; new_w * new_h];
    for (new_row, (first, weights)) in resized.chunks_exact_mut(new_w).zip(&vertical) {
        for (row, weight) in wide[first * new_w..].chunks_exact(new_w).zip(weights) {
            new_row.iter_mut().zip(row).for_each(|(v, a)| *v += a * weight);
        }
    }
    resized
}

/// For each of `to` new places the first of `from` old ones that it is made of, and the weights from there
/// on: a triangle as wide as a new place, so that shrinking averages and growing interpolates.
fn weights(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = from as f32 / to as f32;
    let reach = scale.max(1.0);
    let place = |i: usize| {
        let centre = (i as f32 + 0.5) * scale;
        let first = (centre - reach).floor().max(0.0) as usize;
        let last = ((centre + reach).ceil() as usize).min(from);
        let raw = (first..last).map(|j| (1.0 - (j as f32 + 0.5 - centre).abs() / reach).max(0.0));
        let raw: Vec<f32> = raw.collect();
        let sum: f32 = raw.iter().sum();
        (first, raw.iter().map(|w| w / sum).collect())
    };
    (0..to).map(place).collect()
}
