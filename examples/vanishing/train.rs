//! Training on the adding problem.

use super::adding::Adding;
use super::net::Net;
use recurve::optim::{Rule, clip_grad_norm};
use recurve::{Clip, Optimizer, Params, Result, Tensor};

/// Losses and norms are read back so many at a time.
const READ_EVERY: usize = 25;
/// Losses of so many steps are averaged: a batch's own is noise.
pub const WINDOW: usize = 100;

/// A training.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Loss of each step. Every batch is new, so this is also how well unseen sequences are answered. Ends where the loss
    /// or the gradients stopped being numbers.
    pub losses: Vec<f32>,
    /// Norm of all gradients together at each of those steps, before clipping.
    pub norms: Vec<f32>,
}

impl Run {
    /// The mean loss of the last [`WINDOW`] steps; infinite where training broke down before `steps`.
    pub fn outcome(&self, steps: usize) -> f64 {
        if self.losses.len() < steps {
            return f64::INFINITY;
        }
        mean(&self.losses[steps.saturating_sub(WINDOW)..])
    }

    /// The step from which on the mean loss of [`WINDOW`] steps is below `loss`.
    pub fn reaches(&self, loss: f64) -> Option<usize> {
        self.losses.windows(WINDOW).position(|w| mean(w) < loss).map(|i| i + WINDOW)
    }

    /// The largest norm.
    pub fn largest_norm(&self) -> f32 {
        self.norms.iter().copied().fold(0.0, f32::max)
    }
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len().max(1) as f64
}

/// Trains for `steps` steps, with all gradients together clipped to the norm `clip`.
///
/// # Errors
/// Whatever stopped the computation.
pub fn train<R: Rule>(
    params: &Params,
    net: &Net,
    opt: &mut Optimizer<R>,
    data: &mut Adding,
    steps: usize,
    clip: Option<f64>,
) -> Result<Run> {
    opt.set_clip(clip.map(|max_norm| Clip::Norm { max_norm, norm_type: 2.0 }));
    let (mut run, mut unread) = (Run::default(), Vec::<Tensor>::new());
    for step in 1..=steps {
        let loss = net.loss(&data.next());
        let gradients = loss.backward();
        let unclipped = clip.is_none().then(|| {
            let all: Vec<Tensor> = params.named().iter().filter_map(|p| p.gradient(&gradients)).collect();
            clip_grad_norm(&all, 1.0, 2.0).1
        });
        opt.step(&gradients)?;
        let norm = unclipped.or_else(|| opt.grad_norm().cloned()).expect("clipping by norm gives the norm");
        unread.push(Tensor::concat(&[&loss.detach().reshape([1]), &norm.detach().reshape([1])], 0));
        if unread.len() == READ_EVERY || step == steps {
            for pair in unread.drain(..) {
                let pair = pair.to_vec()?;
                if !pair[0].is_finite() || !pair[1].is_finite() {
                    return Ok(run);
                }
                run.losses.push(pair[0]);
                run.norms.push(pair[1]);
            }
        }
    }
    Ok(run)
}
