//! Spectra over time: a Fourier transform (Cooley and Tukey 1965) of a window each 10 ms.

use super::frames::{HOP, SAMPLE_RATE};
use std::f64::consts::{PI, TAU};

/// Samples of a window: an eighth of a second, so that the partials of low notes are seen apart.
const WINDOW: usize = 2048;
/// Samples that are transformed: the window, and zeros, which make the spectrum smooth.
const LENGTH: usize = 4 * WINDOW;

/// Transforms `[re, im]` in place. The length is a power of two.
pub fn transform(values: &mut [[f64; 2]]) {
    let n = values.len();
    assert!(n.is_power_of_two(), "a transform of {n} values");
    let bits = n.trailing_zeros();
    for i in 1..n {
        let reversed = i.reverse_bits() >> (usize::BITS - bits);
        if i < reversed {
            values.swap(i, reversed);
        }
    }
    let mut half = 1;
    while half < n {
        let turns: Vec<[f64; 2]> = (0..half)
            .map(|k| {
                let (sin, cos) = (-PI * k as f64 / half as f64).sin_cos();
                [cos, sin]
            })
            .collect();
        for pair in values.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for ((a, b), w) in low.iter_mut().zip(high).zip(&turns) {
                let turned = [b[0] * w[0] - b[1] * w[1], b[0] * w[1] + b[1] * w[0]];
                *b = [a[0] - turned[0], a[1] - turned[1]];
                *a = [a[0] + turned[0], a[1] + turned[1]];
            }
        }
        half *= 2;
    }
}

/// Magnitudes in decibels of a full-scale sine, window by window.
pub struct Spectrogram(Vec<Vec<f32>>);

impl Spectrogram {
    /// Of a sound of [`SAMPLE_RATE`]: a window of Hann's shape around each frame's middle.
    pub fn new(samples: &[f32]) -> Spectrogram {
        let shape: Vec<f64> =
            (0..WINDOW).map(|i| 0.5 - 0.5 * (TAU * (i as f64 + 0.5) / WINDOW as f64).cos()).collect();
        let scale = 2.0 / shape.iter().sum::<f64>();
        let spectrum = |index: usize| -> Vec<f32> {
            let mut values = vec![[0.0; 2]; LENGTH];
            for (i, (value, shape)) in values.iter_mut().zip(&shape).enumerate() {
                let at = (index * HOP + i).checked_sub(WINDOW / 2);
                let sample = at.and_then(|at| samples.get(at)).copied().unwrap_or(0.0);
                value[0] = f64::from(sample) * shape;
            }
            transform(&mut values);
            let level = |[re, im]: &[f64; 2]| 20.0 * (scale * re.hypot(*im)).max(1e-9).log10() as f32;
            values[..LENGTH / 2].iter().map(level).collect()
        };
        Spectrogram((0..super::frames::count(samples.len())).map(spectrum).collect())
    }

    /// Windows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The level at a frequency in Hz, between those of the two nearest that were computed.
    pub fn level(&self, window: usize, frequency: f64) -> f32 {
        let place = frequency * LENGTH as f64 / f64::from(SAMPLE_RATE);
        let below = (place as usize).min(LENGTH / 2 - 2);
        let (a, b) = (self.0[window][below], self.0[window][below + 1]);
        a + (b - a) * (place - below as f64).clamp(0.0, 1.0) as f32
    }

    /// The highest level.
    pub fn highest(&self) -> f32 {
        self.0.iter().flatten().copied().fold(f32::NEG_INFINITY, f32::max)
    }
}
