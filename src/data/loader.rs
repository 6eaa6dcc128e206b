//! Batches of a data set in memory: order, position, augmentation, normalisation; made when asked for, or ahead.

mod ahead;
mod assemble;
mod augment;

pub use augment::Augment;

use super::{DataError, Dataset};
use ahead::Ahead;
use assemble::{Assembler, Buffers, Position};
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

/// The order in which an epoch visits the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// As they lie in the data set.
    Sequential,
    /// By a new [`permutation`] in every epoch.
    Shuffled,
}

/// What becomes of the samples left at the end of an epoch when they do not fill a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LastBatch {
    /// They come as a smaller batch.
    Keep,
    /// They are left out of this epoch.
    Drop,
}

/// Turns bytes into numbers around zero: `(byte / 255 − mean) / std`, in `f32`, as PyTorch's `ToTensor`
/// and `Normalize` do.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalize {
    /// Mean per channel, or one for all channels. Channels are the first dimension of a sample.
    pub mean: Vec<f32>,
    /// Standard deviation per channel, or one for all; as many as means.
    pub std: Vec<f32>,
}

impl Default for Normalize {
    /// Only scales to 0..=1.
    fn default() -> Normalize {
        Normalize { mean: vec![0.0], std: vec![1.0] }
    }
}

impl Normalize {
    /// What `byte` becomes in `channel`.
    fn apply(&self, channel: usize, byte: u8) -> f32 {
        (f32::from(byte) / 255.0 - self.mean[channel]) / self.std[channel]
    }
}

/// How to cut a data set into batches.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderConfig {
    /// Samples per batch.
    pub batch_size: usize,
    /// The order within an epoch.
    pub order: Order,
    /// What becomes of an incomplete batch.
    pub last_batch: LastBatch,
    /// Where shuffling and augmentation start from.
    pub seed: u64,
    /// Random changes of the samples.
    pub augment: Augment,
    /// How bytes become numbers.
    pub normalize: Normalize,
    /// Batches made ahead of their use, on a thread of the loader's own; with 0, and where there are no threads, each is
    /// made when it is asked for. It changes nothing about the batches.
    pub prefetch: usize,
}

impl Default for LoaderConfig {
    /// Batches of 64 in file order, the last one kept, unchanged, scaled to 0..=1, none ahead.
    fn default() -> LoaderConfig {
        LoaderConfig {
            batch_size: 64,
            order: Order::Sequential,
            last_batch: LastBatch::Keep,
            seed: 0,
            augment: Augment::default(),
            normalize: Normalize::default(),
            prefetch: 0,
        }
    }
}

/// A [`Loader`]'s position, as plain numbers to be saved in a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoaderState {
    /// Where shuffling and augmentation start from.
    pub seed: u64,
    /// Samples in the data set.
    pub samples: u64,
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// How many samples of this epoch came already.
    pub next: u64,
}

/// One batch; it lies in the loader's buffers until the next one is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Batch<'a> {
    /// Normalised samples of shape [`shape`](Batch::shape).
    pub images: &'a [f32],
    /// `[N, ..sample_shape]`, as in `[N, C, H, W]`.
    pub shape: &'a [usize],
    /// The label of each sample, of shape `[N]`.
    pub labels: &'a [i64],
    /// Where in the data set each sample lies, of shape `[N]`.
    pub indices: &'a [usize],
    /// What was mixed into the samples, with [`Augment::mixup_alpha`].
    pub mix: Option<Mix<'a>>,
}

/// What mixup did: sample i is `lambda[i]` of one with label [`Batch::labels`]`[i]` and the rest of one with
/// `labels[i]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix<'a> {
    /// The label of what was mixed in, of shape `[N]`.
    pub labels: &'a [i64],
    /// The share of the sample itself, of shape `[N]`.
    pub lambda: &'a [f32],
}

impl Batch<'_> {
    /// A probability for each class of each sample, `[N, classes]`: λ for its label and 1 − λ for that of what was mixed
    /// in, or 1 for its label. Targets for a cross-entropy with
    /// [`Target::Probabilities`](crate::ops::cross_entropy::Target::Probabilities).
    ///
    /// # Panics
    /// When a label is not below `classes`.
    #[track_caller]
    pub fn probabilities(&self, classes: usize) -> Vec<f32> {
        let mut all = vec![0.0; self.labels.len() * classes];
        for (i, row) in all.chunks_exact_mut(classes.max(1)).enumerate() {
            let lambda = self.mix.map_or(1.0, |mix| mix.lambda[i]);
            row[self.labels[i] as usize] = lambda;
            if let Some(mix) = self.mix {
                row[mix.labels[i] as usize] += 1.0 - lambda;
            }
        }
        all
    }
}

/// Cuts a [`Dataset`] into batches, epoch after epoch.
///
/// Order and augmentation are pure functions of seed, epoch and index, so [`state`](Loader::state) is four numbers, and
/// a loader that was restored to it goes on with exactly the batches that the other one would have brought. Batches that
/// were made ahead but not brought yet do not count; they are made again.
///
/// A thread that makes batches ahead ends with its loader. Should it panic, [`next_batch`](Loader::next_batch) panics
/// with the same message, where that batch is due.
#[derive(Debug)]
pub struct Loader<'d> {
    dataset: &'d Dataset,
    assembler: Assembler,
    position: Position,
    held: Buffers,
    ahead: Option<Ahead<Buffers>>,
}

