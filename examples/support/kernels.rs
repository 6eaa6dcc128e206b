//! The kernels of classical image processing.

// Each example uses a part of this.
#![allow(dead_code)]

/// A square kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// What to call it.
    pub name: String,
    /// Rows, and columns.
    pub size: usize,
    /// `[size, size]`.
    pub weights: Vec<f32>,
}

impl Kernel {
    fn new(name: &str, size: usize, weights: &[f32]) -> Kernel {
        assert_eq!(weights.len(), size * size, "{name} of {size}x{size}");
        Kernel { name: name.into(), size, weights: weights.to_vec() }
    }

    /// One tap: leaves a picture as it is.
    pub fn identity() -> Kernel {
        Kernel::new("Identity", 1, &[1.0])
    }

    /// A bell of standard deviation `sigma` pixels, of sum 1.
    pub fn gaussian(size: usize, sigma: f32) -> Kernel {
        let middle = (size as f32 - 1.0) / 2.0;
        let bell = |i: usize| (-(i as f32 - middle).powi(2) / (2.0 * sigma * sigma)).exp();
        let raw: Vec<f32> = (0..size * size).map(|i| bell(i / size) * bell(i % size)).collect();
        let sum: f32 = raw.iter().sum();
        let weights: Vec<f32> = raw.iter().map(|v| v / sum).collect();
        Kernel::new("Gaussian", size, &weights)
    }

    /// The change from left to right.
    pub fn sobel_x() -> Kernel {
        Kernel::new("Sobel x", 3, &[-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0])
    }

    /// The change from top to bottom.
    pub fn sobel_y() -> Kernel {
        Kernel::new("Sobel y", 3, &[-1.0, -2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0])
    }

    /// How much the surroundings are brighter than the middle.
    pub fn laplacian() -> Kernel {
        Kernel::new("Laplacian", 3, &[0.0, 1.0, 0.0, 1.0, -4.0, 1.0, 0.0, 1.0, 0.0])
    }

    /// The picture minus its Laplacian.
    pub fn sharpen() -> Kernel {
        Kernel::new("Sharpen", 3, &[0.0, -1.0, 0.0, -1.0, 5.0, -1.0, 0.0, -1.0, 0.0])
    }

    /// The sum of the weights: how much brighter a picture becomes.
    pub fn sum(&self) -> f32 {
        self.weights.iter().sum()
    }
}
