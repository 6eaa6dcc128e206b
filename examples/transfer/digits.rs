//! Halves of MNIST.

use recurve::data::Dataset;

/// Digits of each half.
pub const CLASSES: usize = 5;

/// The first `n` pictures of the digits from `first` to `first + 4`, with labels from 0.
pub fn half(set: &Dataset, first: u8, n: usize) -> Dataset {
    let digits = first..first + CLASSES as u8;
    let chosen = (0..set.len()).filter(|&i| digits.contains(&set.labels()[i])).take(n);
    let chosen = set.subset(chosen);
    let images = (0..chosen.len()).flat_map(|i| chosen.image(i)).copied().collect();
    Dataset::new(images, set.sample_shape(), chosen.labels().iter().map(|label| label - first).collect())
}
