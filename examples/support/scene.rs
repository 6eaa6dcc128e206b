//! A picture to filter, drawn by formulas: it belongs to nobody, and has what filters show themselves on: smooth
//! shades, straight and slanted edges, stripes finer than a large stride, texture, and writing.

// Each example uses a part of this.
#![allow(dead_code)]

use super::canvas::{self, Drawn, PictureError};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Rows of the picture.
pub const HEIGHT: usize = 256;
/// Columns of the picture.
pub const WIDTH: usize = 320;

/// Every pixel is the mean of this many samples per axis.
const SAMPLES: usize = 4;

type Colour = [f32; 3];

/// The picture as planes of red, green and blue, `[3, HEIGHT, WIDTH]`, values in 0..=1.
pub fn scene() -> Result<Vec<f32>, PictureError> {
    let sign = writing("RECURVE").map_err(PictureError::Draw)?;
    let mut planes = vec![0.0; 3 * HEIGHT * WIDTH];
    let unit = 1.0 / (HEIGHT * SAMPLES) as f32;
    for i in 0..HEIGHT * WIDTH {
        let mut sum = [0.0; 3];
        for j in 0..SAMPLES * SAMPLES {
            let (row, column) = (i / WIDTH * SAMPLES + j / SAMPLES, i % WIDTH * SAMPLES + j % SAMPLES);
            let ink = sign[row * WIDTH * SAMPLES + column];
            let colour = at((column as f32 + 0.5) * unit, (row as f32 + 0.5) * unit, ink);
            sum = add(sum, colour, 1.0);
        }
        for (channel, sum) in sum.iter().enumerate() {
            planes[channel * HEIGHT * WIDTH + i] = (sum / (SAMPLES * SAMPLES) as f32).clamp(0.0, 1.0);
        }
    }
    Ok(planes)
}

/// `planes` `[3, height, width]` with `n` more rows and columns on every side that repeat the edge.
pub fn repeat_edges(planes: &[f32], (height, width): (usize, usize), n: usize) -> Vec<f32> {
    let mut larger = Vec::with_capacity(3 * (height + 2 * n) * (width + 2 * n));
    for plane in planes.chunks_exact(height * width) {
        for y in 0..height + 2 * n {
            let row = &plane[y.saturating_sub(n).min(height - 1) * width..][..width];
            larger.extend((0..width + 2 * n).map(|x| row[x.saturating_sub(n).min(width - 1)]));
        }
    }
    larger
}

/// The colour at (x, y), in heights of the picture from its upper left corner; `ink` tells where the sign is
/// written on.
fn at(x: f32, y: f32, ink: bool) -> Colour {
    // From front to back, the first that covers the place.
    sign(x, y, ink)
        .or_else(|| fence(x, y))
        .or_else(|| lighthouse(x, y))
        .or_else(|| house(x, y))
        .or_else(|| meadow(x, y))
        .or_else(|| boat(x, y))
        .or_else(|| lake(x, y))
        .or_else(|| mountains(x, y))
        .unwrap_or_else(|| sky(x, y))
}

const HORIZON: f32 = 0.50;
const SUN: (f32, f32) = (0.80, 0.20);

fn sky(x: f32, y: f32) -> Colour {
    let up = (y / HORIZON).min(1.0);
    let mut colour = between([0.20, 0.44, 0.74], [0.97, 0.84, 0.66], up * up);
    let far = ((x - SUN.0).powi(2) + (y - SUN.1).powi(2)).sqrt();
    colour = add(colour, [1.0, 0.85, 0.5], 0.35 * (-far * 9.0).exp());
    if far < 0.062 {
        return [1.0, 0.95, 0.72];
    }
    let cloud = clouds(x * 3.0, y * 8.0) - 0.52 - 0.5 * (y - 0.16).abs();
    between(colour, [0.98, 0.97, 0.97], (cloud * 5.0).clamp(0.0, 0.9))
}

fn mountains(x: f32, y: f32) -> Option<Colour> {
    let ridge = |seed: f32, steep: f32| clouds(x * steep + seed, seed);
    let front = HORIZON - 0.16 * ridge(3.7, 4.0) - 0.01;
    let back = HORIZON - 0.36 * ridge(9.2, 2.6) - 0.02;
    if y > HORIZON {
        None
    } else if y > front {
        Some(between([0.20, 0.30, 0.36], [0.34, 0.44, 0.46], (y - front) * 8.0))
    } else if y > back {
        let snow = y < 0.305 + 0.06 * (clouds(x * 22.0, 7.0) - 0.5);
        let shade = 0.16 * (clouds(x * 14.0, y * 9.0) - 0.5);
        let rock = between([0.42, 0.47, 0.58], [0.66, 0.68, 0.72], (y - back) * 4.0);
        Some(add(if snow { [0.93, 0.94, 0.97] } else { rock }, [1.0; 3], shade))
    } else {
        None
    }
}

