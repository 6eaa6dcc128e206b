//! The training loop: batches made ahead on a thread, one submit per step, checkpoints with the log of losses.

use super::data::Data;
use crate::support::loss_log::LossLog;
use indicatif::{ProgressBar, ProgressStyle};
use recurve::checkpoint::{self, Progress};
use recurve::data::{Augment, Dataset, LastBatch, Loader, LoaderConfig, Normalize, Order};
use recurve::models::{ResNet, ResNetConfig};
use recurve::nn::Mode;
use recurve::ops::cross_entropy::CrossEntropyConfig;
use recurve::optim::Ema;
use recurve::schedule::Schedule;
use recurve::{Device, ParamGroup, Params, Result, Sgd, SgdConfig, Tensor, no_grad};
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// How often losses are read back; in between, the host only queues work.
const READ_EVERY: usize = 20;
/// Pictures per batch of a test.
const TEST_BATCH: usize = 250;
/// Batches made ahead.
const PREFETCH: usize = 3;

/// How to train.
#[derive(Clone, Debug)]
pub struct Plan {
    pub epochs: u64,
    pub batch: usize,
    pub lr: f64,
    pub weight_decay: f64,
    pub label_smoothing: f64,
    /// α of mixup; 0 mixes nothing.
    pub mixup: f64,
    /// Decay of the averaged weights; 0 averages nothing.
    pub ema: f64,
    /// Whether pictures are mirrored.
    pub flip: bool,
    pub seed: u64,
    pub save_every: u64,
    pub test_every: u64,
    /// Whether to say how it goes.
    pub log: bool,
}

impl fmt::Display for Plan {
    /// What a resumed run must have in common with the saved one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { epochs, batch, lr, weight_decay, label_smoothing, mixup, ema, flip, .. } = self;
        write!(
            f,
            "{epochs} epochs, batch {batch}, learning rate {lr}, weight decay {weight_decay}, label smoothing \
             {label_smoothing}, mixup {mixup}, average {ema}{}",
            if *flip { "" } else { ", not mirrored" }
        )
    }
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All epochs are done.
    Finished,
    /// Ctrl-C; the state is saved.
    Interrupted,
}

/// A network in training.
pub struct Training<'d> {
    pub net: ResNet,
    pub params: Params,
    pub plan: Plan,
    /// Loss of each step.
    pub losses: Vec<(u64, f32)>,
    /// Test accuracy in per cent, by epochs done.
    pub accuracies: Vec<(u64, f64)>,
    data: &'d Data,
    opt: Sgd,
    ema: Option<Ema>,
    loader: Loader<'d>,
    schedule: Schedule,
    step: u64,
    /// Open as long as the training lives.
    log: Option<LossLog>,
    checkpoint: PathBuf,
    interrupted: Arc<AtomicBool>,
}

impl<'d> Training<'d> {
    /// Sets everything up, or takes it up where the checkpoint in `out` stands, if there is one and `resume` says so.
    pub fn new(
        dev: &Device,
        plan: Plan,
        config: ResNetConfig,
        data: &'d Data,
        out: &Path,
        resume: bool,
    ) -> Result<Self, Box<dyn Error>> {
        let params = Params::new(dev, plan.seed);
        let net = ResNet::new(&params.root(), config);
        let (lr, weight_decay) = (plan.lr, plan.weight_decay);
        let sgd = SgdConfig { lr, momentum: 0.9, nesterov: true, weight_decay, ..Default::default() };
        let opt = Sgd::with_groups(&params, sgd, vec![ParamGroup::vectors().weight_decay(0.0)]);
        let loader = Loader::new(&data.train, loader_config(&plan, data));
        let per_epoch = loader.batches_per_epoch() as u64;
        if per_epoch == 0 {
            return Err(format!("{} pictures do not fill a batch of {}", data.train.len(), plan.batch).into());
        }
        let total_steps = plan.epochs * per_epoch;
        let schedule =
            Schedule::WarmupCosine { lr, warmup_steps: (total_steps / 20).max(1), total_steps, eta_min: 0.0 };
        let ema = (plan.ema > 0.0).then(|| Ema::new(&params, plan.ema).warm_up(true));
        let (checkpoint, log) = (out.join("checkpoint.safetensors"), out.join("loss.csv"));
        let named = |path: &Path, error| format!("{}: {error}", path.display());
        let mut training = Training {
            net,
            losses: Vec::new(),
            accuracies: Vec::new(),
            data,
            opt,
            ema,
            loader,
            schedule,
            step: 0,
            log: None,
            checkpoint,
            interrupted: Arc::default(),
            params,
            plan,
        };
        if resume && training.checkpoint.exists() {
            let bytes = training.resume()?;
            let (log, losses) = LossLog::resume(&log, bytes).map_err(|e| named(&log, e))?;
            (training.log, training.losses) = (Some(log), losses);
        } else {
            // A checkpoint of an earlier run must not lie beside a log that it does not know.
            if training.checkpoint.exists() {
                std::fs::remove_file(&training.checkpoint).map_err(|e| named(&training.checkpoint, e))?;
            }
            training.log = Some(LossLog::create(&log).map_err(|e| named(&log, e))?);
        }
        Ok(training)
    }

