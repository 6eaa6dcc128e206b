//! The definitions, in f64: naive loops, ordered so that the innermost one runs along rows in memory.

use super::{Sizes, Slide};
use crate::op::Activation;
use crate::parallel::rows;
use std::ops::Range;

impl Slide {
    /// The results whose tap `tap` meets one of `size` pixels.
    fn meeting(self, tap: usize, size: usize, results: usize) -> Range<usize> {
        let offset = tap * self.dilation;
        let first = self.before.saturating_sub(offset).div_ceil(self.stride);
        let end = (size + self.before).saturating_sub(offset).div_ceil(self.stride).min(results);
        first.min(end)..end
    }

    /// The pixel that tap `tap` of `result` meets.
    fn pixel(self, result: usize, tap: usize) -> usize {
        result * self.stride + tap * self.dilation - self.before
    }
}

/// Calls `f(start of a row of x, start of a row of y, results of that row)` for tap `(r, s)` on all rows of a
/// plane that it meets. Pixels of the row of x lie `horizontal.stride` apart.
fn tap_rows(z: &Sizes, r: usize, s: usize, mut f: impl FnMut(usize, usize, usize)) {
    let (vertical, horizontal) = (z.window.vertical, z.window.horizontal);
    let columns = horizontal.meeting(s, z.w, z.q);
    if columns.is_empty() {
        return;
    }
    for p in vertical.meeting(r, z.h, z.p) {
        let x = vertical.pixel(p, r) * z.w + horizontal.pixel(columns.start, s);
        f(x, p * z.q + columns.start, columns.len());
    }
}

pub(super) fn forward(
    z: &Sizes,
    x: &[f64],
    w: &[f64],
    bias: Option<&[f64]>,
    activation: Activation,
    y: &mut [f64],
) {
    let stride = z.window.horizontal.stride;
    rows(y, z.p * z.q, z.multiply_adds() / (z.n * z.k).max(1), |nk, y| {
        let (n, k) = (nk / z.k, nk % z.k);
        y.fill(bias.map_or(0.0, |b| b[k]));
        for c in 0..z.c_group() {
            let channel = n * z.c + k / z.k_group() * z.c_group() + c;
            let x = &x[channel * z.h * z.w..][..z.h * z.w];
            for tap in 0..z.r * z.s {
                let w = w[(k * z.c_group() + c) * z.r * z.s + tap];
                tap_rows(z, tap / z.s, tap % z.s, |x_at, y_at, len| {
                    let y = &mut y[y_at..y_at + len];
                    if stride == 1 {
                        y.iter_mut().zip(&x[x_at..x_at + len]).for_each(|(y, x)| *y += w * x);
                    } else {
                        y.iter_mut().zip(x[x_at..].iter().step_by(stride)).for_each(|(y, x)| *y += w * x);
                    }
                });
            }
        }
        y.iter_mut().for_each(|y| *y = activation.apply(*y));
    });
}

pub(super) fn input_grad(z: &Sizes, dy: &[f64], w: &[f64], dx: &mut [f64]) {
    let stride = z.window.horizontal.stride;
    rows(dx, z.h * z.w, z.multiply_adds() / (z.n * z.c).max(1), |nc, dx| {
        let (n, c) = (nc / z.c, nc % z.c);
        let group = c / z.c_group();
        dx.fill(0.0);
        for k in group * z.k_group()..(group + 1) * z.k_group() {
            let dy = &dy[(n * z.k + k) * z.p * z.q..][..z.p * z.q];
            for tap in 0..z.r * z.s {
                let w = w[(k * z.c_group() + c % z.c_group()) * z.r * z.s + tap];
                tap_rows(z, tap / z.s, tap % z.s, |x_at, y_at, len| {
                    let dy = &dy[y_at..y_at + len];
                    if stride == 1 {
                        dx[x_at..x_at + len].iter_mut().zip(dy).for_each(|(dx, dy)| *dx += w * dy);
                    } else {
                        dx[x_at..].iter_mut().step_by(stride).zip(dy).for_each(|(dx, dy)| *dx += w * dy);
                    }
                });
            }
        }
    });
}

pub(super) fn weight_grad(z: &Sizes, x: &[f64], dy: &[f64], dw: &mut [f64]) {
    let stride = z.window.horizontal.stride;
    rows(dw, z.r * z.s, z.multiply_adds() / (z.k * z.c_group()).max(1), |kc, dw| {
        let (k, c) = (kc / z.c_group(), kc % z.c_group());
        let channel = k / z.k_group() * z.c_group() + c;
        dw.fill(0.0);
        for n in 0..z.n {
            let x = &x[(n * z.c + channel) * z.h * z.w..][..z.h * z.w];
            let dy = &dy[(n * z.k + k) * z.p * z.q..][..z.p * z.q];
            for (tap, dw) in dw.iter_mut().enumerate() {
                tap_rows(z, tap / z.s, tap % z.s, |x_at, y_at, len| {
                    *dw += dot(&x[x_at..], stride, &dy[y_at..y_at + len]);
                });
            }
        }
    });
}

/// `Σ x[i·stride]·y[i]`, in four partial sums so that it vectorises.
fn dot(x: &[f64], stride: usize, y: &[f64]) -> f64 {
    if stride != 1 {
        return x.iter().step_by(stride).zip(y).map(|(x, y)| x * y).sum();
    }
    let (x, y) = (x[..y.len()].chunks_exact(4), y.chunks_exact(4));
    let rest: f64 = x.remainder().iter().zip(y.remainder()).map(|(x, y)| x * y).sum();
    let mut sums = [0.0; 4];
    for (x, y) in x.zip(y) {
        for i in 0..4 {
            sums[i] += x[i] * y[i];
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}
