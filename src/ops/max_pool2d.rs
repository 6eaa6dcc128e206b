//! Max pooling: `y[n, c, p, q] = max_{r, s} x[n, c, p·stride + r·dilation - padding, q·stride + s·dilation - padding]`
//! over the positions inside the image. Of equal elements the first in row-major order is the maximum: the whole
//! gradient of the window goes to it.
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[N, C, H, W]` |
//! | y, or the indices `h·W + w` of the maxima (u32) | `[N, C, P, Q]` |
//!
//! `P = (H + 2·padding - dilation·(kernel - 1) - 1) / stride + 1`, rounded down, or up with [`Rounding::Ceil`], where
//! a last window that would start behind the image and its first padding is dropped.

mod kernels;

use crate::kernel::{Candidate, Target};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::ops::windows::{Rounding, Windows};
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;

/// What a max pooling gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Gives {
    /// The maxima.
    #[default]
    Values,
    /// Their indices in the plane.
    Indices,
}

/// Max pooling over two axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaxPool2d {
    /// The windows.
    pub windows: Windows,
    /// Maxima or indices.
    pub gives: Gives,
}

impl Op for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let [x] = inputs else { return expected("one operand") };
        let shape = self.windows.output(x)?;
        Ok(vec![match self.gives {
            Gives::Values => Spec::f32(shape),
            Gives::Indices => Spec::u32(shape),
        }])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (x, y) = (io.inputs[0], &mut io.outputs[0]);
        let (h, w) = (x.shape[2], x.shape[3]);
        let (shape, taps) = (y.shape, self.windows.taps());
        crate::parallel::rows(y.data, 1, 4 * taps, |i, y| {
            let plane = i / shape.span(2, 4) * h * w;
            let (index, value) = first_maximum(&self.windows, &x.data[plane..][..h * w], [h, w], shape, i);
            y[0] = if self.gives == Gives::Values { value } else { index as f64 };
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let op = MaxPool2dBackward { windows: self.windows };
        let dy = g.dy[0].as_ref().filter(|_| self.gives == Gives::Values);
        vec![dy.map(|dy| Tensor::apply1(op, &[&g.inputs[0], dy], &[]))]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        kernels::forward(&self.windows, self.gives, io.inputs[0].shape, io.outputs[0].shape, target)
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Exact
    }
}

/// Index in the plane, and value, of the first maximum of the window of result `i`.
fn first_maximum(windows: &Windows, plane: &[f64], [h, w]: [usize; 2], y: Shape, i: usize) -> (usize, f64) {
    let mut best = (usize::MAX, f64::NEG_INFINITY);
    for row in windows.positions(0, i / y[3] % y[2], h) {
        for column in windows.positions(1, i % y[3], w) {
            let at = row * w + column;
            if best.0 == usize::MAX || plane[at] > best.1 {
                best = (at, plane[at]);
            }
        }
    }
    best
}

/// The gradient of max pooling: each element gets dy of the windows whose first maximum it is. Inputs x and dy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaxPool2dBackward {
    /// The windows.
    pub windows: Windows,
}

impl Op for MaxPool2dBackward {
    fn name(&self) -> &'static str {
        "max_pool2d_backward"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let [x, dy] = inputs else { return expected("x and dy") };
        let y = Spec::f32(self.windows.output(x)?);
        if *dy != y {
            return expected(format!("dy of shape {}", y.shape));
        }
        Ok(vec![*x])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (x, dy) = (io.inputs[0], io.inputs[1]);
        let (h, w) = (x.shape[2], x.shape[3]);
        let per_plane = dy.shape.span(2, 4);
        let work = 4 * self.windows.taps() * per_plane;
        crate::parallel::rows(io.outputs[0].data, h * w, work, |plane, dx| {
            dx.fill(0.0);
            for i in plane * per_plane..(plane + 1) * per_plane {
                let values = &x.data[plane * h * w..][..h * w];
                let (at, _) = first_maximum(&self.windows, values, [h, w], dy.shape, i);
                dx[at] += dy.data[i];
            }
        });
    }

    fn grad(&self, _: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None, None]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        kernels::backward(&self.windows, io.inputs[0].shape, io.inputs[1].shape, target)
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        let overlap =
            (0..2).any(|a| (self.windows.kernel[a] - 1) * self.windows.dilation[a] >= self.windows.stride[a]);
        if overlap { Tolerance::OfMax(1e-6) } else { Tolerance::Exact }
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: io.inputs[1].elements() as u64, bytes: io.bytes() }
    }
}

/// What a pooling takes besides the window's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2dConfig {
    /// From one window to the next; the window's size when `None`.
    pub stride: Option<[usize; 2]>,
    /// Rows and columns around the image, at most half a window.
    pub padding: [usize; 2],
    /// From one element of a window to the next.
    pub dilation: [usize; 2],
    /// Whether the last window may reach beyond the padded image.
    pub ceil_mode: bool,
}

impl Default for MaxPool2dConfig {
    fn default() -> Self {
        MaxPool2dConfig { stride: None, padding: [0, 0], dilation: [1, 1], ceil_mode: false }
    }
}

impl MaxPool2dConfig {
    fn windows(self, kernel: [usize; 2]) -> Windows {
        Windows {
            kernel,
            stride: self.stride.unwrap_or(kernel),
            padding: self.padding,
            dilation: self.dilation,
            rounding: if self.ceil_mode { Rounding::Ceil } else { Rounding::Floor },
        }
    }
}

impl Tensor {
    /// The largest element of each square window of `[N, C, H, W]`, side by side: `[N, C, H / size, W / size]`.
    /// (PyTorch's `max_pool2d`.)
    ///
    /// # Panics
    /// When the image is smaller than a window.
    #[track_caller]
    pub fn max_pool2d(&self, kernel_size: usize) -> Tensor {
        self.max_pool2d_with([kernel_size; 2], MaxPool2dConfig::default())
    }

    /// The largest element of each window of `[N, C, H, W]`: `[N, C, P, Q]`.
    ///
    /// # Panics
    /// When the windows do not fit the image, or padding exceeds half a window.
    #[track_caller]
    pub fn max_pool2d_with(&self, kernel_size: [usize; 2], config: MaxPool2dConfig) -> Tensor {
        let op = MaxPool2d { windows: config.windows(kernel_size), gives: Gives::Values };
        Tensor::apply1(op, &[self], &[])
    }

    /// Where the largest element of each window lies: indices `h·W + w` (u32) of shape `[N, C, P, Q]`.
    /// (The indices of PyTorch's `max_pool2d(return_indices=True)`.)
    ///
    /// # Panics
    /// As [`Tensor::max_pool2d_with`].
    #[track_caller]
    pub fn max_pool2d_indices(&self, kernel_size: [usize; 2], config: MaxPool2dConfig) -> Tensor {
        let op = MaxPool2d { windows: config.windows(kernel_size), gives: Gives::Indices };
        Tensor::apply1(op, &[self], &[])
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let two = Windows {
        kernel: [2, 2],
        stride: [2, 2],
        padding: [0, 0],
        dilation: [1, 1],
        rounding: Rounding::Floor,
    };
    let three = Windows { kernel: [3, 3], padding: [1, 1], ..two };
    let dense = Windows { stride: [1, 1], ..three };
    let dilated = Windows { dilation: [2, 3], stride: [2, 1], ..three };
    let ceil = Windows { kernel: [3, 2], stride: [2, 3], rounding: Rounding::Ceil, ..two };
    let ceil_pad = Windows { kernel: [2, 3], padding: [1, 1], ..ceil };
    let sparse = Windows { stride: [3, 4], ..two };
    let mut cases = Vec::new();
    let mut both = |windows: Windows, shape: [usize; 4], fill: Fill| {
        let op = MaxPool2d { windows, gives: Gives::Values };
        let y = windows.output(&Spec::f32(shape)).expect("windows that fit");
        let backward = MaxPool2dBackward { windows };
        cases.push(Case::new(op, &[&shape]).fill(fill));
        cases.push(Case::new(MaxPool2d { gives: Gives::Indices, ..op }, &[&shape]).fill(fill));
        let normal = Fill::Normal { mean: 0.0, std: 1.0 };
        let case = Case::new(backward, &[&shape, y.dims()]).fill(fill);
        cases.push(case.input(1, Spec::f32(y), normal));
    };
    for windows in [two, three, dense, dilated, ceil, ceil_pad, sparse] {
        both(windows, [2, 3, 8, 12], Fill::Ties);
        both(windows, [1, 2, 13, 11], Fill::Normal { mean: -3.0, std: 1.0 });
    }
    both(two, [3, 5, 14, 14], Fill::Ties);
    both(two, [3, 5, 28, 28], Fill::Ties);
    both(two, [3, 5, 28, 28], Fill::Normal { mean: 0.0, std: 1.0 });
    both(Windows { kernel: [1, 1], ..two }, [1, 1, 1, 1], Fill::Ties);
    both(two, [1, 1, 2, 2], Fill::Ties);
    both(two, [1, 3, 6, 10], Fill::Ties);
    for shape in [[2, 3, 12, 16], [1, 2, 13, 24], [1, 3, 1, 8], [1, 1, 2, 8]] {
        both(three, shape, Fill::Ties);
        both(three, shape, Fill::Normal { mean: -3.0, std: 1.0 });
    }
    both(Windows { rounding: Rounding::Ceil, ..three }, [1, 2, 12, 16], Fill::Ties);
    both(two, [0, 3, 6, 10], Fill::Ties);
    both(Windows { kernel: [100, 120], stride: [7, 9], ..two }, [1, 2, 128, 130], Fill::Ties);
    // So far apart that an element lies between the places of more windows than a thread could go through.
    both(Windows { dilation: [210, 190], ..three }, [1, 1, 430, 400], Fill::Ties);
    // More workgroups than one dimension of the grid can count.
    cases.push(Case::new(MaxPool2d { windows: two, gives: Gives::Values }, &[&[66_000, 64, 2, 2]]));
    for windows in [two, three, dense, dilated, ceil, ceil_pad, sparse] {
        let op = MaxPool2d { windows, gives: Gives::Values };
        cases.push(Case::new(op, &[&[1, 2, 6, 7]]).fill(Fill::Distinct).with_gradient());
    }
    cases
}
