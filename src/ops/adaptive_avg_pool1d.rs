//! Adaptive average pooling along one axis: [`adaptive_avg_pool2d`](crate::ops::adaptive_avg_pool2d) over images of one
//! row.
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[N, C, L]` |
//! | y | `[N, C, P]`, P of any size from 1 on |

use crate::op::{Case, Fill};
use crate::ops::adaptive_avg_pool2d::AdaptiveAvgPool2d;
use crate::ops::windows::{Parts, as_images, as_lines};
use crate::tensor::Tensor;

impl Tensor {
    /// The means of `output_size` parts of `[N, C, L]` of about equal length, which may overlap: `[N, C, P]`.
    /// (PyTorch's `adaptive_avg_pool1d`.)
    ///
    /// # Panics
    /// When L or `output_size` is 0.
    #[track_caller]
    pub fn adaptive_avg_pool1d(&self, output_size: usize) -> Tensor {
        as_lines(&as_images(self, "adaptive_avg_pool1d").adaptive_avg_pool2d([1, output_size]))
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let of = |[n, c]: [usize; 2], length: usize, output_size: usize| {
        let parts = Parts { output_size: [1, output_size] };
        Case::new(AdaptiveAvgPool2d { parts }, &[&[n, c, 1, length]])
    };
    let case = |length: usize, output_size: usize| of([1, 3], length, output_size);
    vec![
        case(11, 4).fill(Fill::Distinct).with_gradient(),
        case(3, 5).fill(Fill::Distinct).with_gradient(),
        case(1, 4),
        of([1, 1], 1, 1),
        of([0, 3], 7, 4),
        case(16_381, 2),
    ]
}
