//! Utterances of different lengths, brought to one scale and filled up to batches.

use recurve::data::{DataError, TimeSeries};
use recurve::{Device, Tensor};
use std::path::Path;

/// Labelled utterances: cepstra over time.
#[derive(Clone, Debug)]
pub struct Utterances {
    /// As they are in the file.
    pub set: TimeSeries,
    /// Mean and standard deviation of each coefficient.
    pub scale: Vec<(f32, f32)>,
}

/// Some utterances side by side.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[T, B, channels]`, zeros past each utterance's end.
    pub x: Tensor,
    /// Frames of each.
    pub lengths: Vec<usize>,
    /// Speaker of each.
    pub labels: Vec<i64>,
}

impl Utterances {
    /// Reads a file of the repository's copy of JapaneseVowels.
    pub fn load(name: &str) -> Result<Utterances, DataError> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/vowels-data");
        let set = TimeSeries::from_path(folder.join(name))?;
        let moments = |channel: usize| {
            let mine = || set.series.iter().flat_map(|s| &s.values[channel * s.length..][..s.length]);
            let n = mine().count() as f32;
            let mean = mine().sum::<f32>() / n;
            (mean, (mine().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt())
        };
        let scale = (0..set.channels).map(moments).collect();
        Ok(Utterances { set, scale })
    }

    /// The number of utterances.
    pub fn len(&self) -> usize {
        self.set.series.len()
    }

    /// Frames of the shortest and of the longest.
    pub fn lengths(&self) -> (usize, usize) {
        let lengths = || self.set.series.iter().map(|s| s.length);
        (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0))
    }

    /// The utterances `indices`, each coefficient brought to mean 0 and standard deviation 1 by `scale`, filled up to
    /// `steps` frames.
    pub fn batch(&self, dev: &Device, indices: &[usize], scale: &[(f32, f32)], steps: usize) -> Batch {
        let (count, channels) = (indices.len(), self.set.channels);
        let mut values = vec![0.0; steps * count * channels];
        for (b, &index) in indices.iter().enumerate() {
            let series = &self.set.series[index];
            for (i, v) in series.values.iter().enumerate() {
                let (channel, t) = (i / series.length, i % series.length);
                values[(t * count + b) * channels + channel] = (v - scale[channel].0) / scale[channel].1;
            }
        }
        let chosen = || indices.iter().map(|&i| &self.set.series[i]);
        Batch {
            x: dev.tensor(values, [steps, count, channels]),
            lengths: chosen().map(|s| s.length).collect(),
            labels: chosen().map(|s| s.label as i64).collect(),
        }
    }
}
