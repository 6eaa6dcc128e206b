//! Dropout: y = x / (1 - p) where a hash of seed and index keeps the element, else 0.
//!
//! | tensor | shape |
//! |---|---|
//! | x | any |
//! | y | as x |
//!
//! Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, JMLR 15, 2014 (in PyTorch's
//! inverted form, which scales while training). The mask is a function of seed and flat index, the same on the CPU and
//! on every GPU, so the gradient computes it again and nothing is stored.

use crate::op::{Case, Scalar};
use crate::pointwise::{Arg, Function, Pointwise};
use crate::tensor::Tensor;

impl Tensor {
    /// Sets each element to 0 with probability `p` and divides the others by 1 - p.
    ///
    /// `p` is clamped to 0..=1; at 1 all elements become 0. The same `seed` drops the same elements: take another for
    /// every call and step. Seed and `p` are inputs of the program, so they make no new plan.
    ///
    /// # Panics
    /// When the tensor is not f32.
    #[track_caller]
    pub fn dropout(&self, p: f64, seed: u64) -> Tensor {
        Tensor::apply1(op(), &[self], &scalars(p.clamp(0.0, 1.0), seed))
    }
}

fn op() -> Pointwise {
    Pointwise::instr(Function::Dropout, vec![Arg::Input(0), Arg::Scalar(0), Arg::Scalar(1), Arg::Scalar(2)])
}

fn scalars(p: f64, seed: u64) -> [Scalar; 3] {
    [Scalar::F(p), Scalar::U(seed as u32), Scalar::U((seed >> 32) as u32)]
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let case = |shape: &[usize], p: f64, seed: u64| Case::new(op(), &[shape]).scalars(&scalars(p, seed));
    vec![
        case(&[5, 7], 0.5, 1).with_gradient(),
        case(&[16], 0.0, 2).with_gradient(),
        case(&[33], 1.0, 3).with_gradient(),
        case(&[0], 0.5, 4),
        case(&[1], 0.25, 5),
        case(&[64, 3, 29], 0.1, 0xdead_beef_0123_4567),
        case(&[100_003], 0.3, u64::MAX),
    ]
}

#[cfg(test)]
mod tests {
    use crate::pointwise::dropout_keeps;

    /// Kept shares, over indices and over seeds, stay within five standard deviations of a fair coin's.
    #[test]
    fn masks_are_fair_and_independent() {
        const N: u32 = 200_000;
        let near = |share: f64, p: f64, n: f64, what: &str| {
            let bound = 5.0 * (p * (1.0 - p) / n).sqrt();
            assert!((share - p).abs() < bound, "{what}: {share} is not {p} ± {bound}");
        };
        for p in [0.1, 0.5, 0.9] {
            let keep = 1.0 - p;
            for seed in [(0, 0), (1, 0), (0, 1), (u32::MAX, 77)] {
                let kept: Vec<bool> = (0..N).map(|i| dropout_keeps(i, p, seed)).collect();
                let share = |count: usize| count as f64 / N as f64;
                near(share(kept.iter().filter(|&&k| k).count()), keep, N as f64, "kept");
                // Neighbours, elements a row apart, and another seed's mask are independent.
                for lag in [1, 2, 64, 1000] {
                    let both = kept.iter().zip(&kept[lag..]).filter(|(a, b)| **a && **b).count();
                    let n = N as f64 - lag as f64;
                    near(both as f64 / n, keep * keep, n / 3.0, "lag");
                }
                let other =
                    (0..N).filter(|&i| kept[i as usize] && dropout_keeps(i, p, (seed.0 ^ 2, seed.1))).count();
                near(share(other), keep * keep, N as f64, "seeds");
            }
            let seeds = (0..N).filter(|&s| dropout_keeps(12, p, (s, 3))).count();
            near(seeds as f64 / N as f64, keep, N as f64, "over seeds");
        }
    }

    /// Counts of 8-bit patterns of consecutive decisions: chi-squared with 255 degrees of freedom.
    #[test]
    fn patterns_of_neighbours_are_uniform() {
        let mut counts = [0u32; 256];
        const WORDS: u32 = 51_200;
        for w in 0..WORDS {
            let pattern =
                (0..8).fold(0, |bits, b| bits << 1 | dropout_keeps(8 * w + b, 0.5, (42, 0)) as usize);
            counts[pattern] += 1;
        }
        let expected = WORDS as f64 / 256.0;
        let chi2: f64 = counts.iter().map(|&c| (c as f64 - expected).powi(2) / expected).sum();
        assert!((150.0..370.0).contains(&chi2), "chi-squared {chi2} of 255 degrees of freedom");
    }
}
