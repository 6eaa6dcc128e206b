//! Random numbers of initial values, and orthogonal matrices made of them.

use crate::shape::Shape;
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use std::f64::consts::TAU;

/// Random numbers that belong to one name.
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    pub fn new(seed: u64, name: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"recurve: initial values");
        hash.update(seed.to_le_bytes());
        hash.update(name.as_bytes());
        Draw(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// Uniform in 0..1, a multiple of 2^-53.
    fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * 2f64.powi(-53)
    }

    pub fn uniform(&mut self, n: usize, low: f64, high: f64) -> Vec<f32> {
        (0..n).map(|_| (low + (high - low) * self.unit()) as f32).collect()
    }

    /// Two standard normal numbers: Box and Muller, 1958.
    fn normal_pair(&mut self) -> [f64; 2] {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let angle = TAU * self.unit();
        [radius * angle.cos(), radius * angle.sin()]
    }

    pub fn normals(&mut self, n: usize, mean: f64, std: f64) -> Vec<f32> {
        let pairs = (0..n.div_ceil(2)).flat_map(|_| self.normal_pair());
        pairs.take(n).map(|v| (mean + std * v) as f32).collect()
    }
}

/// Gram-Schmidt on normal vectors. Its triangular factor has a positive diagonal, which makes the result uniform among
/// orthogonal matrices, as PyTorch's change of signs does (Mezzadri, 2006, arXiv math-ph/0609050).
pub(super) fn orthogonal(shape: Shape, gain: f64, draw: &mut Draw) -> Vec<f32> {
    let (rows, columns) = (shape[0], shape.span(1, shape.rank()));
    let (count, len) = (rows.min(columns), rows.max(columns));
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    while vectors.len() < count {
        let pairs = (0..len.div_ceil(2)).flat_map(|_| draw.normal_pair());
        let mut v: Vec<f64> = pairs.take(len).collect();
        // Once leaves a rest of rounding errors that the second pass takes away.
        for _ in 0..2 {
            for u in &vectors {
                let along: f64 = u.iter().zip(&v).map(|(a, b)| a * b).sum();
                v.iter_mut().zip(u).for_each(|(v, u)| *v -= along * u);
            }
        }
        let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        v.iter_mut().for_each(|v| *v /= norm);
        vectors.push(v);
    }
    let at = |r: usize, c: usize| if rows <= columns { vectors[r][c] } else { vectors[c][r] };
    (0..rows * columns).map(|i| (gain * at(i / columns, i % columns)) as f32).collect()
}
