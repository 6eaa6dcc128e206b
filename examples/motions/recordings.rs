//! The recordings of a file, of equal length, and their scale.

use recurve::data::{DataError, TimeSeries};
use std::path::Path;

/// Names of the sensors, in the file's order.
pub const SENSORS: [&str; 6] = ["accel. x", "accel. y", "accel. z", "gyro x", "gyro y", "gyro z"];

/// Labelled recordings `[N, channels, length]`.
#[derive(Clone, Debug)]
pub struct Recordings {
    /// The values, recording by recording.
    pub values: Vec<f32>,
    /// Class of each recording.
    pub labels: Vec<i64>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Sensors.
    pub channels: usize,
    /// Steps of time.
    pub length: usize,
    /// Mean and standard deviation of each sensor.
    pub scale: Vec<(f32, f32)>,
}

impl Recordings {
    /// Reads a file of the repository's copy of BasicMotions.
    pub fn load(name: &str) -> Result<Recordings, DataError> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/motions-data");
        Ok(Recordings::of(&TimeSeries::from_path(folder.join(name))?))
    }

    fn of(set: &TimeSeries) -> Recordings {
        let length = set.length().expect("BasicMotions has recordings of one length");
        let values: Vec<f32> = set.series.iter().flat_map(|s| s.values.iter().copied()).collect();
        let moments = |channel: usize| {
            let mine = || set.series.iter().flat_map(|s| &s.values[channel * length..][..length]);
            let n = (set.series.len() * length) as f32;
            let mean = mine().sum::<f32>() / n;
            (mean, (mine().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt())
        };
        Recordings {
            labels: set.series.iter().map(|s| s.label as i64).collect(),
            classes: set.classes.clone(),
            channels: set.channels,
            length,
            scale: (0..set.channels).map(moments).collect(),
            values,
        }
    }

    /// The values with each sensor brought to mean 0 and standard deviation 1 by `scale`.
    pub fn scaled(&self, scale: &[(f32, f32)]) -> Vec<f32> {
        let channel = |i: usize| scale[i / self.length % self.channels];
        self.values.iter().enumerate().map(|(i, v)| (v - channel(i).0) / channel(i).1).collect()
    }

    /// One recording `[channels, length]`.
    pub fn recording(&self, index: usize) -> &[f32] {
        let size = self.channels * self.length;
        &self.values[index * size..][..size]
    }
}
