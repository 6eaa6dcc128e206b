//! Average pooling along one axis: [`avg_pool2d`](crate::ops::avg_pool2d) over images of one row.
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[N, C, L]` |
//! | y | `[N, C, P]`, P as in [`max_pool2d`](crate::ops::max_pool2d) with dilation 1 |

use crate::op::{Case, Fill};
use crate::ops::avg_pool2d::{AvgPool2d, AvgPool2dBackward, AvgPool2dConfig, Divisor};
use crate::ops::max_pool1d::row_windows;
use crate::ops::windows::{Rounding, as_images, as_lines};
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;

/// What an average pooling along one axis takes besides the window's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool1dConfig {
    /// From one window to the next; the window's size when `None`.
    pub stride: Option<usize>,
    /// Elements at both ends, at most half a window.
    pub padding: usize,
    /// Whether the last window may reach beyond the padded end.
    pub ceil_mode: bool,
    /// Whether the divisor counts padding.
    pub count_include_pad: bool,
}

impl Default for AvgPool1dConfig {
    fn default() -> Self {
        AvgPool1dConfig { stride: None, padding: 0, ceil_mode: false, count_include_pad: true }
    }
}

impl Tensor {
    /// The mean of each window of `[N, C, L]`, side by side: `[N, C, L / size]`. (PyTorch's `avg_pool1d`.)
    ///
    /// # Panics
    /// When L is smaller than a window.
    #[track_caller]
    pub fn avg_pool1d(&self, kernel_size: usize) -> Tensor {
        self.avg_pool1d_with(kernel_size, AvgPool1dConfig::default())
    }

    /// The mean of each window of `[N, C, L]`: `[N, C, P]`.
    ///
    /// # Panics
    /// When the windows do not fit, or padding exceeds half a window.
    #[track_caller]
    pub fn avg_pool1d_with(&self, kernel_size: usize, config: AvgPool1dConfig) -> Tensor {
        let of_rows = AvgPool2dConfig {
            stride: config.stride.map(|s| [1, s]),
            padding: [0, config.padding],
            ceil_mode: config.ceil_mode,
            count_include_pad: config.count_include_pad,
            divisor_override: None,
        };
        as_lines(&as_images(self, "avg_pool1d").avg_pool2d_with([1, kernel_size], of_rows))
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    use Rounding::{Ceil, Floor};
    let normal = Fill::Normal { mean: 0.5, std: 1.0 };
    let mut cases = Vec::new();
    for divisor in [Divisor::Padded, Divisor::Image] {
        for windows in [
            row_windows(2, 2, 0, Floor),
            row_windows(2, 2, 0, Ceil),
            row_windows(3, 2, 1, Floor),
            row_windows(4, 3, 2, Ceil),
            row_windows(2, 5, 0, Ceil),
        ] {
            let pool = AvgPool2d { windows, divisor };
            for x in [[1, 2, 1, 11], [2, 3, 1, 97]] {
                let y = windows.output(&Spec::f32(x)).expect("windows that fit");
                let backward = AvgPool2dBackward { pool, input: Shape::from(x) };
                for case in [Case::new(pool, &[&x]), Case::new(backward, &[y.dims()])] {
                    let case = case.fill(normal);
                    cases.push(if x[3] == 11 { case.with_gradient() } else { case });
                }
            }
        }
    }
    // One element, and none.
    let single = AvgPool2d { windows: row_windows(1, 1, 0, Floor), divisor: Divisor::Padded };
    cases.extend([Case::new(single, &[&[1, 1, 1, 1]]), Case::new(single, &[&[0, 3, 1, 7]])]);
    // The longest window there may be.
    let pool = AvgPool2d { windows: row_windows(1 << 14, 1 << 14, 0, Floor), divisor: Divisor::Padded };
    cases.push(Case::new(pool, &[&[1, 1, 1, 40_000]]));
    cases
}
