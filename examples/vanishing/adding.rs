//! The adding problem (Hochreiter and Schmidhuber 1997): which sum have the two numbers that were marked?

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use recurve::{Device, Tensor};

/// The mean squared error of always answering 1: the variance of a sum of two uniform numbers. (Le, Jaitly and Hinton 2015
/// have 0.1767, which is a slip.)
pub const BASELINE: f64 = 1.0 / 6.0;

/// The fewest steps that a sequence can have: two marks lie in its first half.
pub const SHORTEST: usize = 4;

/// Sequences drawn at random, without end.
pub struct Adding {
    dev: Device,
    random: ChaCha8Rng,
    length: usize,
    batch: usize,
}

/// A batch of sequences.
pub struct Batch {
    /// `[T, B, 2]`: a number in 0..1, and a mark that is 1 at two steps.
    pub x: Tensor,
    /// The sums of the marked numbers, `[B, 1]`.
    pub sum: Tensor,
}

impl Adding {
    /// Batches of `batch` sequences of `length` steps; each stream of a seed has its own.
    ///
    /// # Panics
    /// When a sequence is shorter than [`SHORTEST`].
    pub fn new(dev: &Device, length: usize, batch: usize, seed: u64, stream: u64) -> Adding {
        assert!(length >= SHORTEST, "two marks in the first half of {length} steps");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream);
        Adding { dev: dev.clone(), random, length, batch }
    }

    /// The next batch. As in the paper, one mark is among the first tenth of the steps and the other in the first half,
    /// so what was marked has to be kept for at least half of the sequence.
    pub fn next(&mut self) -> Batch {
        let (t, b) = (self.length, self.batch);
        let mut x = vec![0.0; t * b * 2];
        let mut sums = Vec::with_capacity(b);
        for column in 0..b {
            for step in 0..t {
                x[2 * (step * b + column)] = self.random.random::<f32>();
            }
            let early = self.random.random_range(0..(t / 10).max(1));
            let late = match self.random.random_range(0..t / 2 - 1) {
                step if step < early => step,
                step => step + 1,
            };
            let mut mark = |step: usize| {
                let at = 2 * (step * b + column);
                x[at + 1] = 1.0;
                x[at]
            };
            sums.push(mark(early) + mark(late));
        }
        Batch { x: self.dev.tensor(x, [t, b, 2]), sum: self.dev.tensor(sums, [b, 1]) }
    }
}
