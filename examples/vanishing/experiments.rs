//! What is measured: gradients at the beginning and after training, learning, and explosions with and without clipping.

use super::adding::{Adding, Batch};
use super::flow::Flow;
use super::net::{Kind, Net, Start};
use super::train::{Run, train};
use recurve::{Adam, AdamConfig, Device, Params, Result, Sgd, SgdConfig};

/// Pieces that a sequence is cut into where gradients are measured.
const PIECES: usize = 50;
/// Batches that norms are averaged over.
const BATCHES: usize = 2;
/// The norm that gradients are clipped to where Adam updates.
const CLIP: f64 = 1.0;
/// Multiples of the identity that ReLU networks start with, and that of the one which is trained.
const GAINS: [f32; 4] = [0.9, 1.0, 1.1, 1.2];
const GAIN: f32 = 1.1;
/// Steps of the sequences that it learns from.
pub const SHORT: usize = 30;
/// The learning rate of SGD, and the norm that gradients are clipped to there.
pub const SGD_RATE: f64 = 3e-3;
pub const SGD_CLIP: f64 = 2.0;

/// What all networks have in common.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Units.
    pub hidden: usize,
    /// Sequences of a batch.
    pub batch: usize,
    /// Of weights and sequences.
    pub seed: u64,
}

impl Sizes {
    fn measured(&self, dev: &Device, length: usize) -> Vec<Batch> {
        let mut data = Adding::new(dev, length, self.batch, self.seed, 1);
        (0..BATCHES).map(|_| data.next()).collect()
    }
}

/// Gradients of a network through sequences of one length.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Steps of a sequence.
    pub length: usize,
    /// The network.
    pub kind: Kind,
    /// How it started.
    pub start: Start,
    /// What was measured.
    pub flow: Flow,
}

/// The networks that are compared on sequences of `length` steps.
pub fn networks(length: usize) -> [(Kind, Start); 6] {
    let keeping = Start::Keeping { steps: length };
    [
        (Kind::Tanh, Start::Uniform),
        (Kind::Tanh, Start::Orthogonal),
        (Kind::Lstm, Start::Uniform),
        (Kind::Lstm, keeping),
        (Kind::Gru, Start::Uniform),
        (Kind::Gru, keeping),
    ]
}

/// The networks that learn from sequences of `length` steps, with their learning rates: the larger one only unsettles plain
/// networks.
pub fn learners(length: usize) -> [(Kind, Start, f64); 4] {
    let keeping = Start::Keeping { steps: length };
    [
        (Kind::Tanh, Start::Uniform, 1e-3),
        (Kind::Tanh, Start::Orthogonal, 1e-3),
        (Kind::Lstm, keeping, 1e-2),
        (Kind::Gru, keeping, 1e-2),
    ]
}

/// The gradients of a network that has learned nothing yet.
///
/// # Errors
/// Whatever stopped the computation.
pub fn at_first(dev: &Device, kind: Kind, start: Start, length: usize, sizes: Sizes) -> Result<Curve> {
    let net = Net::new(&Params::new(dev, sizes.seed), kind, start, sizes.hidden, sizes.seed)?;
    Ok(Curve { length, kind, start, flow: Flow::of(&net, &sizes.measured(dev, length), PIECES)? })
}

/// A training on the adding problem, and the gradients after it.
#[derive(Clone, Debug)]
pub struct Course {
    /// The gradients.
    pub after: Curve,
    /// The training.
    pub run: Run,
}

/// Trains by Adam with learning rate `lr` on sequences of `length` steps.
///
/// # Errors
/// Whatever stopped the computation.
pub fn learn(
    dev: &Device,
    (kind, start, lr): (Kind, Start, f64),
    length: usize,
    steps: usize,
    sizes: Sizes,
) -> Result<Course> {
    let params = Params::new(dev, sizes.seed);
    let net = Net::new(&params, kind, start, sizes.hidden, sizes.seed)?;
    let mut opt = Adam::new(&params, AdamConfig { lr, ..Default::default() });
    let mut data = Adding::new(dev, length, sizes.batch, sizes.seed, 0);
    let run = train(&params, &net, &mut opt, &mut data, steps, Some(CLIP))?;
    let flow = Flow::of(&net, &sizes.measured(dev, length), PIECES)?;
    Ok(Course { after: Curve { length, kind, start, flow }, run })
}

/// Gradients that grow, and training with them.
#[derive(Clone, Debug)]
pub struct Explosion {
    /// Gradients of ReLU networks that start with these multiples of the identity.
    pub flows: Vec<(f32, Flow)>,
    /// The multiple that was trained from.
    pub gain: f32,
    /// Training without clipping.
    pub free: Run,
    /// The same with gradients clipped to the norm [`SGD_CLIP`].
    pub clipped: Run,
}

impl Explosion {
    /// Measures through sequences of `length` steps, and trains for `steps` steps.
    ///
    /// # Errors
    /// Whatever stopped the computation.
    pub fn new(dev: &Device, length: usize, steps: usize, sizes: Sizes) -> Result<Explosion> {
        let flow = |&gain: &f32| {
            let curve = at_first(dev, Kind::Relu, Start::Identity { gain }, length, sizes)?;
            Ok((gain, curve.flow))
        };
        Ok(Explosion {
            flows: GAINS.iter().map(flow).collect::<Result<_>>()?,
            gain: GAIN,
            free: descend(dev, GAIN, None, steps, sizes)?,
            clipped: descend(dev, GAIN, Some(SGD_CLIP), steps, sizes)?,
        })
    }
}

/// Trains a ReLU network that starts with `gain` times the identity, by plain SGD.
///
/// # Errors
/// Whatever stopped the computation.
pub fn descend(dev: &Device, gain: f32, clip: Option<f64>, steps: usize, sizes: Sizes) -> Result<Run> {
    let params = Params::new(dev, sizes.seed);
    let net = Net::new(&params, Kind::Relu, Start::Identity { gain }, sizes.hidden, sizes.seed)?;
    let mut opt = Sgd::new(&params, SgdConfig { lr: SGD_RATE, ..Default::default() });
    let mut data = Adding::new(dev, SHORT, sizes.batch, sizes.seed, 0);
    train(&params, &net, &mut opt, &mut data, steps, clip)
}
