//! What each voice sings next: a network that reads all four.

use super::data::{CLASSES, Chorale, VOICES};
use super::windows::{Window, windows};
use recurve::nn::{Dropout, Linear, Lstm, LstmOptions, LstmState, Mode};
use recurve::ops::cross_entropy::{CrossEntropyConfig, Reduction};
use recurve::{Device, Params, Result, Tensor, no_grad};

/// Streams and steps of an evaluation.
const EVALUATION: (usize, usize) = (32, 64);

/// An LSTM and a dense layer.
pub struct Net {
    lstm: Lstm,
    dropout: Dropout,
    head: Linear,
    hidden: usize,
}

impl Net {
    /// Registers the parameters. In training, values between the two layers are dropped with probability `dropout`.
    pub fn new(params: &Params, hidden: usize, dropout: f64) -> Net {
        let root = params.root();
        let classes = VOICES * CLASSES;
        Net {
            lstm: Lstm::new(&root.at("lstm"), classes, hidden, LstmOptions::default(), Default::default()),
            dropout: Dropout::new(&root, dropout),
            head: Linear::new(&root.at("head"), hidden, classes),
            hidden,
        }
    }

    /// States of nothing heard yet.
    pub fn start(&self, dev: &Device, streams: usize) -> LstmState {
        let zeros = || dev.full(0.0, [1, streams, self.hidden]);
        LstmState { h: zeros(), c: zeros() }
    }

    /// Classes `[T, B, voices]` to logits of what follows, `[T·B·voices, classes]`, and the states after them.
    pub fn forward(&self, classes: &Tensor, state: &LstmState, mode: Mode) -> (Tensor, LstmState) {
        let (t, b) = (classes.shape()[0], classes.shape()[1]);
        // Four ones in a vector: the class of each voice.
        let x = classes.one_hot(CLASSES).reshape([t, b, VOICES * CLASSES]);
        let (y, state) = self.lstm.forward(&x, Some(state), mode);
        let logits = self.head.forward(&self.dropout.forward(&y, mode));
        (logits.reshape([t * b * VOICES, CLASSES]), state)
    }

    /// Logits and targets of a window. States begin anew in the streams where a chorale does; the gradient ends at the
    /// window's beginning in all of them.
    pub fn window(
        &self,
        dev: &Device,
        window: &Window,
        state: &LstmState,
        mode: Mode,
    ) -> (Tensor, Tensor, LstmState) {
        let streams = window.goes_on.len();
        let steps = window.targets.len() / (streams * VOICES);
        let goes_on = dev.tensor(&window.goes_on, [1, streams, 1]);
        let state = state.detach();
        let state = LstmState { h: &state.h * &goes_on, c: &state.c * &goes_on };
        let inputs = dev.indices(&window.inputs, [steps, streams, VOICES]);
        let (logits, state) = self.forward(&inputs, &state, mode);
        (logits, dev.labels(&window.targets), state)
    }

    /// The mean of -ln p over all steps but the first, by voice.
    pub fn nats(&self, dev: &Device, chorales: &[Chorale]) -> Result<[f64; VOICES]> {
        let (streams, steps) = EVALUATION;
        let order: Vec<usize> = (0..chorales.len()).collect();
        let mut state = self.start(dev, streams);
        let mut sums = [0.0; VOICES];
        for window in windows(chorales, &order, streams, steps) {
            let losses = no_grad(|| {
                let (logits, targets, next) = self.window(dev, &window, &state, Mode::Eval);
                state = next;
                let config = CrossEntropyConfig { reduction: Reduction::None, ..Default::default() };
                logits.cross_entropy_with(&targets, config)
            });
            for (i, loss) in losses.to_vec()?.into_iter().enumerate() {
                sums[i % VOICES] += f64::from(loss);
            }
        }
        let count: usize = chorales.iter().map(|c| c.len() - 1).sum();
        Ok(sums.map(|sum| sum / count.max(1) as f64))
    }
}

/// The mean of all voices.
pub fn mean(nats: [f64; VOICES]) -> f64 {
    nats.iter().sum::<f64>() / VOICES as f64
}

/// What guessing by frequency costs: the same mean, with the share of each class in each voice of `of`.
pub fn by_frequency(of: &[Chorale], on: &[Chorale]) -> f64 {
    // One more of each, so that nothing is impossible.
    let mut counts = [[1.0f64; CLASSES]; VOICES];
    let steps = |chorales: &[Chorale]| chorales.iter().flat_map(|c| &c[1..]).copied().collect::<Vec<_>>();
    for step in steps(of) {
        step.iter().zip(&mut counts).for_each(|(&class, counts)| counts[usize::from(class)] += 1.0);
    }
    let totals = counts.map(|counts| counts.iter().sum::<f64>());
    let cost = |step: &[u8; VOICES]| -> f64 {
        (0..VOICES).map(|v| (totals[v] / counts[v][usize::from(step[v])]).ln()).sum()
    };
    let on = steps(on);
    on.iter().map(cost).sum::<f64>() / (on.len() * VOICES).max(1) as f64
}