    /// What ends the run cleanly when it is set.
    pub fn interrupted(&self) -> Arc<AtomicBool> {
        self.interrupted.clone()
    }

    /// Where the checkpoint lies.
    pub fn checkpoint(&self) -> &Path {
        &self.checkpoint
    }

    /// Trains to the last epoch, or until Ctrl-C.
    pub fn run(&mut self) -> Result<Ended, Box<dyn Error>> {
        let bar = ProgressBar::new(self.plan.epochs * self.loader.batches_per_epoch() as u64);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {eta} left, {msg}");
        bar.set_style(style.expect("the template is valid"));
        bar.set_position(self.step);
        if !self.plan.log {
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        let (mut unread, mut since) = (Vec::new(), Instant::now());
        while self.loader.epoch() < self.plan.epochs {
            let Some(loss) = self.train_step()? else {
                self.read(&mut unread)?;
                self.end_epoch(&bar)?;
                since = Instant::now();
                continue;
            };
            unread.push((self.step, loss));
            bar.inc(1);
            let interrupted = self.interrupted.load(Ordering::Relaxed);
            if unread.len() >= READ_EVERY || interrupted {
                let pictures = unread.len() * self.plan.batch;
                self.read(&mut unread)?;
                let rate = pictures as f64 / since.elapsed().as_secs_f64();
                let loss = self.losses.last().map_or(f32::NAN, |l| l.1);
                bar.set_message(format!("loss {loss:.3}, {rate:.0} pictures/s"));
                since = Instant::now();
            }
            if interrupted || self.step.is_multiple_of(self.plan.save_every) {
                self.read(&mut unread)?;
                self.save()?;
            }
            if interrupted {
                bar.abandon();
                return Ok(Ended::Interrupted);
            }
        }
        bar.finish_and_clear();
        self.save()?;
        Ok(Ended::Finished)
    }

    /// One step on the next batch: its loss, not yet read; `None` at the end of an epoch.
    fn train_step(&mut self) -> Result<Option<Tensor>> {
        let dev = self.params.device();
        let Some(batch) = self.loader.next_batch() else { return Ok(None) };
        let x = dev.tensor(batch.images, batch.shape);
        let y = match batch.mix {
            None => dev.labels(batch.labels),
            Some(_) => {
                let classes = self.net.config.classes;
                dev.tensor(batch.probabilities(classes), [batch.labels.len(), classes])
            }
        };
        let config = CrossEntropyConfig { label_smoothing: self.plan.label_smoothing, ..Default::default() };
        let loss = self.net.forward(&x, Mode::Train).cross_entropy_with(&y, config);
        self.opt.set_lr(self.schedule.at(self.step));
        self.opt.step(&loss.backward())?;
        if let Some(ema) = &mut self.ema {
            ema.update()?;
        }
        self.step += 1;
        Ok(Some(loss.detach()))
    }

    fn read(&mut self, unread: &mut Vec<(u64, Tensor)>) -> Result<(), Box<dyn Error>> {
        for (step, loss) in unread.drain(..) {
            let value = loss.item()?;
            if !value.is_finite() {
                return Err(format!("the loss of step {step} is {value}: training has diverged").into());
            }
            self.losses.push((step, value));
            if let Some(log) = &mut self.log {
                log.push(step, value)?;
            }
        }
        Ok(())
    }

    fn end_epoch(&mut self, bar: &ProgressBar) -> Result<(), Box<dyn Error>> {
        let (epoch, epochs) = (self.loader.epoch(), self.plan.epochs);
        if !epoch.is_multiple_of(self.plan.test_every) && epoch != epochs {
            return Ok(());
        }
        let accuracy = accuracy(&self.data.test, &self.predict(&self.data.test)?);
        self.accuracies.push((epoch, accuracy));
        let recent = &self.losses[self.losses.len().saturating_sub(self.loader.batches_per_epoch())..];
        let loss = recent.iter().map(|l| f64::from(l.1)).sum::<f64>() / recent.len().max(1) as f64;
        let line =
            format!("epoch {epoch} of {epochs}: training loss {loss:.3}, test accuracy {accuracy:.1} %");
        match (self.plan.log, bar.is_hidden()) {
            (false, _) => {}
            (true, true) => println!("{line}"),
            (true, false) => bar.println(line),
        }
        Ok(())
    }

    /// The class that the network, with averaged weights if there are any, gives each picture of `set`.
    pub fn predict(&mut self, set: &Dataset) -> Result<Vec<u8>> {
        let (net, dev, normalize) = (&self.net, self.params.device(), &self.data.normalize);
        match &mut self.ema {
            None => predict(dev, net, set, normalize),
            Some(ema) => ema.apply(|| predict(dev, net, set, normalize))?,
        }
    }

    /// Writes the weights that are tested.
    pub fn save_weights(&mut self, path: &Path) -> Result<()> {
        match &mut self.ema {
            None => self.params.save(path),
            Some(ema) => ema.apply(|| self.params.save(path))?,
        }
    }

    /// Writes log and checkpoint, in this order: the log must have every row that the checkpoint counts.
    fn save(&mut self) -> Result<(), Box<dyn Error>> {
        let bytes = self.log.as_mut().map_or(Ok(0), LossLog::commit)?;
        let accuracies: String = self.accuracies.iter().map(|(e, a)| format!("{e},{a} ")).collect();
        let notes = [("plan", self.plan.to_string()), ("log", bytes.to_string()), ("accuracies", accuracies)];
        let progress = Progress {
            step: self.step,
            loader: Some(self.loader.state()),
            notes: notes.into_iter().map(|(k, v)| (k.to_string(), v)).collect(),
        };
        match &self.ema {
            None => checkpoint::save(&self.checkpoint, &self.params, &self.opt, &progress)?,
            Some(ema) => {
                checkpoint::save_with_ema(&self.checkpoint, &self.params, &self.opt, ema, &progress)?
            }
        }
        Ok(())
    }

    /// Takes up what the checkpoint holds; returns how much of the log belongs to it.
    fn resume(&mut self) -> Result<u64, Box<dyn Error>> {
        let saved = checkpoint::read_progress(&self.checkpoint)?;
        let note = |name: &str| saved.notes.get(name).map(String::as_str).unwrap_or_default();
        let (plan, now) = (note("plan"), self.plan.to_string());
        if plan != now {
            return Err(format!("the checkpoint is of a run with {plan}, not {now}: give the same").into());
        }
        match &mut self.ema {
            None => checkpoint::load(&self.checkpoint, &self.params, &mut self.opt)?,
            Some(ema) => checkpoint::load_with_ema(&self.checkpoint, &self.params, &mut self.opt, ema)?,
        };
        self.step = saved.step;
        self.loader
            .restore(saved.loader.ok_or("the checkpoint does not say where in the data it stands")?)?;
        let accuracy = |pair: &str| {
            let (epoch, percent) = pair.split_once(',')?;
            Some((epoch.parse().ok()?, percent.parse().ok()?))
        };
        self.accuracies = note("accuracies").split_whitespace().filter_map(accuracy).collect();
        if self.plan.log {
            println!("going on at step {} of epoch {}", self.step, self.loader.epoch() + 1);
        }
        Ok(note("log").parse().map_err(|_| "the checkpoint does not know its log of losses")?)
    }
}

fn loader_config(plan: &Plan, data: &Data) -> LoaderConfig {
    let horizontal_flip = if plan.flip { 0.5 } else { 0.0 };
    LoaderConfig {
        batch_size: plan.batch,
        order: Order::Shuffled,
        // All batches have one shape, so one plan serves all steps.
        last_batch: LastBatch::Drop,
        seed: plan.seed,
        augment: Augment { crop_padding: 4, horizontal_flip, mixup_alpha: plan.mixup },
        normalize: data.normalize.clone(),
        prefetch: PREFETCH,
    }
}

/// The class that `net` gives each picture of `set`.
pub fn predict(dev: &Device, net: &ResNet, set: &Dataset, normalize: &Normalize) -> Result<Vec<u8>> {
    let config = LoaderConfig {
        batch_size: TEST_BATCH,
        normalize: normalize.clone(),
        prefetch: 1,
        ..Default::default()
    };
    let mut loader = Loader::new(set, config);
    let mut all = Vec::with_capacity(set.len());
    while let Some(batch) = loader.next_batch() {
        let x = dev.tensor(batch.images, batch.shape);
        let classes = no_grad(|| net.forward(&x, Mode::Eval).argmax(1)).to_vec_u32()?;
        all.extend(classes.into_iter().map(|class| class as u8));
    }
    Ok(all)
}

/// Per cent of `set` whose class was found.
pub fn accuracy(set: &Dataset, predicted: &[u8]) -> f64 {
    let right = set.labels().iter().zip(predicted).filter(|(label, found)| label == found).count();
    100.0 * right as f64 / set.len().max(1) as f64
}
