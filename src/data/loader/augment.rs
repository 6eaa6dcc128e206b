//! Random changes of samples.

use super::below;
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

/// Random changes of samples while they are put into batches, so that a network sees no picture twice.
///
/// What becomes of a sample in an epoch is a function of the loader's seed, the epoch and the sample's index in the data
/// set: neither the size of batches nor how far ahead they are made changes it, and a loader restored in mid-epoch goes
/// on with the same pictures. Pictures are samples of shape `[.., H, W]`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Augment {
    /// Rows and columns of zero bytes around a picture, out of which one of its own size is cut at a random place; 0
    /// leaves it where it is. torchvision: `RandomCrop(size, padding)`.
    pub crop_padding: usize,
    /// How likely a picture is to be mirrored left to right. torchvision: `RandomHorizontalFlip`.
    pub horizontal_flip: f64,
    /// α of mixup: each sample becomes λ times itself and 1 − λ times another one, with λ from Beta(α, α). 0 mixes
    /// nothing; see [`Batch::mix`](super::Batch::mix). H. Zhang et al., "mixup: Beyond empirical risk minimization",
    /// 2018, arXiv:1710.09412, with the partner drawn from the whole data set.
    pub mixup_alpha: f64,
}

/// What is to be done with one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Rows and columns that the picture moves up and to the left.
    shift: (isize, isize),
    flip: bool,
}

impl Augment {
    /// Whether anything is to be done at all.
    pub(super) fn is_none(&self) -> bool {
        *self == Augment::default()
    }

    /// Panics unless it can be done with samples of `shape`.
    #[track_caller]
    pub(super) fn check(&self, shape: &[usize]) {
        let Augment { crop_padding, horizontal_flip, mixup_alpha } = *self;
        assert!(
            (0.0..=1.0).contains(&horizontal_flip),
            "Loader::new: a flip with probability {horizontal_flip}"
        );
        assert!(mixup_alpha >= 0.0 && mixup_alpha.is_finite(), "Loader::new: mixup with α = {mixup_alpha}");
        let moves = crop_padding > 0 || horizontal_flip > 0.0;
        assert!(
            !moves || shape.len() >= 2,
            "Loader::new: samples of shape {shape:?} are no pictures to crop or flip"
        );
    }

    /// Draws what becomes of the next picture. The number of draws does not depend on what is switched on, so that
    /// switching one change off leaves the others as they are.
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng) -> Change {
        let flip = unit(rng) < self.horizontal_flip;
        let padding = self.crop_padding as isize;
        let mut offset = || below(rng, 2 * self.crop_padding as u64 + 1) as isize - padding;
        Change { shift: (offset(), offset()), flip }
    }
}

impl Change {
    /// Appends one plane of `width` columns, each byte by `table`; what comes from outside is the byte 0.
    pub(super) fn append(self, to: &mut Vec<f32>, plane: &[u8], width: usize, table: &[f32; 256]) {
        let height = plane.len() / width.max(1);
        for y in 0..height {
            let row = y.checked_add_signed(self.shift.0).filter(|&row| row < height);
            let row = row.map(|row| &plane[row * width..][..width]);
            to.extend((0..width).map(|x| {
                let x = if self.flip { width - 1 - x } else { x };
                let byte = row.and_then(|row| row.get(x.checked_add_signed(self.shift.1)?));
                table[usize::from(byte.copied().unwrap_or(0))]
            }));
        }
    }
}

/// The random numbers of one sample in one epoch: ChaCha8, the key of which is all three.
pub(super) fn stream(seed: u64, epoch: u64, index: usize) -> ChaCha8Rng {
    let mut key = *b"........................augment:";
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&epoch.to_le_bytes());
    key[16..24].copy_from_slice(&(index as u64).to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// A number of Beta(α, α).
pub(super) fn beta(rng: &mut ChaCha8Rng, alpha: f64) -> f32 {
    let (a, b) = (ln_gamma_variate(rng, alpha), ln_gamma_variate(rng, alpha));
    // X / (X + Y); by logarithms, because both are below the smallest number for a small α.
    (1.0 / (1.0 + (b - a).exp())) as f32
}

/// The logarithm of a number of Gamma(α, 1), which is that of one of Gamma(α + 1, 1) times a power of a uniform one.
/// G. Marsaglia, W. W. Tsang, "A simple method for generating gamma variables", ACM TOMS 26(3), 2000.
fn ln_gamma_variate(rng: &mut ChaCha8Rng, alpha: f64) -> f64 {
    let d = alpha + 1.0 - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && (1.0 - unit(rng)).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return (d * v).ln() + (1.0 - unit(rng)).ln() / alpha;
        }
    }
}

/// A normal number, by G. E. P. Box and M. E. Muller (1958).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - unit(rng)).ln()).sqrt();
    radius * (2.0 * std::f64::consts::PI * unit(rng)).cos()
}

/// A uniform number of at least 0 and below 1.
fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 * 2f64.powi(-53)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta_has_its_mean_and_variance() {
        for alpha in [0.05, 0.2, 1.0, 4.0, 50.0] {
            let mut rng = stream(1, 2, 3);
            let n = 20_000;
            let draws: Vec<f64> = (0..n).map(|_| f64::from(beta(&mut rng, alpha))).collect();
            assert!(draws.iter().all(|v| (0.0..=1.0).contains(v)), "α = {alpha}");
            let mean = draws.iter().sum::<f64>() / n as f64;
            let variance = draws.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            // Four standard errors of the mean; as many per cent of the variance are several of its own.
            assert!((mean - 0.5).abs() < 4.0 * (expected / f64::from(n)).sqrt(), "α = {alpha}: mean {mean}");
            assert!((variance / expected - 1.0).abs() < 0.04, "α = {alpha}: {variance} for {expected}");
        }
    }

    #[test]
    fn beta_of_1_is_uniform() {
        let mut rng = stream(4, 0, 0);
        let mut counts = [0i64; 10];
        (0..10_000).for_each(|_| counts[(beta(&mut rng, 1.0) * 10.0).min(9.0) as usize] += 1);
        // Chi-square with 9 degrees of freedom stays below 27.9 in 99.9 % of all cases; the seed is fixed.
        let chi_square: f64 = counts.iter().map(|&n| ((n - 1000) as f64).powi(2) / 1000.0).sum();
        assert!(chi_square < 27.9, "{chi_square}");
    }
}
