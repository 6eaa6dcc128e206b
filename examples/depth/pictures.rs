//! What the networks learn from: some of the digits of MNIST, or pictures of CIFAR-10, at half their size.

use recurve::data::{Dataset, Normalize};
use recurve::{Device, Tensor};

/// Pictures to learn from and others to test on.
pub struct Pictures {
    /// To learn from.
    pub train: Dataset,
    /// To test on.
    pub test: Dataset,
    /// Makes the training pictures' mean 0 and standard deviation 1 in each channel.
    pub normalize: Normalize,
}

impl Pictures {
    /// The first `train` and `test` pictures of two sets, halved.
    pub fn new(train: &Dataset, test: &Dataset) -> Pictures {
        let (train, test) = (halved(train), halved(test));
        Pictures { normalize: moments(&train), train, test }
    }

    /// The first picture, and the next one of another class, `[1, C, H, W]` each.
    pub fn two_classes(&self, dev: &Device) -> [Tensor; 2] {
        let labels = self.train.labels();
        let other = labels.iter().position(|&l| l != labels[0]).unwrap_or(0);
        let Normalize { mean, std } = &self.normalize;
        let picture = |i: usize| {
            let pixels = self.train.image(i);
            let plane = pixels.len() / mean.len();
            let value = |(at, &v): (usize, &u8)| (f32::from(v) / 255.0 - mean[at / plane]) / std[at / plane];
            let values: Vec<f32> = pixels.iter().enumerate().map(value).collect();
            let shape: Vec<usize> = [1].iter().chain(self.train.sample_shape()).copied().collect();
            dev.tensor(values, shape)
        };
        [picture(0), picture(other)]
    }

    /// Channels of a picture.
    pub fn channels(&self) -> usize {
        self.train.sample_shape()[0]
    }
}

/// Each square of 2×2 pixels becomes its mean.
fn halved(data: &Dataset) -> Dataset {
    let &[c, h, w] = data.sample_shape() else { panic!("pictures have channels, rows and columns") };
    let (rows, columns) = (h / 2, w / 2);
    let mut pixels = Vec::with_capacity(data.len() * c * rows * columns);
    for i in 0..data.len() {
        for plane in data.image(i).chunks_exact(h * w) {
            for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
                let at = |dy: usize, dx: usize| u16::from(plane[(2 * y + dy) * w + 2 * x + dx]);
                pixels.push(((at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1) + 2) / 4) as u8);
            }
        }
    }
    Dataset::new(pixels, &[c, rows, columns], data.labels().to_vec())
}

/// Mean and standard deviation of each channel, as parts of 255.
fn moments(data: &Dataset) -> Normalize {
    let channels = data.sample_shape()[0];
    let plane = data.sample_shape()[1..].iter().product::<usize>();
    let mut sums = vec![(0.0, 0.0); channels];
    for i in 0..data.len() {
        for (pixels, sum) in data.image(i).chunks_exact(plane).zip(&mut sums) {
            for v in pixels.iter().map(|&v| f64::from(v) / 255.0) {
                *sum = (sum.0 + v, sum.1 + v * v);
            }
        }
    }
    let n = (data.len() * plane).max(1) as f64;
    let std = |(sum, squares): (f64, f64)| (squares / n - (sum / n).powi(2)).max(1e-6).sqrt() as f32;
    Normalize {
        mean: sums.iter().map(|s| (s.0 / n) as f32).collect(),
        std: sums.iter().map(|&s| std(s)).collect(),
    }
}
