//! The training loop: one submit per step, losses read every fiftieth, checkpoints on the way.

use crate::net::Net;
use crate::options::Options;
use indicatif::{ProgressBar, ProgressStyle};
use recurve::checkpoint::{self, Progress};
use recurve::data::mnist::{self, Mnist};
use recurve::data::{Dataset, LastBatch, Loader, LoaderConfig, Order};
use recurve::nn::Mode;
use recurve::optim::{Adam, AdamConfig};
use recurve::schedule::{OneCycle, Schedule};
use recurve::{Device, Params, Result, Tensor, no_grad};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// How often losses are read back; in between, the host only queues work.
const READ_EVERY: usize = 50;
/// Images per batch of an evaluation.
const EVALUATION_BATCH: usize = 500;

/// How a run came to its end.
pub enum Ended {
    /// All epochs are done.
    Finished,
    /// Ctrl-C; the state is saved.
    Interrupted,
}

/// What the network made of a data set.
pub struct Evaluation {
    /// The class that each image was taken for.
    pub predicted: Vec<u8>,
    /// The probability it gave that class.
    pub probability: Vec<f32>,
    /// Percent right.
    pub accuracy: f64,
}

/// A network in training.
pub struct Training<'d> {
    pub net: Net,
    pub params: Params,
    pub dev: Device,
    /// Loss of each step.
    pub losses: Vec<(u64, f32)>,
    /// Test accuracy in percent after each epoch.
    pub accuracies: Vec<(u64, f64)>,
    pub mnist: &'d Mnist,
    /// The last evaluation on the test set.
    pub evaluation: Option<Evaluation>,
    opt: Adam,
    loader: Loader<'d>,
    schedule: Schedule,
    step: u64,
    /// What a resumed run must have in common with the saved one.
    plan: String,
    epochs: u64,
    save_every: u64,
    checkpoint: PathBuf,
    history: PathBuf,
    interrupted: Arc<AtomicBool>,
}

