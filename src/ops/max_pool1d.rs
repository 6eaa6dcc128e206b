//! Max pooling along one axis: [`max_pool2d`](crate::ops::max_pool2d) over images of one row.
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[N, C, L]` |
//! | y, or the indices of the maxima (u32) | `[N, C, P]`, P as in `max_pool2d` |

use crate::op::{Case, Fill};
use crate::ops::max_pool2d::{Gives, MaxPool2d, MaxPool2dBackward, MaxPool2dConfig};
use crate::ops::windows::{Rounding, Windows, as_images, as_lines};
use crate::shape::Spec;
use crate::tensor::Tensor;

/// What a max pooling along one axis takes besides the window's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool1dConfig {
    /// From one window to the next; the window's size when `None`.
    pub stride: Option<usize>,
    /// Elements at both ends, at most half a window.
    pub padding: usize,
    /// From one element of a window to the next.
    pub dilation: usize,
    /// Whether the last window may reach beyond the padded end.
    pub ceil_mode: bool,
}

impl Default for MaxPool1dConfig {
    fn default() -> Self {
        MaxPool1dConfig { stride: None, padding: 0, dilation: 1, ceil_mode: false }
    }
}

impl MaxPool1dConfig {
    fn of_rows(self) -> MaxPool2dConfig {
        MaxPool2dConfig {
            stride: self.stride.map(|s| [1, s]),
            padding: [0, self.padding],
            dilation: [1, self.dilation],
            ceil_mode: self.ceil_mode,
        }
    }
}

impl Tensor {
    /// The largest element of each window of `[N, C, L]`, side by side: `[N, C, L / size]`.
    /// (PyTorch's `max_pool1d`.)
    ///
    /// # Panics
    /// When L is smaller than a window.
    #[track_caller]
    pub fn max_pool1d(&self, kernel_size: usize) -> Tensor {
        self.max_pool1d_with(kernel_size, MaxPool1dConfig::default())
    }

    /// The largest element of each window of `[N, C, L]`: `[N, C, P]`.
    ///
    /// # Panics
    /// When the windows do not fit, or padding exceeds half a window.
    #[track_caller]
    pub fn max_pool1d_with(&self, kernel_size: usize, config: MaxPool1dConfig) -> Tensor {
        as_lines(&as_images(self, "max_pool1d").max_pool2d_with([1, kernel_size], config.of_rows()))
    }

    /// Where the largest element of each window lies: indices into L (u32) of shape `[N, C, P]`.
    /// (The indices of PyTorch's `max_pool1d(return_indices=True)`.)
    ///
    /// # Panics
    /// As [`Tensor::max_pool1d_with`].
    #[track_caller]
    pub fn max_pool1d_indices(&self, kernel_size: usize, config: MaxPool1dConfig) -> Tensor {
        as_lines(&as_images(self, "max_pool1d").max_pool2d_indices([1, kernel_size], config.of_rows()))
    }
}

/// Windows along rows.
pub(crate) fn row_windows(kernel: usize, stride: usize, padding: usize, rounding: Rounding) -> Windows {
    let tiles = Windows::tiles([1, kernel]);
    Windows { stride: [1, stride], padding: [0, padding], rounding, ..tiles }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    use Rounding::{Ceil, Floor};
    let mut cases = Vec::new();
    let dilated = Windows { dilation: [1, 2], ..row_windows(3, 2, 1, Ceil) };
    for windows in [
        row_windows(2, 2, 0, Floor),
        row_windows(2, 2, 0, Ceil),
        row_windows(3, 2, 1, Floor),
        row_windows(4, 1, 2, Ceil),
        row_windows(2, 5, 0, Ceil),
        dilated,
    ] {
        let op = MaxPool2d { windows, gives: Gives::Values };
        for length in [10, 97] {
            let x = [2, 3, 1, length];
            let y = windows.output(&Spec::f32(x)).expect("windows that fit");
            cases.push(Case::new(op, &[&x]));
            cases.push(Case::new(MaxPool2d { gives: Gives::Indices, ..op }, &[&x]).fill(Fill::Ties));
            let backward = Case::new(MaxPool2dBackward { windows }, &[&x, y.dims()]).fill(Fill::Ties);
            cases.push(backward.input(1, Spec::f32(y), Fill::Normal { mean: 0.0, std: 1.0 }));
        }
        cases.push(Case::new(op, &[&[1, 2, 1, 10]]).fill(Fill::Distinct).with_gradient());
    }
    // One element, and none.
    let single = MaxPool2d { windows: row_windows(1, 1, 0, Floor), gives: Gives::Values };
    cases.extend([Case::new(single, &[&[1, 1, 1, 1]]), Case::new(single, &[&[0, 3, 1, 7]])]);
    // The longest window there may be.
    let long = row_windows(1 << 14, 1 << 14, 0, Floor);
    cases.push(Case::new(MaxPool2d { windows: long, gives: Gives::Values }, &[&[1, 1, 1, 40_000]]));
    cases
}
