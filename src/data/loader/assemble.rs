//! Puts batches together: which samples, in which order, changed and normalised.

use super::augment::{beta, stream};
use super::{Batch, LastBatch, LoaderConfig, Mix, Order, below, permutation};
use crate::data::Dataset;

/// A place between two batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub epoch: u64,
    /// Samples of this epoch that came already.
    pub next: usize,
}

/// What a batch is put into; empty at the end of an epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers {
    images: Vec<f32>,
    labels: Vec<i64>,
    indices: Vec<usize>,
    shape: Vec<usize>,
    partners: Vec<i64>,
    lambda: Vec<f32>,
    /// The place behind this batch.
    pub after: Position,
}

impl Buffers {
    /// The batch, or `None` at the end of an epoch.
    pub fn batch(&self) -> Option<Batch<'_>> {
        if self.indices.is_empty() {
            return None;
        }
        let mix = (!self.lambda.is_empty()).then_some(Mix { labels: &self.partners, lambda: &self.lambda });
        let Buffers { images, labels, indices, shape, .. } = self;
        Some(Batch { images, shape, labels, indices, mix })
    }
}

/// All that batches depend on, beside the place.
#[derive(Clone, Debug)]
pub(super) struct Assembler {
    dataset: Dataset,
    pub config: LoaderConfig,
    /// What each of the 256 bytes becomes, per entry of `config.normalize.mean`.
    tables: Vec<[f32; 256]>,
    /// The order of the epoch that was asked for last.
    order: Vec<usize>,
    /// That epoch and the seed.
    ordered: Option<(u64, u64)>,
}

impl Assembler {
    pub fn new(dataset: Dataset, config: LoaderConfig) -> Assembler {
        let table = |channel| std::array::from_fn(|byte| config.normalize.apply(channel, byte as u8));
        let tables = (0..config.normalize.mean.len()).map(table).collect();
        Assembler { dataset, config, tables, order: Vec::new(), ordered: None }
    }

    /// Puts the batch behind `at` into `into`.
    pub fn assemble(&mut self, at: Position, into: &mut Buffers) {
        self.arrange(at.epoch);
        let Buffers { images, labels, indices, shape, partners, lambda, after } = into;
        images.clear();
        labels.clear();
        indices.clear();
        partners.clear();
        lambda.clear();
        let (size, last) = (self.config.batch_size, self.config.last_batch);
        let n = (self.order.len() - at.next).min(size);
        if n == 0 || (n < size && last == LastBatch::Drop) {
            *after = Position { epoch: at.epoch.saturating_add(1), next: 0 };
            return;
        }
        *after = Position { epoch: at.epoch, next: at.next + n };
        indices.extend_from_slice(&self.order[at.next..][..n]);
        shape.clear();
        shape.extend(std::iter::once(n).chain(self.dataset.sample_shape().iter().copied()));
        labels.extend(indices.iter().map(|&i| i64::from(self.dataset.labels()[i])));
        let augment = &self.config.augment;
        if augment.is_none() {
            indices.iter().for_each(|&i| self.append_plain(images, i));
            return;
        }
        let mut other = Vec::new();
        for &i in &*indices {
            let mut rng = stream(self.config.seed, at.epoch, i);
            let start = images.len();
            self.append_changed(images, i, &mut rng);
            if augment.mixup_alpha > 0.0 {
                let partner = below(&mut rng, self.dataset.len() as u64) as usize;
                let share = beta(&mut rng, augment.mixup_alpha);
                other.clear();
                self.append_changed(&mut other, partner, &mut rng);
                images[start..].iter_mut().zip(&other).for_each(|(a, b)| *a = share * *a + (1.0 - share) * b);
                partners.push(i64::from(self.dataset.labels()[partner]));
                lambda.push(share);
            }
        }
    }

    /// Sees to the order of `epoch`.
    fn arrange(&mut self, epoch: u64) {
        let wanted = Some((epoch, self.config.seed));
        if self.ordered == wanted {
            return;
        }
        self.order = match self.config.order {
            Order::Sequential => (0..self.dataset.len()).collect(),
            Order::Shuffled => permutation(self.config.seed, epoch, self.dataset.len()),
        };
        self.ordered = wanted;
    }

    /// Appends sample `index` as it is.
    fn append_plain(&self, to: &mut Vec<f32>, index: usize) {
        let image = self.dataset.image(index);
        let channel_len = (image.len() / self.tables.len()).max(1);
        for (pixels, table) in image.chunks_exact(channel_len).zip(&self.tables) {
            to.extend(pixels.iter().map(|&byte| table[usize::from(byte)]));
        }
    }

    /// Appends sample `index`, changed by what `rng` draws.
    fn append_changed(&self, to: &mut Vec<f32>, index: usize, rng: &mut rand::rngs::ChaCha8Rng) {
        let change = self.config.augment.draw(rng);
        let [.., height, width] = *self.dataset.sample_shape() else {
            // Nothing but mixing is done with what is no picture.
            return self.append_plain(to, index);
        };
        let image = self.dataset.image(index);
        let planes = image.len() / (height * width).max(1);
        for (i, plane) in image.chunks_exact((height * width).max(1)).enumerate() {
            change.append(to, plane, width, &self.tables[i * self.tables.len() / planes]);
        }
    }
}
