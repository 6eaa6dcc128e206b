//! Is the convolution of a moved picture the moved convolution?

use super::moved::moved;
use recurve::data::loader::permutation;
use recurve::ops::conv2d::Conv2dConfig;
use recurve::{Device, Result, no_grad};

/// Channels of the convolution that is measured.
const CHANNELS: usize = 8;

/// `[CHANNELS, 3, 3, 3]`: random multiples of 1/64 in −1..=1. With pixels that are multiples of 1/256, every product and
/// every sum is exact in f32, so whatever differs is not rounding.
fn weights(seed: u64) -> Vec<f32> {
    let step = |i: usize| permutation(seed, i as u64, 129)[0] as f32 - 64.0;
    (0..CHANNELS * 27).map(|i| step(i) / 64.0).collect()
}

/// Rounds values in 0..=1 to multiples of 1/256.
pub fn exact(planes: &[f32]) -> Vec<f32> {
    planes.iter().map(|v| (v * 256.0).round() / 256.0).collect()
}

/// How far conv(shift(x)) is from shift(conv(x)) for shifts of 0, 1, .. `longest` pixels to the right: the largest
/// difference, as a share of the largest result, away from the border where zeros came in.
///
/// With a stride, the result is moved by shift / stride; where that is not whole, by the neighbour that fits better.
/// `planes` `[3, height, width]` must be [`exact`].
pub fn errors(
    dev: &Device,
    planes: &[f32],
    (height, width): (usize, usize),
    stride: usize,
    longest: usize,
    seed: u64,
) -> Result<Vec<f32>> {
    let weight = dev.tensor(weights(seed), [CHANNELS, 3, 3, 3]);
    let config = Conv2dConfig { stride: [stride; 2], ..Default::default() };
    let conv = |planes: &[f32]| -> Result<(Vec<f32>, usize)> {
        let x = dev.tensor(planes, [1, 3, height, width]);
        let y = no_grad(|| x.conv2d(&weight, None, config));
        Ok((y.to_vec()?, y.shape()[3]))
    };
    let (still, q) = conv(planes)?;
    let largest = still.iter().fold(0f32, |m, v| m.max(v.abs()));
    let mut errors = Vec::new();
    for shift in 0..=longest {
        let (after, _) = conv(&moved(planes, (height, width), (0, shift as i32)))?;
        let first = shift.div_ceil(stride);
        let error = |by: usize| {
            let rows = after.chunks_exact(q).zip(still.chunks_exact(q));
            let differences = rows.flat_map(|(a, b)| (first..q).map(move |i| (a[i] - b[i - by]).abs()));
            differences.fold(0f32, f32::max)
        };
        errors.push(error(shift / stride).min(error(first)) / largest);
    }
    Ok(errors)
}