fn lake(x: f32, y: f32) -> Option<Colour> {
    let depth = y - HORIZON;
    if !(0.0..0.3).contains(&depth) {
        return None;
    }
    // Ripples grow wider towards the beholder.
    let ripple = (60.0 * (depth + 0.02).ln() + 5.0 * clouds(x * 5.0, y * 20.0)).sin();
    let water = between([0.62, 0.66, 0.68], [0.12, 0.30, 0.46], (depth * 5.0).min(1.0));
    let glitter = (1.0 - (x - SUN.0).abs() / (0.03 + 0.35 * depth)).max(0.0);
    Some(add(add(water, [1.0; 3], 0.07 * ripple), [1.0, 0.85, 0.55], 0.45 * glitter * (0.5 + 0.5 * ripple)))
}

fn boat(x: f32, y: f32) -> Option<Colour> {
    let (dx, dy) = (x - 0.56, y - 0.60);
    let hull = (0.0..0.035).contains(&dy) && dx.abs() < 0.085 - 0.9 * dy;
    let mainsail = (-0.21..-0.01).contains(&dy) && (0.006..0.006 + 0.36 * (dy + 0.21)).contains(&dx);
    let jib = (-0.17..-0.01).contains(&dy) && (-0.004 - 0.36 * (dy + 0.17)..-0.004).contains(&dx);
    let mast = (-0.22..0.0).contains(&dy) && dx.abs() < 0.003;
    if hull {
        Some(if dy < 0.009 { [0.96, 0.95, 0.92] } else { [0.55, 0.12, 0.10] })
    } else if mast {
        Some([0.25, 0.18, 0.12])
    } else if mainsail {
        Some([0.97, 0.96, 0.93])
    } else if jib {
        Some([0.90, 0.72, 0.30])
    } else {
        None
    }
}

fn meadow(x: f32, y: f32) -> Option<Colour> {
    let shore = 0.70 + 0.03 * (x * 5.0).sin() + 0.015 * clouds(x * 8.0, 1.0);
    if y < shore {
        return None;
    }
    let blades = noise(x * 170.0, y * 60.0) - 0.5;
    let patches = clouds(x * 6.0, y * 9.0) - 0.5;
    let grass = between([0.42, 0.58, 0.24], [0.20, 0.40, 0.15], (y - shore) * 3.0);
    Some(add(grass, [0.9, 1.0, 0.6], 0.22 * blades + 0.12 * patches))
}

fn lighthouse(x: f32, y: f32) -> Option<Colour> {
    let (top, foot, centre) = (0.24, 0.78, 0.20);
    let dx = (x - centre).abs();
    let lamp = (0.165..0.225).contains(&y) && dx < 0.026;
    let gallery = (0.225..0.24).contains(&y) && dx < 0.056;
    let cap = (0.105..0.165).contains(&y) && dx < 0.7 * (y - 0.105);
    if cap {
        return Some([0.62, 0.12, 0.12]);
    }
    if gallery {
        return Some([0.16, 0.17, 0.20]);
    }
    if lamp {
        return Some(if !(0.003..0.022).contains(&dx) { [0.16, 0.17, 0.20] } else { [1.0, 0.93, 0.55] });
    }
    let half = 0.042 + 0.034 * (y - top) / (foot - top);
    if !(top..foot).contains(&y) || dx >= half {
        return None;
    }
    let door = y > foot - 0.085 && dx < 0.018;
    let window = dx < 0.007 && ((0.33..0.36).contains(&y) || (0.50..0.53).contains(&y));
    if door || window {
        return Some([0.14, 0.12, 0.13]);
    }
    let band = ((y - top) / (foot - top) * 6.0) as usize;
    let paint = if band.is_multiple_of(2) { [0.78, 0.16, 0.14] } else { [0.96, 0.95, 0.92] };
    // Round: light comes from the right.
    let across = (x - centre) / half;
    Some(add(paint, [1.0; 3], 0.10 * across - 0.22 * across * across - 0.10 * (-across).max(0.0)))
}

