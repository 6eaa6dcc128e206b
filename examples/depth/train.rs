//! Training by SGD with the momentum and the weight decay of the paper. The learning rate rises over the first tenth of the
//! steps and falls by half a cosine, for all networks alike.

use super::net::Net;
use super::pictures::Pictures;
use crate::support::classifier::{Batches, accuracy};
use recurve::nn::Mode;
use recurve::schedule::Schedule;
use recurve::{Params, Result, Sgd, SgdConfig, Tensor};

/// Momentum and weight decay of the paper.
const MOMENTUM: f64 = 0.9;
const WEIGHT_DECAY: f64 = 1e-4;
/// Losses are read back so many at a time.
const READ_EVERY: usize = 25;
/// Losses of so many steps are averaged: a batch's own is noise.
pub const WINDOW: usize = 20;

/// How long, by how much and on how much to train.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Channels of the first third of a network; the others have twice and four times as many.
    pub width: usize,
    /// Pictures of a step.
    pub batch: usize,
    /// Updates.
    pub steps: usize,
    /// The learning rate at its highest.
    pub lr: f64,
    /// Updates between two tests.
    pub test_every: usize,
}

/// A training.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Loss of each step; ends where it stopped being a number.
    pub losses: Vec<f32>,
    /// Per cent of each step's pictures that were taken for something else.
    pub errors: Vec<f32>,
    /// Updates done, and per cent of the test pictures that were taken for something else.
    pub tests: Vec<(usize, f64)>,
}

impl Run {
    /// Mean loss and training error of the last [`WINDOW`] steps; infinite where training broke down before `steps`.
    pub fn outcome(&self, steps: usize) -> (f64, f64) {
        if self.losses.len() < steps {
            return (f64::INFINITY, f64::INFINITY);
        }
        let mean = |values: &[f32]| {
            let last = &values[values.len().saturating_sub(WINDOW)..];
            last.iter().map(|&v| f64::from(v)).sum::<f64>() / last.len().max(1) as f64
        };
        (mean(&self.losses), mean(&self.errors))
    }

    /// The last test error.
    pub fn test_error(&self) -> f64 {
        self.tests.last().map_or(100.0, |t| t.1)
    }
}

/// Trains `net`, whose parameters are `params`, on pictures in an order by `seed`.
///
/// # Errors
/// Whatever stopped the computation.
pub fn train(params: &Params, net: &Net, data: &Pictures, plan: Plan, seed: u64) -> Result<Run> {
    let dev = params.device();
    let config =
        SgdConfig { lr: plan.lr, momentum: MOMENTUM, weight_decay: WEIGHT_DECAY, ..Default::default() };
    let mut opt = Sgd::new(params, config);
    let mut batches = Batches::new(&data.train, plan.batch, seed, data.normalize.clone());
    let mut run = Run::default();
    let mut unread: Vec<(Tensor, Tensor, Vec<i64>)> = Vec::new();
    let total_steps = plan.steps as u64;
    let schedule =
        Schedule::WarmupCosine { lr: plan.lr, warmup_steps: total_steps / 10, total_steps, eta_min: 0.0 };
    for step in 1..=plan.steps {
        let (x, y, labels) = batches.next_with_labels(dev);
        let logits = net.forward(&x, Mode::Train);
        let loss = logits.cross_entropy(&y);
        opt.set_lr(schedule.at(step as u64 - 1));
        opt.step(&loss.backward())?;
        unread.push((loss.detach(), logits.detach().argmax(1), labels));
        if unread.len() == READ_EVERY || step == plan.steps {
            for (loss, classes, labels) in unread.drain(..) {
                let loss = loss.item()?;
                if !loss.is_finite() {
                    return Ok(run);
                }
                let classes = classes.to_vec_u32()?;
                let wrong = classes.iter().zip(&labels).filter(|&(&c, &label)| i64::from(c) != label).count();
                run.losses.push(loss);
                run.errors.push(100.0 * wrong as f32 / labels.len() as f32);
            }
        }
        if step % plan.test_every == 0 || step == plan.steps {
            let right = accuracy(dev, &data.test, data.normalize.clone(), |x| net.forward(x, Mode::Eval))?;
            run.tests.push((step, 100.0 - right));
        }
    }
    Ok(run)
}
