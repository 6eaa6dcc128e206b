//! Scales of colours, and values turned into pictures by them.

// Each example uses a part of this.
#![allow(dead_code)]

use plotters::style::RGBColor;

pub const INK: RGBColor = RGBColor(32, 38, 46);
pub const GREY: RGBColor = RGBColor(88, 96, 106);
pub const PALE: RGBColor = RGBColor(208, 215, 222);
pub const BLUE: RGBColor = RGBColor(31, 111, 178);
pub const RED: RGBColor = RGBColor(200, 60, 40);
pub const GREEN: RGBColor = RGBColor(38, 140, 84);
pub const ORANGE: RGBColor = RGBColor(230, 145, 30);
pub const PURPLE: RGBColor = RGBColor(126, 80, 168);
pub const WHITE: RGBColor = RGBColor(255, 255, 255);

/// Colours that are evenly spaced along a scale.
pub type Scale = [(u8, u8, u8)];

/// Viridis by S. van der Walt and N. Smith (CC0), at nine places.
pub const VIRIDIS: [(u8, u8, u8); 9] = [
    (68, 1, 84),
    (71, 45, 123),
    (59, 82, 139),
    (44, 114, 142),
    (33, 145, 140),
    (40, 174, 128),
    (94, 201, 98),
    (173, 220, 48),
    (253, 231, 37),
];

pub const BLUE_TO_RED: [(u8, u8, u8); 5] =
    [(24, 78, 140), (120, 170, 210), (250, 250, 250), (232, 140, 110), (165, 30, 30)];

pub const BLACK_TO_WHITE: [(u8, u8, u8); 2] = [(0, 0, 0), (255, 255, 255)];

/// The colour at `t` in 0..=1 along a scale.
pub fn along(colours: &Scale, t: f64) -> RGBColor {
    let last = colours.len() - 1;
    let place = t.clamp(0.0, 1.0) * last as f64;
    let i = (place as usize).min(last - 1);
    let ((r, g, b), (r2, g2, b2)) = (colours[i], colours[i + 1]);
    mix(RGBColor(r, g, b), RGBColor(r2, g2, b2), place - i as f64)
}

/// `a` at 0, `b` at 1.
pub fn mix(a: RGBColor, b: RGBColor, t: f64) -> RGBColor {
    let channel =
        |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * t.clamp(0.0, 1.0)).round() as u8;
    RGBColor(channel(a.0, b.0), channel(a.1, b.1), channel(a.2, b.2))
}

/// Least and largest value, which differ even where all values are alike.
pub fn range(values: &[f32]) -> (f32, f32) {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    (low, if high > low { high } else { low + 1.0 })
}

/// The value farthest from zero, without its sign; never quite zero.
pub fn limit(values: &[f32]) -> f32 {
    values.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()))
}

/// A picture, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Bitmap {
    /// Pixels per row.
    pub width: usize,
    /// Their colours.
    pub pixels: Vec<RGBColor>,
}

impl Bitmap {
    /// The colour of each of `values`.
    pub fn map(values: &[f32], width: usize, colour: impl Fn(f32) -> RGBColor) -> Bitmap {
        Bitmap { width, pixels: values.iter().map(|&v| colour(v)).collect() }
    }

    /// From `low`, at the beginning of a scale, to `high` at its end.
    pub fn scaled(values: &[f32], width: usize, (low, high): (f32, f32), scale: &Scale) -> Bitmap {
        Bitmap::map(values, width, |v| along(scale, f64::from((v - low) / (high - low))))
    }

    /// From black at `low` to white at `high`.
    pub fn grey(values: &[f32], width: usize, range: (f32, f32)) -> Bitmap {
        Bitmap::scaled(values, width, range, &BLACK_TO_WHITE)
    }

    /// Blue below zero, white at zero, red above; in full at `limit` and beyond.
    pub fn signed(values: &[f32], width: usize, limit: f32) -> Bitmap {
        Bitmap::scaled(values, width, (-limit, limit), &BLUE_TO_RED)
    }

    /// Red, green and blue planes `[3, H, W]` of values in 0..=1.
    pub fn planes(values: &[f32], width: usize) -> Bitmap {
        let n = values.len() / 3;
        let byte = |i: usize| (values[i].clamp(0.0, 1.0) * 255.0).round() as u8;
        let pixels = (0..n).map(|i| RGBColor(byte(i), byte(n + i), byte(2 * n + i))).collect();
        Bitmap { width, pixels }
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.pixels.len() / self.width
    }

    /// The part of `width`×`height` pixels from column `x` and row `y` on.
    pub fn crop(&self, (x, y): (usize, usize), (width, height): (usize, usize)) -> Bitmap {
        let row = |y: usize| &self.pixels[y * self.width + x..][..width];
        Bitmap { width, pixels: (y..y + height).flat_map(row).copied().collect() }
    }
}
