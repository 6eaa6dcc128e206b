//! Drawing from what a network predicts.

// Each example uses a part of this.
#![allow(dead_code)]

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

/// Draws classes by their logits; the same draws for the same seed and stream, everywhere.
#[derive(Debug)]
pub struct Sampler {
    random: ChaCha8Rng,
    temperature: f64,
}

impl Sampler {
    /// One of many streams of a seed. Probabilities go with exp(logit / temperature): below 1 the likely becomes
    /// likelier, at 0 the likeliest is certain.
    pub fn new(seed: u64, stream: u64, temperature: f64) -> Sampler {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream);
        Sampler { random, temperature }
    }

    /// A class. (Logits that are no numbers have no part in it.)
    pub fn draw(&mut self, logits: &[f32]) -> usize {
        let likeliest = (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
        if self.temperature <= 0.0 {
            return likeliest;
        }
        let highest = f64::from(logits[likeliest]);
        let weight = |&l: &f32| ((f64::from(l) - highest) / self.temperature).exp();
        let weights: Vec<f64> =
            logits.iter().map(|l| Some(weight(l)).filter(|w| w.is_finite()).unwrap_or(0.0)).collect();
        // 53 random bits as a number in 0..1, of the sum of all weights.
        let uniform = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut left = uniform * weights.iter().sum::<f64>();
        for (i, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return i;
            }
        }
        likeliest
    }
}
