//! Truncated backpropagation through time: states are carried from batch to batch, gradients are not.

use super::model::{Model, State};
use super::options::Options;
use super::text::{Batch, Corpus, Streams};
use indicatif::{ProgressBar, ProgressStyle};
use recurve::checkpoint::{self, Progress};
use recurve::nn::Mode;
use recurve::ops::cross_entropy::{CrossEntropyConfig, Reduction};
use recurve::optim::{Adam, AdamConfig, Clip};
use recurve::schedule::Schedule;
use recurve::{Device, Result, Tensor, no_grad};
use std::error::Error;
use std::f64::consts::LN_2;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// How often losses are read back; in between, the host only queues work.
const READ_EVERY: usize = 20;
/// Streams of the test.
const TEST_STREAMS: usize = 32;

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All epochs are done.
    Finished,
    /// Ctrl-C; the state is saved.
    Interrupted,
}

/// A model in training.
pub struct Training<'c> {
    pub model: Model,
    /// Bits per character of each step.
    pub losses: Vec<(u64, f64)>,
    /// Bits per character of the test tunes, by step.
    pub tests: Vec<(u64, f64)>,
    corpus: &'c Corpus,
    options: Options,
    opt: Adam,
    schedule: Schedule,
    streams: Streams,
    state: State,
    step: u64,
    /// What a resumed run must have in common with the saved one.
    plan: String,
    per_epoch: u64,
    interrupted: Arc<AtomicBool>,
}

impl<'c> Training<'c> {
    /// Sets everything up, or takes it up where the checkpoint stands.
    pub fn new(dev: &Device, options: &Options, corpus: &'c Corpus) -> Result<Self, Box<dyn Error>> {
        let model = Model::new(dev, options.seed, options.config(&corpus.symbols));
        let mut opt = Adam::new(&model.params, AdamConfig { lr: options.lr, ..Default::default() });
        opt.set_clip(Some(Clip::Norm { max_norm: options.clip, norm_type: 2.0 }));
        let streams = corpus.epoch(options.seed, 0, options.streams, options.steps)?;
        let per_epoch = streams.batches(options.steps) as u64;
        let total_steps = options.epochs * per_epoch;
        let warmup_steps = (total_steps / 20).min(100);
        let eta_min = options.lr / 100.0;
        let mut training = Training {
            state: model.start(options.streams),
            model,
            losses: Vec::new(),
            tests: Vec::new(),
            corpus,
            options: options.clone(),
            opt,
            schedule: Schedule::WarmupCosine { lr: options.lr, warmup_steps, total_steps, eta_min },
            streams,
            step: 0,
            plan: options.plan(corpus.characters().0),
            per_epoch,
            interrupted: Arc::default(),
        };
        if options.resume {
            training.resume()?;
        }
        Ok(training)
    }

    /// What ends the run cleanly when it is set.
    pub fn interrupted(&self) -> Arc<AtomicBool> {
        self.interrupted.clone()
    }

    /// Steps in all.
    pub fn steps(&self) -> u64 {
        self.options.epochs * self.per_epoch
    }

    /// Trains to the last epoch, or until Ctrl-C.
    pub fn run(&mut self) -> Result<Ended, Box<dyn Error>> {
        let bar = ProgressBar::new(self.steps());
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {eta} left, {msg}");
        bar.set_style(style.expect("the template is valid"));
        bar.set_position(self.step);
        let (mut unread, mut since) = (Vec::new(), Instant::now());
        while self.step < self.steps() {
            unread.push((self.step + 1, self.train_step()?));
            bar.inc(1);
            let interrupted = self.interrupted.load(Ordering::Relaxed);
            let ends_epoch = self.step.is_multiple_of(self.per_epoch);
            if unread.len() >= READ_EVERY || interrupted || ends_epoch {
                let count = unread.len();
                let bits = self.read(&mut unread)?;
                let rate = (count * self.options.steps * self.options.streams) as f64
                    / since.elapsed().as_secs_f64();
                bar.set_message(format!("train {bits:.3} bits per character, {rate:.0} characters/s"));
                if bar.is_hidden() {
                    println!(
                        "step {}: train {bits:.3} bits per character, {rate:.0} characters/s",
                        self.step
                    );
                }
                since = Instant::now();
            }
            if ends_epoch {
                self.test(&bar)?;
                since = Instant::now();
            }
            if interrupted || ends_epoch || self.step.is_multiple_of(self.options.save_every) {
                self.read(&mut unread)?;
                self.save()?;
            }
            if interrupted {
                bar.abandon();
                return Ok(Ended::Interrupted);
            }
        }
        bar.finish_and_clear();
        Ok(Ended::Finished)
    }

    /// One step on the next batch: its loss in nats, not yet read.
    pub fn train_step(&mut self) -> Result<Tensor, Box<dyn Error>> {
        let (epoch, place) = (self.step / self.per_epoch, self.step % self.per_epoch);
        if place == 0 && epoch > 0 {
            let Options { seed, streams, steps, .. } = self.options;
            self.streams = self.corpus.epoch(seed, epoch, streams, steps)?;
            self.state = self.model.start(streams);
        }
        let batch = self.streams.batch(place as usize, self.options.steps);
        let (inputs, targets) = upload(self.model.params.device(), &batch, self.options.streams);
        let (logits, state) = self.model.forward(&inputs, &self.state, Mode::Train);
        let loss = logits.cross_entropy(&targets);
        // The next batch begins with these values, and its gradient ends there.
        self.state = state.detach();
        self.opt.set_lr(self.schedule.at(self.step));
        self.opt.step(&loss.backward())?;
        self.step += 1;
        Ok(loss.detach())
    }

