//! What the layers of the network make of a digit, step by step.

use crate::net::Net;
use recurve::data::Dataset;
use recurve::data::mnist::{self, MEAN, STD};
use recurve::data::{Loader, LoaderConfig};
use recurve::nn::{BatchNorm2d, Conv2d, Mode};
use recurve::{Device, Result, Tensor, no_grad};

/// Maps of all channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Maps {
    /// `[channels, side, side]`.
    pub values: Vec<f32>,
    /// Rows, and columns.
    pub side: usize,
}

impl Maps {
    fn read(y: &Tensor) -> Result<Maps> {
        Ok(Maps { values: y.to_vec()?, side: y.shape()[2] })
    }

    /// The map of one channel.
    pub fn channel(&self, index: usize) -> &[f32] {
        let size = self.side * self.side;
        &self.values[index * size..][..size]
    }

    /// The share of values that are exactly zero.
    pub fn silent(&self) -> f64 {
        self.values.iter().filter(|&&v| v == 0.0).count() as f64 / self.values.len() as f64
    }
}

/// A convolutional stage of the network, opened up.
#[derive(Clone, Debug)]
pub struct Stage {
    /// After the convolution.
    pub conv: Maps,
    /// After batch normalisation and ReLU.
    pub relu: Maps,
    /// After max pooling.
    pub pool: Maps,
}

/// A digit and its way through both stages.
#[derive(Clone, Debug)]
pub struct Traced {
    /// What it is.
    pub label: u8,
    /// 28×28, from 0 to 1.
    pub digit: Vec<f32>,
    /// conv1 and conv2.
    pub stages: [Stage; 2],
}

/// Follows the first image of class `label` through the network.
pub fn trace(dev: &Device, net: &Net, data: &Dataset, label: u8) -> Result<Option<Traced>> {
    let Some(index) = data.labels().iter().position(|&l| l == label) else { return Ok(None) };
    let digit: Vec<f32> = data.image(index).iter().map(|&v| f32::from(v) / 255.0).collect();
    let normal: Vec<f32> = digit.iter().map(|v| (v - MEAN) / STD).collect();
    let x = dev.tensor(normal, [1, 1, 28, 28]);
    let (one, y) = stage(&x, &net.conv1, &net.bn1)?;
    let (two, _) = stage(&y, &net.conv2, &net.bn2)?;
    Ok(Some(Traced { label, digit, stages: [one, two] }))
}

fn stage(x: &Tensor, conv: &Conv2d, bn: &BatchNorm2d) -> Result<(Stage, Tensor)> {
    let (y, relu, pool) = no_grad(|| {
        let y = conv.forward(x);
        let relu = bn.forward(&y, Mode::Eval).relu();
        let pool = relu.max_pool2d(2);
        (y, relu, pool)
    });
    Ok((Stage { conv: Maps::read(&y)?, relu: Maps::read(&relu)?, pool: Maps::read(&pool)? }, pool))
}

/// The `n` channels of a stage that respond most strongly to some of the digits, in the order of their numbers.
pub fn strongest(traced: &[Traced], stage: usize, n: usize) -> Vec<usize> {
    let channels = |t: &Traced| t.stages[stage].pool.values.len() / t.stages[stage].pool.side.pow(2);
    let strength = |c: usize| -> f32 {
        traced.iter().map(|t| t.stages[stage].pool.channel(c).iter().map(|v| v * v).sum::<f32>()).sum()
    };
    let mut order: Vec<usize> = (0..traced.first().map_or(0, channels)).collect();
    order.sort_by(|&a, &b| strength(b).total_cmp(&strength(a)));
    order.truncate(n);
    order.sort_unstable();
    order
}

/// Pixels of the digit that one value of conv2 sees, per axis: 3 values of the pooled maps are 6 of conv1's, which see
/// 8 pixels.
pub const FIELD: usize = 8;

/// The part of a digit that a channel of conv2 sees, where it responds most strongly.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// `[FIELD, FIELD]`, from 0 to 1; black outside of the digit.
    pub pixels: Vec<f32>,
    /// The channel's response.
    pub response: f32,
}

/// For each channel of conv2 the `n` digits of `data` that it responds to most strongly, strongest first.
pub fn favourites(dev: &Device, net: &Net, data: &Dataset, n: usize) -> Result<Vec<Vec<Patch>>> {
    let config = LoaderConfig { batch_size: 100, normalize: mnist::normalize(), ..Default::default() };
    let mut loader = Loader::new(data, config);
    let mut all: Vec<Vec<(f32, usize, usize)>> = vec![Vec::new(); net.conv2.weight.shape()[0]];
    while let Some(batch) = loader.next_batch() {
        let y = no_grad(|| {
            let pooled = net.stage1(&dev.tensor(batch.images, batch.shape), Mode::Eval);
            net.bn2.forward(&net.conv2.forward(&pooled), Mode::Eval).relu()
        });
        let (values, size) = (y.to_vec()?, y.shape().span(2, 4));
        for (i, maps) in values.chunks_exact(all.len() * size).enumerate() {
            for (channel, map) in all.iter_mut().zip(maps.chunks_exact(size)) {
                let place = (0..size).max_by(|&a, &b| map[a].total_cmp(&map[b])).unwrap_or(0);
                channel.push((map[place], batch.indices[i], place));
            }
        }
    }
    let patch = |&(response, index, place): &(f32, usize, usize)| {
        // Row i of conv2 sees rows 2i − 3 to 2i + 4 of the digit.
        let pixel = |i: usize| {
            let (y, x) = (
                (2 * (place / 14) + i / FIELD).checked_sub(3)?,
                (2 * (place % 14) + i % FIELD).checked_sub(3)?,
            );
            (y < 28 && x < 28).then(|| f32::from(data.image(index)[y * 28 + x]) / 255.0)
        };
        Patch { pixels: (0..FIELD * FIELD).map(|i| pixel(i).unwrap_or(0.0)).collect(), response }
    };
    for channel in &mut all {
        channel.sort_by(|a, b| b.0.total_cmp(&a.0));
    }
    Ok(all.iter().map(|channel| channel.iter().take(n).map(patch).collect()).collect())
}

/// How far weights have moved, relative to their size at first.
pub fn moved(initial: &[f32], learned: &[f32]) -> f32 {
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
    norm(&mut initial.iter().zip(learned).map(|(a, b)| b - a)) / norm(&mut initial.iter().copied())
}
