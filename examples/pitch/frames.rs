//! A sound cut into the frames that the network hears: one each 10 ms, brought to mean 0 and standard deviation 1.

use super::net::FRAME;

/// Samples per second that the network was trained for.
pub const SAMPLE_RATE: u32 = 16_000;
/// Samples from one frame to the next.
pub const HOP: usize = 160;
/// Seconds from one frame to the next.
pub const HOP_SECONDS: f64 = HOP as f64 / SAMPLE_RATE as f64;

/// How many frames a sound has: one around each multiple of [`HOP`].
pub fn count(samples: usize) -> usize {
    1 + samples / HOP
}

/// Frame `index`, with silence before the sound's beginning and behind its end.
pub fn frame(samples: &[f32], index: usize) -> Vec<f32> {
    let sample = |i: usize| (index * HOP + i).checked_sub(FRAME / 2).and_then(|at| samples.get(at));
    let mut frame: Vec<f32> = (0..FRAME).map(|i| sample(i).copied().unwrap_or(0.0)).collect();
    let mean = frame.iter().map(|&v| f64::from(v)).sum::<f64>() / FRAME as f64;
    let squares = frame.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>();
    let deviation = (squares / (FRAME - 1) as f64).sqrt().max(1e-10);
    frame.iter_mut().for_each(|v| *v = ((f64::from(*v) - mean) / deviation) as f32);
    frame
}

/// All frames, in batches of `batch` that are cut when they are asked for.
pub fn batches(samples: &[f32], batch: usize) -> impl Iterator<Item = Vec<f32>> {
    let all = count(samples.len());
    let frames = move |first: usize| {
        let last = all.min(first + batch);
        (first..last).flat_map(|index| frame(samples, index)).collect()
    };
    (0..all).step_by(batch).map(frames)
}
