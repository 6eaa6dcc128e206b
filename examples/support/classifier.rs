//! Short trainings on MNIST, where an example needs a network that has learned something.

// Each example uses a part of this.
#![allow(dead_code)]

use recurve::data::mnist::{self, Mnist};
use recurve::data::{DataError, Dataset, LastBatch, Loader, LoaderConfig, Normalize, Order};
use recurve::nn::Mode;
use recurve::optim::{Adam, AdamConfig};
use recurve::schedule::{OneCycle, Schedule};
use recurve::{Device, Params, Result, Tensor, no_grad};

/// Losses are read back so many at a time; in between, the host only queues work.
const READ_EVERY: usize = 25;

/// The data set of the repository.
pub fn load_mnist() -> Result<Mnist, DataError> {
    Mnist::load(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/mnist-data"))
}

/// How to train: Adam with a learning rate that rises and falls once.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Updates.
    pub steps: u64,
    /// Images per step.
    pub batch: usize,
    /// The learning rate at its highest.
    pub lr: f64,
    /// Seed of the order.
    pub seed: u64,
    /// How bytes become numbers.
    pub normalize: Normalize,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { steps: 100, batch: 64, lr: 3e-3, seed: 0, normalize: mnist::normalize() }
    }
}

/// Trains what `params` hold so that `forward`, from images to logits, tells the classes of `data` apart.
///
/// Returns the loss of each step.
pub fn train(
    params: &Params,
    data: &Dataset,
    plan: &Plan,
    forward: impl Fn(&Tensor, Mode) -> Tensor,
) -> Result<Vec<f32>> {
    let dev = params.device();
    let mut opt = Adam::new(params, AdamConfig { lr: plan.lr, ..Default::default() });
    let schedule = Schedule::OneCycle(OneCycle::new(plan.lr, plan.steps.max(2)));
    let mut batches = Batches::new(data, plan.batch, plan.seed, plan.normalize.clone());
    let (mut losses, mut unread) = (Vec::new(), Vec::new());
    for step in 0..plan.steps {
        let (x, y) = batches.next(dev);
        let loss = forward(&x, Mode::Train).cross_entropy(&y);
        opt.set_lr(schedule.at(step));
        opt.step(&loss.backward())?;
        unread.push(loss.detach());
        if unread.len() == READ_EVERY || step + 1 == plan.steps {
            for loss in unread.drain(..) {
                losses.push(loss.item()?);
            }
        }
    }
    Ok(losses)
}

/// Shuffled batches without end.
pub struct Batches<'d> {
    loader: Loader<'d>,
}

impl<'d> Batches<'d> {
    /// Full batches of `data`, which must have at least one.
    pub fn new(data: &'d Dataset, batch_size: usize, seed: u64, normalize: Normalize) -> Self {
        assert!(data.len() >= batch_size, "a batch of {batch_size} from {} images", data.len());
        let last_batch = LastBatch::Drop;
        let config = LoaderConfig {
            batch_size,
            order: Order::Shuffled,
            last_batch,
            seed,
            normalize,
            ..Default::default()
        };
        Batches { loader: Loader::new(data, config) }
    }

    /// The next images and their labels.
    pub fn next(&mut self, dev: &Device) -> (Tensor, Tensor) {
        let (x, y, _) = self.next_with_labels(dev);
        (x, y)
    }

    /// The next images and their labels, on the device and as they are.
    pub fn next_with_labels(&mut self, dev: &Device) -> (Tensor, Tensor, Vec<i64>) {
        loop {
            if let Some(batch) = self.loader.next_batch() {
                let labels = batch.labels.to_vec();
                return (dev.tensor(batch.images, batch.shape), dev.labels(batch.labels), labels);
            }
        }
    }
}

/// Per cent of `data` whose class gets the largest logit.
pub fn accuracy(
    dev: &Device,
    data: &Dataset,
    normalize: Normalize,
    forward: impl Fn(&Tensor) -> Tensor,
) -> Result<f64> {
    let mut loader = Loader::new(data, LoaderConfig { batch_size: 250, normalize, ..Default::default() });
    let mut right = 0;
    while let Some(batch) = loader.next_batch() {
        let x = dev.tensor(batch.images, batch.shape);
        let classes = no_grad(|| forward(&x).argmax(1)).to_vec_u32()?;
        right += classes.iter().zip(batch.labels).filter(|&(&c, &label)| i64::from(c) == label).count();
    }
    Ok(100.0 * right as f64 / data.len().max(1) as f64)
}
