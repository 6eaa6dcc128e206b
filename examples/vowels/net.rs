//! A recurrent layer whose last state tells the speaker, and its training.

use super::utterances::{Batch, Utterances};
use recurve::data::loader::permutation;
use recurve::nn::recurrent::Nonlinearity;
use recurve::nn::{Gru, Linear, Lstm, LstmOptions, Mode, RecurrentConfig, Reset, Rnn};
use recurve::optim::{Adam, AdamConfig, Clip};
use recurve::schedule::{OneCycle, Schedule};
use recurve::{Device, Params, Result, Tensor, no_grad};

/// Length of the states.
pub const HIDDEN: usize = 64;
/// Utterances per step.
pub const BATCH: usize = 30;
/// The learning rate at its highest.
const LR: f64 = 1e-2;

/// The kinds of recurrent layers that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Rnn,
    Lstm,
    Gru,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Rnn, Kind::Lstm, Kind::Gru];

    /// What to call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Rnn => "tanh RNN",
            Kind::Lstm => "LSTM",
            Kind::Gru => "GRU",
        }
    }
}

enum Layer {
    Rnn(Rnn),
    Lstm(Lstm),
    Gru(Gru),
}

/// The network.
pub struct Net {
    layer: Layer,
    head: Linear,
}

impl Net {
    /// Registers the parameters.
    pub fn new(params: &Params, kind: Kind, channels: usize, classes: usize) -> Net {
        let (root, config) = (params.root(), RecurrentConfig::default());
        let scope = root.at("recurrent");
        let layer = match kind {
            Kind::Rnn => Layer::Rnn(Rnn::new(&scope, channels, HIDDEN, Nonlinearity::Tanh, config)),
            Kind::Lstm => Layer::Lstm(Lstm::new(&scope, channels, HIDDEN, LstmOptions::default(), config)),
            Kind::Gru => Layer::Gru(Gru::new(&scope, channels, HIDDEN, Reset::AfterProduct, config)),
        };
        Net { layer, head: Linear::new(&root.at("head"), HIDDEN, classes) }
    }

    /// Logits `[B, classes]`, from the state after each utterance's own last frame.
    pub fn forward(&self, batch: &Batch, mode: Mode) -> Tensor {
        let (x, lengths) = (&batch.x, &batch.lengths[..]);
        let last = match &self.layer {
            Layer::Rnn(net) => net.forward_lengths(x, lengths, None, mode).1,
            Layer::Lstm(net) => net.forward_lengths(x, lengths, None, mode).1.h,
            Layer::Gru(net) => net.forward_lengths(x, lengths, None, mode).1,
        };
        self.head.forward(&last.reshape([lengths.len(), HIDDEN]))
    }
}

/// What training showed, by epoch.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Mean loss on the training utterances.
    pub losses: Vec<f64>,
    /// Per cent of test utterances whose speaker is found.
    pub test: Vec<f64>,
}

/// Trains for `epochs` epochs; `seed` gives the order.
pub fn train(
    params: &Params,
    net: &Net,
    [train, test]: [&Utterances; 2],
    epochs: usize,
    seed: u64,
) -> Result<History> {
    let dev = params.device();
    // One length for all batches: one program serves them.
    let steps = train.lengths().1;
    let batches = train.len().div_ceil(BATCH);
    let schedule = Schedule::OneCycle(OneCycle::new(LR, (epochs * batches).max(2) as u64));
    let mut opt = Adam::new(params, AdamConfig { lr: LR, ..Default::default() });
    opt.set_clip(Some(Clip::Norm { max_norm: 1.0, norm_type: 2.0 }));
    let mut history = History::default();
    let mut step = 0;
    for epoch in 0..epochs {
        let mut losses = Vec::new();
        for indices in permutation(seed, epoch as u64, train.len()).chunks(BATCH) {
            let batch = train.batch(dev, indices, &train.scale, steps);
            let loss = net.forward(&batch, Mode::Train).cross_entropy(&dev.labels(&batch.labels));
            opt.set_lr(schedule.at(step));
            opt.step(&loss.backward())?;
            losses.push((loss.detach(), indices.len()));
            step += 1;
        }
        let mut sum = 0.0;
        for (loss, count) in losses {
            sum += f64::from(loss.item()?) * count as f64;
        }
        history.losses.push(sum / train.len().max(1) as f64);
        history.test.push(accuracy(test, &classes(dev, net, test, &train.scale)?));
    }
    Ok(history)
}

/// The speaker that the network hears in each utterance.
pub fn classes(dev: &Device, net: &Net, of: &Utterances, scale: &[(f32, f32)]) -> Result<Vec<u32>> {
    let all: Vec<usize> = (0..of.len()).collect();
    let batch = of.batch(dev, &all, scale, of.lengths().1);
    no_grad(|| net.forward(&batch, Mode::Eval).argmax(1)).to_vec_u32()
}

/// Per cent of utterances whose speaker was found.
pub fn accuracy(of: &Utterances, found: &[u32]) -> f64 {
    let right = of.set.series.iter().zip(found).filter(|(s, f)| s.label == **f as usize).count();
    100.0 * right as f64 / found.len().max(1) as f64
}

/// How often each speaker was taken for each: `[true, predicted]`.
pub fn confusion(of: &Utterances, found: &[u32]) -> Vec<u32> {
    let n = of.set.classes.len();
    let mut counts = vec![0; n * n];
    for (series, &found) in of.set.series.iter().zip(found) {
        counts[series.label * n + found as usize] += 1;
    }
    counts
}
