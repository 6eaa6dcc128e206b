//! Silero's voice-activity detector for 16 kHz: is somebody speaking in these 32 milliseconds?
//!
//! A convolution with the waves of a Fourier transform gives the spectrum of four windows, four more convolutions make
//! features of it, and an LSTM cell carries on what was heard before.

use recurve::nn::{Conv1d, LstmCell, LstmOptions};
use recurve::ops::conv1d::Conv1dConfig;
use recurve::{Device, Params, Result, Tensor, no_grad};
use std::path::Path;

/// Samples per second that the network was trained for.
pub const SAMPLE_RATE: u32 = 16_000;
/// Samples of a chunk.
pub const CHUNK: usize = 512;
/// Samples of the chunk before that a chunk is seen with.
const CONTEXT: usize = 64;
/// Samples by which a chunk is continued as its own mirror image.
const MIRRORED: usize = 64;
/// Length of the states.
pub const HIDDEN: usize = 128;
/// Frequencies of a spectrum.
const FREQUENCIES: usize = 129;

/// The network.
pub struct Vad {
    params: Params,
    stft: Conv1d,
    convs: Vec<Conv1d>,
    cell: LstmCell,
    last: Conv1d,
}

impl Vad {
    /// Reads the weights from a file.
    pub fn load(dev: &Device, path: &Path) -> Result<Vad> {
        let params = Params::new(dev, 0);
        let root = params.root();
        let config = |stride: usize| Conv1dConfig { stride, padding: 1.into(), ..Default::default() };
        let conv = |i: usize, from: usize, to: usize, stride: usize| {
            Conv1d::new(&root.at(&format!("conv{i}")), from, to, 3, config(stride))
        };
        let windows = Conv1dConfig { stride: 128, ..Default::default() };
        let vad = Vad {
            stft: Conv1d::without_bias(&root.at("stft_conv"), 1, 2 * FREQUENCIES, 256, windows),
            convs: vec![
                conv(1, FREQUENCIES, 128, 1),
                conv(2, 128, 64, 2),
                conv(3, 64, 64, 2),
                conv(4, 64, HIDDEN, 1),
            ],
            cell: LstmCell::new(&root.at("lstm_cell"), HIDDEN, HIDDEN, LstmOptions::default()),
            last: Conv1d::new(&root.at("final_conv"), HIDDEN, 1, 1, Conv1dConfig::default()),
            params,
        };
        vad.params.load(path)?;
        Ok(vad)
    }

    /// Samples `[1, 1, 640]` to features `[1, 128]`.
    fn features(&self, x: &Tensor) -> Tensor {
        let waves = self.stft.forward(x);
        let [re, im] = [0, FREQUENCIES].map(|from| waves.narrow(1, from, FREQUENCIES));
        let spectrum = re.mul(&re).add(&im.mul(&im)).sqrt();
        let features = self.convs.iter().fold(spectrum, |h, conv| conv.forward(&h).relu());
        features.reshape([1, HIDDEN])
    }

    /// A new sound, of which nothing was heard yet.
    pub fn stream(&self) -> Stream<'_> {
        let zeros = || self.params.device().full(0.0, [1, HIDDEN]);
        Stream { vad: self, context: [0.0; CONTEXT], state: [zeros(), zeros()] }
    }
}

/// A sound that comes in chunk by chunk.
pub struct Stream<'v> {
    vad: &'v Vad,
    context: [f32; CONTEXT],
    /// h and c.
    state: [Tensor; 2],
}

impl Stream<'_> {
    /// The probability that somebody speaks in the next chunk.
    ///
    /// # Panics
    /// When the chunk does not have [`CHUNK`] samples.
    pub fn push(&mut self, chunk: &[f32]) -> Result<f32> {
        assert_eq!(chunk.len(), CHUNK, "samples of a chunk");
        let mut samples = [&self.context, chunk].concat();
        let mirror: Vec<f32> = samples.iter().rev().skip(1).take(MIRRORED).copied().collect();
        samples.extend(mirror);
        self.context.copy_from_slice(&chunk[CHUNK - CONTEXT..]);
        let x = self.vad.params.device().tensor(&samples, [1, 1, samples.len()]);
        let probability = no_grad(|| {
            let [h, c] = &self.state;
            let (h, c) = self.vad.cell.forward(&self.vad.features(&x), Some((h, c)));
            let logit = self.vad.last.forward(&h.relu().reshape([1, HIDDEN, 1]));
            self.state = [h, c];
            logit.reshape(()).sigmoid()
        });
        probability.item()
    }

    /// The states h and c after the last chunk.
    pub fn state(&self) -> Result<[Vec<f32>; 2]> {
        let [h, c] = &self.state;
        Ok([h.to_vec()?, c.to_vec()?])
    }
}