impl Clone for Loader<'_> {
    /// A loader at the same position, with a thread of its own.
    fn clone(&self) -> Self {
        let Loader { dataset, assembler, position, held, ahead: _ } = self;
        let (assembler, held) = (assembler.clone(), held.clone());
        Loader { dataset, assembler, position: *position, held, ahead: None }
    }
}

impl<'d> Loader<'d> {
    /// A loader at the start of epoch 0.
    ///
    /// # Panics
    /// When the batch size is 0, when there is neither one mean and standard deviation nor one of each per channel, or
    /// when the augmentation makes no sense for such samples.
    #[track_caller]
    pub fn new(dataset: &'d Dataset, config: LoaderConfig) -> Loader<'d> {
        assert!(config.batch_size > 0, "Loader::new: a batch size of 0");
        let Normalize { mean, std } = &config.normalize;
        let channels = dataset.sample_shape().first().copied().unwrap_or(1);
        assert!(
            mean.len() == std.len() && (mean.len() == 1 || mean.len() == channels),
            "Loader::new: {} means and {} standard deviations for samples of shape {:?}",
            mean.len(),
            std.len(),
            dataset.sample_shape(),
        );
        assert!(
            mean.len() == 1 || dataset.sample_shape().len() > 2 || config.augment == Augment::default(),
            "Loader::new: pictures without channels are changed with one mean and standard deviation",
        );
        config.augment.check(dataset.sample_shape());
        let assembler = Assembler::new(dataset.clone(), config);
        Loader { dataset, assembler, position: Position::default(), held: Buffers::default(), ahead: None }
    }

    /// The next batch of this epoch, or `None` at its end; asking again starts the next epoch.
    pub fn next_batch(&mut self) -> Option<Batch<'_>> {
        if self.assembler.config.prefetch > 0 && self.ahead.is_none() {
            let (mut assembler, mut at) = (self.assembler.clone(), self.position);
            let fill = move |buffers: &mut Buffers| {
                assembler.assemble(at, buffers);
                at = buffers.after;
            };
            match Ahead::start(self.assembler.config.prefetch, fill) {
                Ok(ahead) => self.ahead = Some(ahead),
                Err(_) => self.assembler.config.prefetch = 0,
            }
        }
        match &mut self.ahead {
            None => self.assembler.assemble(self.position, &mut self.held),
            Some(ahead) => {
                if let Err(panic) = ahead.next(&mut self.held) {
                    self.ahead = None;
                    std::panic::resume_unwind(panic);
                }
            }
        }
        self.position = self.held.after;
        self.held.batch()
    }

    /// How many batches [`next_batch`](Loader::next_batch) brings in a whole epoch.
    pub fn batches_per_epoch(&self) -> usize {
        let config = &self.assembler.config;
        match config.last_batch {
            LastBatch::Keep => self.dataset.len().div_ceil(config.batch_size),
            LastBatch::Drop => self.dataset.len() / config.batch_size,
        }
    }

    /// The current epoch, counted from 0.
    pub fn epoch(&self) -> u64 {
        self.position.epoch
    }

    /// The data set that the batches come from.
    pub fn dataset(&self) -> &'d Dataset {
        self.dataset
    }

    /// The position after the last batch that was brought.
    pub fn state(&self) -> LoaderState {
        LoaderState {
            seed: self.assembler.config.seed,
            samples: self.dataset.len() as u64,
            epoch: self.position.epoch,
            next: self.position.next as u64,
        }
    }

    /// Goes to a saved position, and on with its seed.
    ///
    /// # Errors
    /// [`DataError::StateMismatch`] when `state` is of a data set of another size, or lies outside of it;
    /// the loader then stays where it is.
    pub fn restore(&mut self, state: LoaderState) -> Result<(), DataError> {
        let expected_samples = self.dataset.len() as u64;
        let LoaderState { seed, samples, epoch, next } = state;
        if samples != expected_samples || next > samples {
            return Err(DataError::StateMismatch { next, samples, expected_samples });
        }
        self.ahead = None;
        self.assembler.config.seed = seed;
        self.position = Position { epoch, next: next as usize };
        Ok(())
    }
}

/// The numbers `0..len` in the order of `epoch`: a function of its arguments alone, on every platform.
///
/// R. Durstenfeld's shuffle (CACM 7(7), 1964) on ChaCha8, the key of which is seed and epoch; numbers below
/// a bound by D. Lemire's method ("Fast random integer generation in an interval", 2019). It is written out
/// here because a checkpoint has to stay valid, which `rand`'s own shuffle does not promise.
pub fn permutation(seed: u64, epoch: u64, len: usize) -> Vec<usize> {
    let mut key = *b"................recurve: shuffle";
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&epoch.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    let mut order: Vec<usize> = (0..len).collect();
    for i in (1..len).rev() {
        order.swap(i, below(&mut rng, i as u64 + 1) as usize);
    }
    order
}

/// A uniform number below `bound`.
fn below(rng: &mut ChaCha8Rng, bound: u64) -> u64 {
    // The low half of the product tells which of the draws would favour some results over others.
    let unfair = bound.wrapping_neg() % bound;
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(bound);
        if product as u64 >= unfair {
            return (product >> 64) as u64;
        }
    }
}
