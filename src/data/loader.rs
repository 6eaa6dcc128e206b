//! Batches of a data set in memory: order, position, normalisation.

use super::{DataError, Dataset};
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
    /// Where the shuffling starts from; of no importance to [`Order::Sequential`].
    pub seed: u64,
    /// How bytes become numbers.
    pub normalize: Normalize,
}

impl Default for LoaderConfig {
    /// Batches of 64 in file order, the last one kept, scaled to 0..=1.
    fn default() -> LoaderConfig {
        LoaderConfig {
            batch_size: 64,
            order: Order::Sequential,
            last_batch: LastBatch::Keep,
            seed: 0,
            normalize: Normalize::default(),
        }
    }
}

/// A [`Loader`]'s position, as plain numbers to be saved in a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoaderState {
    /// Where the shuffling starts from.
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
}

/// Cuts a [`Dataset`] into batches, epoch after epoch.
///
/// The order is a pure function of seed and epoch, so [`state`](Loader::state) is four numbers, and a
/// loader that was restored to it goes on with exactly the batches that the other one would have brought.
#[derive(Clone, Debug)]
pub struct Loader<'d> {
    dataset: &'d Dataset,
    config: LoaderConfig,
    /// What each of the 256 bytes becomes, per entry of `config.normalize.mean`.
    tables: Vec<[f32; 256]>,
    /// The order of the current epoch.
    order: Vec<usize>,
    epoch: u64,
    next: usize,
    images: Vec<f32>,
    labels: Vec<i64>,
    shape: Vec<usize>,
}

impl<'d> Loader<'d> {
    /// A loader at the start of epoch 0.
    ///
    /// # Panics
    /// When the batch size is 0, or when there is neither one mean and standard deviation nor one of each
    /// per channel.
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
        let table = |channel| std::array::from_fn(|byte| config.normalize.apply(channel, byte as u8));
        let tables = (0..mean.len()).map(table).collect();
        let shape = std::iter::once(0).chain(dataset.sample_shape().iter().copied()).collect();
        let mut loader = Loader {
            dataset,
            config,
            tables,
            order: Vec::new(),
            epoch: 0,
            next: 0,
            images: Vec::new(),
            labels: Vec::new(),
            shape,
        };
        loader.start(0, 0);
        loader
    }

    /// The next batch of this epoch, or `None` at its end; asking again starts the next epoch.
    pub fn next_batch(&mut self) -> Option<Batch<'_>> {
        let left = self.order.len() - self.next;
        let n = left.min(self.config.batch_size);
        if n == 0 || (n < self.config.batch_size && self.config.last_batch == LastBatch::Drop) {
            self.start(self.epoch.saturating_add(1), 0);
            return None;
        }
        let indices = &self.order[self.next..][..n];
        self.next += n;
        self.shape[0] = n;
        self.labels.clear();
        self.labels.extend(indices.iter().map(|&i| i64::from(self.dataset.labels()[i])));
        self.images.clear();
        for &i in indices {
            let image = self.dataset.image(i);
            let channel_len = (image.len() / self.tables.len()).max(1);
            for (pixels, table) in image.chunks_exact(channel_len).zip(&self.tables) {
                self.images.extend(pixels.iter().map(|&byte| table[usize::from(byte)]));
            }
        }
        Some(Batch { images: &self.images, shape: &self.shape, labels: &self.labels, indices })
    }

    /// How many batches [`next_batch`](Loader::next_batch) brings in a whole epoch.
    pub fn batches_per_epoch(&self) -> usize {
        match self.config.last_batch {
            LastBatch::Keep => self.dataset.len().div_ceil(self.config.batch_size),
            LastBatch::Drop => self.dataset.len() / self.config.batch_size,
        }
    }

    /// The current epoch, counted from 0.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The data set that the batches come from.
    pub fn dataset(&self) -> &'d Dataset {
        self.dataset
    }

    /// The position after the last batch that was brought.
    pub fn state(&self) -> LoaderState {
        LoaderState {
            seed: self.config.seed,
            samples: self.dataset.len() as u64,
            epoch: self.epoch,
            next: self.next as u64,
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
        self.config.seed = seed;
        self.start(epoch, next as usize);
        Ok(())
    }

    /// Goes to sample `next` of `epoch`.
    fn start(&mut self, epoch: u64, next: usize) {
        self.order = match self.config.order {
            Order::Sequential => (0..self.dataset.len()).collect(),
            Order::Shuffled => permutation(self.config.seed, epoch, self.dataset.len()),
        };
        (self.epoch, self.next) = (epoch, next);
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
