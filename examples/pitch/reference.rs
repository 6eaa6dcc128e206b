//! The repository's clips, and what the network gave for them where it comes from.

use super::decode::highest;
use super::frames::{count, frame};
use super::net::{BINS, FRAME};
use recurve::data::Wav;
use recurve::{Device, Init, Params, Result};
use std::path::{Path, PathBuf};

/// The folder of weights, reference and clips.
pub fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pitch-data").join(path)
}

/// A clip: its name, and how many samples it has.
pub const CLIPS: [(&str, usize); 3] =
    [("bass_woodsy_c", 48_000), ("ambi_piano", 44_988), ("guit_e_slide", 69_204)];
/// The reference has the probabilities of each fourth frame.
pub const EVERY: usize = 4;
/// Frames of `guit_e_slide` that the reference has as the network got them.
pub const FRAMES: [usize; 2] = [40, 44];

/// What the network gave for a clip.
pub struct Expected {
    /// Of each fourth frame, `[n, BINS]`.
    pub probabilities: Vec<f32>,
    /// The bin with the highest probability, of every frame.
    pub bins: Vec<usize>,
}

impl Expected {
    /// The largest difference of the frames that the reference has, and of how many frames the highest bin is another.
    pub fn differences(&self, probabilities: &[f32]) -> (f32, usize) {
        let rows = probabilities.chunks_exact(BINS);
        let each_fourth = rows.clone().step_by(EVERY).flatten();
        let far = each_fourth.zip(&self.probabilities).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        (far, rows.zip(&self.bins).filter(|(row, bin)| highest(row) != **bin).count())
    }
}

/// A clip's samples.
pub fn clip(name: &str) -> Result<Vec<f32>> {
    Ok(Wav::from_path(data(&format!("{name}_16k.wav")))?.mono())
}

/// Reads the reference: of each clip in order, and the frames [`FRAMES`].
pub fn load() -> Result<(Vec<Expected>, Vec<f32>)> {
    let params = Params::new(&Device::cpu(), 0);
    let buffer = |name: String, shape: &[usize]| params.root().buffer(&name, shape, Init::Zeros);
    let clips = CLIPS.map(|(name, samples)| {
        let frames = count(samples);
        let probabilities = buffer(format!("{name}.probs"), &[frames.div_ceil(EVERY), BINS]);
        (probabilities, buffer(format!("{name}.argmax"), &[frames]))
    });
    let frames = buffer("guit_e_slide.frames_40_44".into(), &[FRAMES.len(), FRAME]);
    params.load(data("reference.safetensors"))?;
    let mut all = Vec::new();
    for (probabilities, bins) in clips {
        let bins = bins.tensor().to_vec()?.into_iter().map(|bin| bin as usize).collect();
        all.push(Expected { probabilities: probabilities.tensor().to_vec()?, bins });
    }
    Ok((all, frames.tensor().to_vec()?))
}

/// The largest difference between the frames [`FRAMES`] as they are cut here and as the reference has them.
pub fn frame_difference(samples: &[f32], expected: &[f32]) -> f32 {
    let cut = FRAMES.iter().flat_map(|&index| frame(samples, index));
    cut.zip(expected).fold(0f32, |m, (a, b)| m.max((a - b).abs()))
}
