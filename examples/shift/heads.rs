//! Two networks that differ only in how they end, and how much a shift of the input matters to each.

use super::moved::on_canvas;
use crate::support::classifier::{self, Plan};
use recurve::data::{Dataset, Normalize};
use recurve::nn::{BatchNorm2d, Conv2d, Linear, Mode};
use recurve::ops::conv2d::Conv2dConfig;
use recurve::{Device, Params, Result, Tensor, no_grad};

/// Height and width of the canvas: digits may move by 8 pixels to every side without leaving it.
pub const SIDE: usize = 44;
/// The longest shift.
pub const LONGEST: usize = 8;

/// Images per step.
pub const BATCH: usize = 32;

/// What turns the last maps into logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// A weight for every channel and place.
    Flatten,
    /// A weight for every channel: the mean over all places.
    GlobalAverage,
}

/// Both.
pub const HEADS: [Head; 2] = [Head::Flatten, Head::GlobalAverage];

impl Head {
    /// What to call it.
    pub fn name(self) -> &'static str {
        match self {
            Head::Flatten => "flatten, dense",
            Head::GlobalAverage => "global average, dense",
        }
    }
}

/// Three convolutions with batch normalisation and ReLU; max pooling after the first two.
pub struct Net {
    stages: Vec<(Conv2d, BatchNorm2d)>,
    dense: Linear,
    head: Head,
}

impl Net {
    /// Registers the parameters.
    pub fn new(params: &Params, head: Head) -> Net {
        let root = params.root();
        let stage = |(i, (from, to)): (usize, (usize, usize))| {
            // The last one sees 26×26 pixels: a digit.
            let dilation = if i == 2 { 2 } else { 1 };
            let config =
                Conv2dConfig { padding: dilation.into(), dilation: [dilation; 2], ..Default::default() };
            let conv = Conv2d::without_bias(&root.at(&format!("conv{}", i + 1)), from, to, 3, config);
            (conv, BatchNorm2d::new(&root.at(&format!("bn{}", i + 1)), to, Default::default()))
        };
        let stages = [(1, 8), (8, 16), (16, 48)].into_iter().enumerate().map(stage).collect();
        let features = if head == Head::Flatten { 48 * (SIDE / 4) * (SIDE / 4) } else { 48 };
        Net { stages, dense: Linear::new(&root.at("dense"), features, 10), head }
    }

    /// `[N, 1, SIDE, SIDE]` to logits `[N, 10]`.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let mut h = x.clone();
        for (i, (conv, bn)) in self.stages.iter().enumerate() {
            h = bn.forward(&conv.forward(&h), mode).relu();
            if i < 2 {
                h = h.max_pool2d(2);
            }
        }
        match self.head {
            Head::Flatten => self.dense.forward(&h.flatten(1)),
            Head::GlobalAverage => self.dense.forward(&h.global_avg_pool2d().flatten(1)),
        }
    }

    /// The responses of the first stage before pooling, `[N, 8, SIDE, SIDE]`.
    pub fn features(&self, x: &Tensor) -> Tensor {
        let (conv, bn) = &self.stages[0];
        bn.forward(&conv.forward(x), Mode::Eval).relu()
    }
}

/// Trains one network on digits in the middle of the canvas, none of them moved.
pub fn train(dev: &Device, centred: &Dataset, head: Head, steps: u64, seed: u64) -> Result<Net> {
    let params = Params::new(dev, seed);
    let net = Net::new(&params, head);
    // Pixels in 0..=1: the zeros of the padding are paper.
    let plan = Plan { steps, batch: BATCH, seed, lr: 1e-2, normalize: Normalize::default() };
    classifier::train(&params, centred, &plan, |x, mode| net.forward(x, mode))?;
    Ok(net)
}

/// The shifts by `pixels` to the right and upwards.
fn directions(pixels: usize) -> Vec<(i32, i32)> {
    let p = pixels as i32;
    if p == 0 { vec![(0, 0)] } else { vec![(0, p), (-p, 0)] }
}

/// Per cent of `digits` that are read right when they are moved by 0, 1, .. [`LONGEST`] pixels, as a mean over two
/// directions.
pub fn accuracies(dev: &Device, net: &Net, digits: &Dataset) -> Result<Vec<f64>> {
    let accuracy = |pixels: usize| {
        let mut sum = 0.0;
        for by in directions(pixels) {
            let data = on_canvas(digits, SIDE, by);
            sum += classifier::accuracy(dev, &data, Normalize::default(), |x| net.forward(x, Mode::Eval))?;
        }
        Ok(sum / directions(pixels).len() as f64)
    };
    (0..=LONGEST).map(accuracy).collect()
}

/// What stands between the features and who looks at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Nothing.
    None,
    /// Max pooling by squares of this size.
    Squares(usize),
    /// The largest value of each map.
    Global,
}

/// From none to global.
pub const POOLINGS: [Pooling; 5] =
    [Pooling::None, Pooling::Squares(2), Pooling::Squares(4), Pooling::Squares(8), Pooling::Global];

impl Pooling {
    /// What to call it.
    pub fn name(self) -> String {
        match self {
            Pooling::None => "none".into(),
            Pooling::Squares(n) => format!("{n}×{n}"),
            Pooling::Global => "global".into(),
        }
    }

    fn apply(self, x: &Tensor) -> Tensor {
        match self {
            Pooling::None => x.clone(),
            Pooling::Squares(n) => x.max_pool2d(n),
            Pooling::Global => x.global_max_pool2d(),
        }
    }
}

/// ‖f(shift(x)) − f(x)‖ / ‖f(x)‖ for shifts of 0, 1, .. [`LONGEST`] pixels to the right: f are the first features of
/// `net`, max-pooled; the norm is over channels and places, the result a mean over `digits`.
pub fn changes(dev: &Device, net: &Net, digits: &Dataset, pooling: Pooling) -> Result<Vec<f64>> {
    let n = digits.len();
    let features = |right: usize| {
        let data = on_canvas(digits, SIDE, (0, right as i32));
        let pixels: Vec<f32> = (0..n).flat_map(|i| data.image(i)).map(|&v| f32::from(v) / 255.0).collect();
        let x = dev.tensor(pixels, [n, 1, SIDE, SIDE]);
        no_grad(|| pooling.apply(&net.features(&x))).to_vec()
    };
    let still = features(0)?;
    let per = still.len() / n.max(1);
    let norm =
        |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let change = |right: usize| {
        let after = features(right)?;
        let each = after
            .chunks_exact(per)
            .zip(still.chunks_exact(per))
            .map(|(a, b)| norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied()));
        Ok(each.sum::<f64>() / n as f64)
    };
    (0..=LONGEST).map(change).collect()
}
