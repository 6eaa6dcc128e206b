//! Training: windows of chorales, states carried from one to the next.

use super::data::{Chorales, VOICES};
use super::net::{Net, mean};
use super::windows::windows;
use recurve::data::loader::permutation;
use recurve::nn::Mode;
use recurve::optim::{Adam, AdamConfig, Clip};
use recurve::schedule::Schedule;
use recurve::{Params, Tensor};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

/// How training goes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Passes over the training chorales.
    pub epochs: u64,
    /// Chorales side by side.
    pub streams: usize,
    /// Steps after which backpropagation through time is cut.
    pub steps: usize,
    /// The learning rate at its highest.
    pub lr: f64,
    /// Whether it stays there. Otherwise it falls to a twentieth along half a cosine.
    pub constant: bool,
    /// Seed of the order.
    pub seed: u64,
}

/// Nats per voice and step after each epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The mean over the epoch, while the network changed.
    pub train: Vec<f64>,
    pub valid: Vec<f64>,
}

/// Trains; the weights that were best on the chorales for validation are in `best` and in the network at the end.
pub fn train(
    params: &Params,
    net: &Net,
    chorales: &Chorales,
    plan: &Plan,
    best: &Path,
) -> Result<History, Box<dyn Error>> {
    let dev = params.device();
    let mut opt = Adam::new(params, AdamConfig { lr: plan.lr, ..Default::default() });
    opt.set_clip(Some(Clip::Norm { max_norm: 5.0, norm_type: 2.0 }));
    let mut history = History::default();
    let mut step = 0;
    let start = Instant::now();
    for epoch in 0..plan.epochs {
        let order = permutation(plan.seed, epoch, chorales.train.len());
        let mut state = net.start(dev, plan.streams);
        let mut losses: Vec<(Tensor, usize)> = Vec::new();
        let all = windows(&chorales.train, &order, plan.streams, plan.steps);
        // Epochs differ by a few windows, as chorales meet others.
        let total_steps = plan.epochs * all.len() as u64;
        let schedule = Schedule::WarmupCosine {
            lr: plan.lr,
            warmup_steps: (total_steps / 20).min(50),
            total_steps,
            eta_min: plan.lr / 20.0,
        };
        let schedule = if plan.constant { Schedule::Constant { lr: plan.lr } } else { schedule };
        for window in all {
            let (logits, targets, next) = net.window(dev, &window, &state, Mode::Train);
            let loss = logits.cross_entropy(&targets);
            state = next.detach();
            opt.set_lr(schedule.at(step));
            opt.step(&loss.backward())?;
            step += 1;
            losses.push((loss.detach(), window.targets.iter().filter(|&&t| t >= 0).count()));
        }
        let (mut sum, mut count) = (0.0, 0);
        for (loss, places) in &losses {
            sum += f64::from(loss.item()?) * *places as f64;
            count += places;
        }
        let train = sum / count.max(1) as f64;
        if !train.is_finite() {
            return Err(format!("the loss of epoch {} is {train}: training has diverged", epoch + 1).into());
        }
        let by_voice = net.nats(dev, &chorales.valid)?;
        let valid = mean(by_voice);
        println!(
            "epoch {} of {}: train {train:.4}, valid {valid:.4} nats per voice and step, {} updates, {:.0} s",
            epoch + 1,
            plan.epochs,
            losses.len(),
            start.elapsed().as_secs_f64()
        );
        if history.valid.iter().all(|&v| valid < v) {
            params.save(best)?;
        }
        history.train.push(train);
        history.valid.push(valid);
    }
    params.load(best)?;
    Ok(history)
}

/// "soprano 0.61, alto 0.55, ..".
pub fn by_voice(nats: [f64; VOICES]) -> String {
    let names = super::generate::NAMES.iter().zip(nats);
    names.map(|(name, nats)| format!("{} {nats:.4}", name.to_lowercase())).collect::<Vec<_>>().join(", ")
}