impl<'d> Training<'d> {
    /// Sets everything up, or takes it up where the checkpoint stands.
    pub fn new(
        dev: &Device,
        options: &Options,
        mnist: &'d Mnist,
        train: &'d Dataset,
    ) -> Result<Self, Box<dyn Error>> {
        let params = Params::new(dev, options.seed);
        let net = Net::new(&params);
        let opt = Adam::new(&params, AdamConfig { lr: options.lr, ..Default::default() });
        let loader = Loader::new(
            train,
            LoaderConfig {
                batch_size: options.batch as usize,
                order: Order::Shuffled,
                last_batch: LastBatch::Keep,
                seed: options.seed,
                normalize: mnist::normalize(),
                ..Default::default()
            },
        );
        let epochs = options.epochs.unwrap_or(if dev.is_reference() { 1 } else { 3 });
        let total = epochs * loader.batches_per_epoch() as u64;
        let schedule = Schedule::OneCycle(OneCycle::new(options.lr, total.max(2)));
        let mut training = Training {
            net,
            params,
            dev: dev.clone(),
            losses: Vec::new(),
            accuracies: Vec::new(),
            mnist,
            evaluation: None,
            opt,
            loader,
            schedule,
            step: 0,
            plan: format!("{epochs} epochs, batch {}, learning rate {}", options.batch, options.lr),
            epochs,
            save_every: options.save_every,
            checkpoint: options.checkpoint(),
            history: options.out.join("history.csv"),
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

    /// Trains to the last epoch, or until Ctrl-C.
    pub fn run(&mut self) -> Result<Ended, Box<dyn Error>> {
        let per_epoch = self.loader.batches_per_epoch() as u64;
        let bar = ProgressBar::new(self.epochs * per_epoch);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {eta} left, {msg}");
        bar.set_style(style.expect("the template is valid"));
        bar.set_position(self.step);
        let (mut unread, mut since) = (Vec::new(), Instant::now());
        while self.loader.state().epoch < self.epochs {
            let Some((loss, images)) = self.train_step()? else {
                self.read(&mut unread)?;
                self.end_epoch(&bar)?;
                since = Instant::now();
                continue;
            };
            unread.push((self.step, loss, images));
            bar.inc(1);
            let interrupted = self.interrupted.load(Ordering::Relaxed);
            if unread.len() >= READ_EVERY || interrupted {
                let images: usize = unread.iter().map(|u| u.2).sum();
                self.read(&mut unread)?;
                let rate = images as f64 / since.elapsed().as_secs_f64();
                let loss = self.losses.last().map_or(f32::NAN, |l| l.1);
                bar.set_message(format!("loss {loss:.4}, {rate:.0} images/s"));
                if bar.is_hidden() {
                    println!("step {} loss {loss:.4} {rate:.0} images/s", self.step);
                }
                since = Instant::now();
            }
            if interrupted || self.step.is_multiple_of(self.save_every) {
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

    /// One step on the next batch: its loss, not yet read, and its size; `None` at the end of an epoch.
    pub fn train_step(&mut self) -> Result<Option<(Tensor, usize)>> {
        let Some(batch) = self.loader.next_batch() else { return Ok(None) };
        let images = batch.labels.len();
        let x = self.dev.tensor(batch.images, batch.shape);
        let y = self.dev.labels(batch.labels);
        let loss = self.net.forward(&x, Mode::Train).cross_entropy(&y);
        self.opt.set_lr(self.schedule.at(self.step));
        self.opt.step(&loss.backward())?;
        self.step += 1;
        Ok(Some((loss.detach(), images)))
    }

    fn read(&mut self, unread: &mut Vec<(u64, Tensor, usize)>) -> Result<(), Box<dyn Error>> {
        for (step, loss, _) in unread.drain(..) {
            let value = loss.item()?;
            if !value.is_finite() {
                return Err(format!("the loss of step {step} is {value}: training has diverged").into());
            }
            self.losses.push((step, value));
        }
        Ok(())
    }

    fn end_epoch(&mut self, bar: &ProgressBar) -> Result<()> {
        let evaluation = evaluate(&self.dev, &self.net, &self.mnist.test)?;
        let accuracy = evaluation.accuracy;
        self.evaluation = Some(evaluation);
        let epoch = self.loader.state().epoch;
        self.accuracies.push((epoch, accuracy));
        let line = format!("epoch {epoch} of {}: test accuracy {accuracy:.2} %", self.epochs);
        if bar.is_hidden() {
            println!("{line}")
        } else {
            bar.println(line)
        }
        self.save()
    }

    /// Writes the checkpoint, and the history for the learning curve.
    pub fn save(&self) -> Result<()> {
        let notes = [("plan".to_string(), self.plan.clone())].into();
        let progress = Progress { step: self.step, loader: Some(self.loader.state()), notes };
        checkpoint::save(&self.checkpoint, &self.params, &self.opt, &progress)?;
        let mut text = String::new();
        self.losses.iter().for_each(|(step, loss)| text += &format!("loss,{step},{loss}\n"));
        self.accuracies.iter().for_each(|(epoch, percent)| text += &format!("accuracy,{epoch},{percent}\n"));
        // The history only feeds a picture: a run goes on without it.
        if let Err(error) = std::fs::write(&self.history, text) {
            eprintln!("{}: {error}", self.history.display());
        }
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Box<dyn Error>> {
        let progress = checkpoint::load(&self.checkpoint, &self.params, &mut self.opt)?;
        match progress.notes.get("plan") {
            Some(plan) if *plan != self.plan => {
                return Err(format!(
                    "the checkpoint is of a run with {plan}, not {}: give the same",
                    self.plan
                )
                .into());
            }
            _ => {}
        }
        self.step = progress.step;
        let state = progress.loader.unwrap_or_else(|| self.loader.state());
        self.loader.restore(state)?;
        println!("going on at step {} of epoch {}", self.step, state.epoch + 1);
        for line in std::fs::read_to_string(&self.history).unwrap_or_default().lines() {
            let fields: Vec<&str> = line.split(',').collect();
            match fields[..] {
                ["loss", step, loss] => {
                    if let (Ok(step), Ok(loss)) = (step.parse(), loss.parse())
                        && step <= self.step
                    {
                        self.losses.push((step, loss));
                    }
                }
                ["accuracy", epoch, percent] => {
                    if let (Ok(epoch), Ok(percent)) = (epoch.parse(), percent.parse())
                        && epoch <= state.epoch
                    {
                        self.accuracies.push((epoch, percent));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Classes and probabilities that the network gives the images of `data`.
pub fn evaluate(dev: &Device, net: &Net, data: &Dataset) -> Result<Evaluation> {
    let config =
        LoaderConfig { batch_size: EVALUATION_BATCH, normalize: mnist::normalize(), ..Default::default() };
    let mut loader = Loader::new(data, config);
    let mut all = Evaluation { predicted: Vec::new(), probability: Vec::new(), accuracy: 0.0 };
    while let Some(batch) = loader.next_batch() {
        let (classes, probabilities) = no_grad(|| {
            let x = dev.tensor(batch.images, batch.shape);
            let p = net.forward(&x, Mode::Eval).softmax(1);
            (p.argmax(1), p.max(&[1]))
        });
        all.predicted.extend(classes.to_vec_u32()?.into_iter().map(|c| c as u8));
        all.probability.extend(probabilities.to_vec()?);
    }
    let right = all.predicted.iter().zip(data.labels()).filter(|(p, t)| p == t).count();
    all.accuracy = 100.0 * right as f64 / data.len().max(1) as f64;
    Ok(all)
}
