//! Max and average pooling side by side.

use recurve::ops::avg_pool2d::AvgPool2dConfig;
use recurve::ops::max_pool2d::MaxPool2dConfig;
use recurve::{Result, Tensor, no_grad};

/// What stands for a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its largest value.
    Max,
    /// The mean of its values.
    Average,
}

/// Both kinds.
pub const KINDS: [Kind; 2] = [Kind::Max, Kind::Average];

/// Where the windows lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// Squares of this size, this far from one another.
    Squares {
        /// Rows, and columns.
        size: usize,
        /// From one window to the next.
        stride: usize,
    },
    /// One, the whole plane.
    Global,
}

impl Kind {
    /// What to call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Max => "Max",
            Kind::Average => "Average",
        }
    }

    /// Pools `[N, C, H, W]`.
    pub fn apply(self, x: &Tensor, windows: Windows) -> Tensor {
        no_grad(|| match (self, windows) {
            (Kind::Max, Windows::Squares { size, stride }) => x.max_pool2d_with(
                [size; 2],
                MaxPool2dConfig { stride: Some([stride; 2]), ..Default::default() },
            ),
            (Kind::Average, Windows::Squares { size, stride }) => x.avg_pool2d_with(
                [size; 2],
                AvgPool2dConfig { stride: Some([stride; 2]), ..Default::default() },
            ),
            (Kind::Max, Windows::Global) => x.global_max_pool2d(),
            (Kind::Average, Windows::Global) => x.global_avg_pool2d(),
        })
    }
}

/// The values of a picture or map after pooling.
#[derive(Clone, Debug, PartialEq)]
pub struct Pooled {
    /// `[C, height, width]`.
    pub values: Vec<f32>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Pooled {
    /// Reads `[1, C, H, W]`.
    pub fn read(y: &Tensor) -> Result<Pooled> {
        Ok(Pooled { values: y.to_vec()?, height: y.shape()[2], width: y.shape()[3] })
    }

    /// The largest value.
    pub fn largest(&self) -> f32 {
        self.values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    /// The mean of all values.
    pub fn mean(&self) -> f32 {
        (self.values.iter().map(|&v| f64::from(v)).sum::<f64>() / self.values.len() as f64) as f32
    }
}

/// What is left of `x` after 0, 1, .., `times` poolings of 2×2.
pub fn repeated(x: &Tensor, kind: Kind, times: usize) -> Result<Vec<Pooled>> {
    let mut x = x.clone();
    let mut all = vec![Pooled::read(&x)?];
    for _ in 0..times {
        x = kind.apply(&x, Windows::Squares { size: 2, stride: 2 });
        all.push(Pooled::read(&x)?);
    }
    Ok(all)
}
