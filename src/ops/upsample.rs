//! Resampling to another size: which sizes, and where the results lie. (PyTorch's `interpolate`.)
//!
//! The ops are [`upsample_nearest2d`](super::upsample_nearest2d) and
//! [`upsample_bilinear2d`](super::upsample_bilinear2d); along one axis they work on images of one row.

use crate::ops::windows::{as_images, as_lines};
use crate::tensor::Tensor;

/// How large the result of a resampling is, each pair as (along H, along W). One number stands for both.
///
/// As in PyTorch, a factor also is the distance of the results: by a factor of 1.5, five elements become seven at
/// distances of 1 / 1.5; by size, at distances of 5 / 7.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Resize {
    /// The size itself.
    Size([usize; 2]),
    /// A multiple of the operand's size, rounded down.
    ScaleFactor([f64; 2]),
}

impl From<usize> for Resize {
    fn from(size: usize) -> Self {
        Resize::Size([size; 2])
    }
}

impl From<[usize; 2]> for Resize {
    fn from(size: [usize; 2]) -> Self {
        Resize::Size(size)
    }
}

impl From<f64> for Resize {
    fn from(factor: f64) -> Self {
        Resize::ScaleFactor([factor; 2])
    }
}

impl From<[f64; 2]> for Resize {
    fn from(factor: [f64; 2]) -> Self {
        Resize::ScaleFactor(factor)
    }
}

impl Resize {
    /// The same along W, and nothing along H.
    fn of_rows(self) -> Resize {
        match self {
            Resize::Size([_, w]) => Resize::Size([1, w]),
            Resize::ScaleFactor([_, w]) => Resize::ScaleFactor([1.0, w]),
        }
    }

    /// What becomes of an image of `[h, w]`.
    ///
    /// # Panics
    /// When a factor is no positive number, or a size above 2^31 - 1.
    #[track_caller]
    pub(crate) fn resolve(self, image: [usize; 2]) -> [Resized; 2] {
        let resized = [0, 1].map(|axis| match self {
            Resize::Size(size) => Resized { from: image[axis], to: size[axis], factor: None },
            Resize::ScaleFactor(factors) => {
                let factor = factors[axis];
                assert!(factor.is_finite() && factor > 0.0, "a scale factor of {factor}");
                Resized {
                    from: image[axis],
                    to: (image[axis] as f64 * factor) as usize,
                    factor: Some(factor),
                }
            }
        });
        for Resized { to, .. } in resized {
            assert!(
                i32::try_from(to).is_ok(),
                "resampling to {to} elements along an axis: at most {}",
                i32::MAX
            );
        }
        resized
    }
}

/// An axis and what it becomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Resized {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) factor: Option<f64>,
}

impl Resized {
    /// Whether every result is the element at its place.
    pub(crate) fn same(self) -> bool {
        self.from == self.to && self.factor.is_none_or(|f| f == 1.0)
    }

    /// This axis as it is.
    pub(crate) fn kept(self) -> Resized {
        Resized { to: self.from, factor: None, ..self }
    }
}

/// How results between elements are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The element before: PyTorch's `nearest`.
    #[default]
    Nearest,
    /// A straight line between neighbours: PyTorch's `linear` and `bilinear`.
    Linear {
        /// Whether the first and the last results are the first and the last elements. Otherwise elements are areas,
        /// whose outer edges are aligned.
        align_corners: bool,
    },
}

impl Tensor {
    /// `[N, C, L]` or `[N, C, H, W]` resampled to another size; of a pair of sizes or factors, `[N, C, L]` takes the
    /// second. (PyTorch's `interpolate` with modes `nearest`, `linear` and `bilinear`.)
    ///
    /// # Panics
    /// When an axis is empty before or after, or a factor is no positive number.
    #[track_caller]
    pub fn interpolate(&self, to: impl Into<Resize>, mode: Interpolation) -> Tensor {
        let to = to.into();
        if self.shape().rank() == 3 {
            return as_lines(&as_images(self, "interpolate").interpolate(to.of_rows(), mode));
        }
        match mode {
            Interpolation::Nearest => self.upsample_nearest2d(to),
            Interpolation::Linear { align_corners } => self.upsample_bilinear2d(to, align_corners),
        }
    }

    /// `[N, C, L]` with elements repeated or left out: the second entry of a pair of sizes or factors is taken.
    /// (PyTorch's `interpolate(mode="nearest")`.)
    ///
    /// # Panics
    /// When L is empty before or after, or a factor is no positive number.
    #[track_caller]
    pub fn upsample_nearest1d(&self, to: impl Into<Resize>) -> Tensor {
        as_lines(&as_images(self, "upsample_nearest1d").upsample_nearest2d(to.into().of_rows()))
    }

    /// `[N, C, L]` with results between neighbours on straight lines: the second entry of a pair of sizes or factors is
    /// taken. (PyTorch's `interpolate(mode="linear")`.)
    ///
    /// # Panics
    /// When L is empty before or after, or a factor is no positive number.
    #[track_caller]
    pub fn upsample_linear1d(&self, to: impl Into<Resize>, align_corners: bool) -> Tensor {
        as_lines(
            &as_images(self, "upsample_linear1d").upsample_bilinear2d(to.into().of_rows(), align_corners),
        )
    }
}