    /// Takes losses in; the mean of them in bits.
    fn read(&mut self, unread: &mut Vec<(u64, Tensor)>) -> Result<f64, Box<dyn Error>> {
        let (mut sum, count) = (0.0, unread.len());
        for (step, loss) in unread.drain(..) {
            let bits = f64::from(loss.item()?) / LN_2;
            if !bits.is_finite() {
                return Err(format!("the loss of step {step} is {bits}: training has diverged").into());
            }
            self.losses.push((step, bits));
            sum += bits;
        }
        Ok(sum / count.max(1) as f64)
    }

    fn test(&mut self, bar: &ProgressBar) -> Result<()> {
        let bits = bits_per_character(&self.model, self.corpus, self.options.steps)?;
        self.tests.push((self.step, bits));
        let (epoch, epochs) = (self.step / self.per_epoch, self.options.epochs);
        let recent = &self.losses[self.losses.len().saturating_sub(self.per_epoch as usize)..];
        let train = recent.iter().map(|l| l.1).sum::<f64>() / recent.len().max(1) as f64;
        let line = format!("epoch {epoch} of {epochs}: train {train:.3}, test {bits:.3} bits per character");
        if bar.is_hidden() {
            println!("{line}")
        } else {
            bar.println(line)
        }
        Ok(())
    }

    fn checkpoint(&self) -> PathBuf {
        self.options.checkpoint()
    }

    /// Writes the checkpoint: weights, the optimiser's state, the states that are carried on, and how it went so far.
    pub fn save(&self) -> Result<()> {
        self.model.keep(&self.state)?;
        let curve =
            |points: &[(u64, f64)]| points.iter().map(|(s, v)| format!("{s},{v} ")).collect::<String>();
        let notes = [
            ("model", self.model.config.to_note()),
            ("plan", self.plan.clone()),
            ("losses", curve(&self.losses)),
            ("tests", curve(&self.tests)),
        ];
        let notes = notes.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
        let progress = Progress { step: self.step, loader: None, notes };
        checkpoint::save(self.checkpoint(), &self.model.params, &self.opt, &progress)
    }

    fn resume(&mut self) -> Result<(), Box<dyn Error>> {
        let saved = checkpoint::read_progress(self.checkpoint())?;
        let note = |name: &str| saved.notes.get(name).map(String::as_str).unwrap_or_default();
        if note("model") != self.model.config.to_note() {
            return Err("the checkpoint is of another model or another text: give the same options".into());
        }
        if note("plan") != self.plan {
            let (saved, asked) = (note("plan"), &self.plan);
            return Err(format!("the checkpoint is of a run with {saved}, not {asked}: give the same").into());
        }
        let progress = checkpoint::load(self.checkpoint(), &self.model.params, &mut self.opt)?;
        self.step = progress.step;
        let epoch = self.step / self.per_epoch;
        println!("going on at step {} of epoch {}", self.step, epoch + 1);
        let Options { seed, streams, steps, .. } = self.options;
        self.streams = self.corpus.epoch(seed, epoch, streams, steps)?;
        self.state = self.model.kept();
        let curve = |name: &str| -> Vec<(u64, f64)> {
            let points = progress.notes.get(name).map(String::as_str).unwrap_or_default().split_whitespace();
            points
                .filter_map(|p| p.split_once(',').and_then(|(s, v)| Some((s.parse().ok()?, v.parse().ok()?))))
                .collect()
        };
        (self.losses, self.tests) = (curve("losses"), curve("tests"));
        Ok(())
    }
}

/// `[steps, streams]` symbols and `[steps·streams]` targets.
fn upload(dev: &Device, batch: &Batch, streams: usize) -> (Tensor, Tensor) {
    (dev.indices(&batch.inputs, [batch.inputs.len() / streams, streams]), dev.labels(&batch.targets))
}

/// What the model needs for a character of the test tunes: the mean of -log2 p over all of them.
pub fn bits_per_character(model: &Model, corpus: &Corpus, steps: usize) -> Result<f64> {
    let streams = corpus.test(TEST_STREAMS);
    let mut state = model.start(TEST_STREAMS);
    let (mut nats, mut count) = (0.0, 0);
    for index in 0..streams.batches(steps) {
        let batch = streams.batch(index, steps);
        let (inputs, targets) = upload(model.params.device(), &batch, TEST_STREAMS);
        let sum = no_grad(|| {
            let (logits, next) = model.forward(&inputs, &state, Mode::Eval);
            state = next;
            let config = CrossEntropyConfig { reduction: Reduction::Sum, ..Default::default() };
            logits.cross_entropy_with(&targets, config)
        });
        nats += f64::from(sum.item()?);
        count += batch.targets.iter().filter(|&&t| t >= 0).count();
    }
    Ok(nats / LN_2 / count.max(1) as f64)
}