fn house(x: f32, y: f32) -> Option<Colour> {
    let (left, right, eaves, foot) = (0.90, 1.18, 0.56, 0.80);
    let middle = (left + right) / 2.0;
    let roof = (0.42..eaves).contains(&y) && (x - middle).abs() < 0.03 + (y - 0.42) * 1.05;
    let chimney = (0.40..0.50).contains(&y) && (1.09..1.125).contains(&x);
    if roof {
        let tiles = (((y - 0.42) / 0.02) as usize % 2) as f32;
        return Some(add([0.30, 0.24, 0.27], [1.0; 3], 0.07 * tiles));
    }
    if chimney {
        return Some([0.50, 0.25, 0.20]);
    }
    if !(left..right).contains(&x) || !(eaves..foot).contains(&y) {
        return None;
    }
    let pane = |cx: f32| {
        let (dx, dy) = ((x - cx).abs(), (y - 0.655).abs());
        let frame = dx < 0.042 && dy < 0.048;
        let glass = frame && dx < 0.036 && dy < 0.042 && dx > 0.004 && dy > 0.004;
        if glass {
            Some([0.25, 0.36, 0.48])
        } else if frame {
            Some([0.95, 0.94, 0.90])
        } else {
            None
        }
    };
    if let Some(colour) = pane(0.97).or_else(|| pane(1.11)) {
        return Some(colour);
    }
    let (high, wide) = (0.02, 0.044);
    let row = ((y - eaves) / high).floor();
    let column = (x - left) / wide + 0.5 * (row % 2.0);
    let mortar = (y - eaves) - row * high < 0.004 || column.fract() * wide < 0.004;
    let brick = 0.16 * (noise(column.floor() * 3.1, row * 5.3) - 0.5);
    Some(if mortar { [0.80, 0.76, 0.70] } else { add([0.66, 0.34, 0.26], [1.0, 0.8, 0.7], brick) })
}

/// Pales stand 0.0234 apart: 6 pixels, of which a stride of 4 takes one or two.
fn fence(x: f32, y: f32) -> Option<Colour> {
    let (top, foot) = (0.845, 0.965);
    let along = (x / (6.0 / HEIGHT as f32)).fract();
    let pale = along < 0.5 && y > top + 0.016 * (along - 0.25).abs() * 4.0 && y < foot;
    let rail = (0.868..0.878).contains(&y) || (0.93..0.94).contains(&y);
    if pale {
        Some([0.97, 0.97, 0.95])
    } else if rail {
        Some([0.80, 0.80, 0.78])
    } else {
        None
    }
}

/// Where the sign stands: its middle, half its width and half its height.
const SIGN: (f32, f32, f32, f32) = (0.60, 0.80, 0.20, 0.062);

fn sign(x: f32, y: f32, ink: bool) -> Option<Colour> {
    let (dx, dy) = ((x - SIGN.0).abs(), (y - SIGN.1).abs());
    let post = (dx - 0.13).abs() < 0.010 && (SIGN.1..0.985).contains(&y);
    if dx < SIGN.2 && dy < SIGN.3 {
        let rim = dx > SIGN.2 - 0.008 || dy > SIGN.3 - 0.008;
        Some(if ink || rim { [0.16, 0.13, 0.10] } else { [0.94, 0.88, 0.72] })
    } else if post {
        Some([0.40, 0.28, 0.18])
    } else {
        None
    }
}

/// Where `word` has ink, for every sample of the picture.
fn writing(word: &str) -> Drawn<Vec<bool>> {
    let size = ((WIDTH * SAMPLES) as u32, (HEIGHT * SAMPLES) as u32);
    let mut pixels = vec![255; 3 * size.0 as usize * size.1 as usize];
    {
        canvas::load_font()?;
        let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
        let place = |v: f32| (v * (HEIGHT * SAMPLES) as f32) as i32;
        let font = ("sans-serif", place(0.094)).into_font();
        let style = font.color(&BLACK).pos(Pos::new(HPos::Center, VPos::Center));
        // Drawn a few times, slightly moved, because the font is light.
        for shift in -3..=3 {
            area.draw(&Text::new(word, (place(SIGN.0) + shift, place(SIGN.1)), style.clone()))?;
        }
        area.present()?;
    }
    Ok(pixels.chunks_exact(3).map(|p| p[0] < 128).collect())
}

/// `a` at 0, `b` at 1.
fn between(a: Colour, b: Colour, t: f32) -> Colour {
    let t = t.clamp(0.0, 1.0);
    [0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * t)
}

fn add(a: Colour, b: Colour, amount: f32) -> Colour {
    [0, 1, 2].map(|i| a[i] + b[i] * amount)
}

/// Three octaves of [`noise`], 0..1.
fn clouds(x: f32, y: f32) -> f32 {
    (4.0 * noise(x, y) + 2.0 * noise(2.0 * x + 17.0, 2.0 * y) + noise(4.0 * x, 4.0 * y + 31.0)) / 7.0
}

/// Smooth noise with one bump per unit, 0..1: random numbers at whole places, blended in between.
fn noise(x: f32, y: f32) -> f32 {
    let (x0, y0) = (x.floor(), y.floor());
    let corner = |dx: i32, dy: i32| {
        let (i, j) = ((x0 as i32 + dx) as u64 & 0xffff_ffff, (y0 as i32 + dy) as u64 & 0xffff_ffff);
        let mixed = (i << 32 | j).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ mixed >> 29) >> 40) as f32 / (1 << 24) as f32
    };
    let blend = |t: f32| t * t * (3.0 - 2.0 * t);
    let (u, v) = (blend(x - x0), blend(y - y0));
    let upper = corner(0, 0) + (corner(1, 0) - corner(0, 0)) * u;
    let lower = corner(0, 1) + (corner(1, 1) - corner(0, 1)) * u;
    upper + (lower - upper) * v
}
