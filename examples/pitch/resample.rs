//! Sounds of other sample rates: interpolation by a windowed sinc, which is a low pass below both rates' halves.

use super::frames::SAMPLE_RATE;
use std::f64::consts::PI;

/// Zero crossings of the sinc to each side.
const CROSSINGS: f64 = 32.0;
/// How much of the lower rate's half passes.
const PASSES: f64 = 0.94;

/// The sound at [`SAMPLE_RATE`].
pub fn resample(samples: &[f32], rate: u32) -> Vec<f32> {
    if rate == SAMPLE_RATE {
        return samples.to_vec();
    }
    let step = f64::from(rate) / f64::from(SAMPLE_RATE);
    // Of what passes, in units of the half of the given rate.
    let cutoff = PASSES / step.max(1.0);
    let reach = CROSSINGS / cutoff;
    let count = (samples.len() as f64 / step).ceil() as usize;
    let one = |i: usize| {
        let place = i as f64 * step;
        let first = (place - reach).ceil().max(0.0) as usize;
        let last = ((place + reach).floor() as usize + 1).min(samples.len());
        let sum = (first..last).map(|at| f64::from(samples[at]) * kernel(at as f64 - place, cutoff, reach));
        sum.sum::<f64>() as f32
    };
    (0..count).map(one).collect()
}

/// A sinc under a window of Blackman's shape.
fn kernel(x: f64, cutoff: f64, reach: f64) -> f64 {
    let sinc = if x.abs() < 1e-9 { cutoff } else { (PI * cutoff * x).sin() / (PI * x) };
    let t = PI * (x / reach).clamp(-1.0, 1.0);
    sinc * (0.42 + 0.5 * t.cos() + 0.08 * (2.0 * t).cos())
}
