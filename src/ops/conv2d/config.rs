//! What a user says about a convolution, and the method.

use super::{Bias, Conv2d, Slide, Window};
use crate::error::ShapeError;
use crate::op::{Expected, Op, expected};
use crate::tensor::Tensor;
use std::panic::Location;

/// Zeros around an image: `1.into()` for all sides, `[1, 2].into()` for rows and columns as PyTorch has it, or each
/// side by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Padding {
    /// So many on each side.
    Sides {
        /// Rows above.
        top: usize,
        /// Rows below.
        bottom: usize,
        /// Columns before.
        left: usize,
        /// Columns after.
        right: usize,
    },
    /// As many as give a result of the image's size: `dilation·(kernel size - 1)` along each axis, the half of them
    /// before and, where their number is odd, one more behind. For stride 1. (PyTorch's `padding='same'`.)
    Same,
}

impl Default for Padding {
    /// None.
    fn default() -> Self {
        0.into()
    }
}

impl From<usize> for Padding {
    /// The same on all sides.
    fn from(n: usize) -> Self {
        [n, n].into()
    }
}

impl From<[usize; 2]> for Padding {
    /// `[rows above and below, columns on both sides]`, as PyTorch has it.
    fn from([vertical, horizontal]: [usize; 2]) -> Self {
        [[vertical; 2], [horizontal; 2]].into()
    }
}

impl From<[[usize; 2]; 2]> for Padding {
    /// `[[rows above, rows below], [columns before, columns after]]`.
    fn from([[top, bottom], [left, right]]: [[usize; 2]; 2]) -> Self {
        Padding::Sides { top, bottom, left, right }
    }
}

/// How [`Tensor::conv2d`] moves its kernel. The default is PyTorch's: stride 1, no padding, dilation 1, one
/// group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dConfig {
    /// `[vertical, horizontal]` distance of results.
    pub stride: [usize; 2],
    /// Zeros around the image.
    pub padding: Padding,
    /// `[vertical, horizontal]` distance of taps.
    pub dilation: [usize; 2],
    /// Groups of channels.
    pub groups: usize,
}

impl Default for Conv2dConfig {
    fn default() -> Self {
        Conv2dConfig { stride: [1, 1], padding: Padding::default(), dilation: [1, 1], groups: 1 }
    }
}

impl Conv2dConfig {
    /// The structure of the convolution with a kernel of this `[height, width]`.
    ///
    /// # Errors
    /// When [`Padding::Same`] meets a stride above 1, or more padding than can be counted.
    pub fn window(self, kernel: [usize; 2]) -> Result<Window, Expected> {
        let sides = match self.padding {
            Padding::Sides { top, bottom, left, right } => [[top, bottom], [left, right]],
            Padding::Same => [self.same(0, kernel[0])?, self.same(1, kernel[1])?],
        };
        let slide = |axis: usize| Slide {
            stride: self.stride[axis],
            dilation: self.dilation[axis],
            before: sides[axis][0],
            after: sides[axis][1],
        };
        Ok(Window { vertical: slide(0), horizontal: slide(1), groups: self.groups })
    }

    /// Padding before and behind that keeps the size of an axis.
    fn same(&self, axis: usize, taps: usize) -> Result<[usize; 2], Expected> {
        if self.stride[axis] != 1 {
            return expected("a stride of 1 beside the padding Same");
        }
        match self.dilation[axis].checked_mul(taps.saturating_sub(1)) {
            Some(total) => Ok([total / 2, total - total / 2]),
            None => expected("a dilated kernel whose size can be counted"),
        }
    }
}

/// Applies an op under the name of the method that stands for it.
///
/// # Panics
/// When there is no such op, or its shape rule refuses the operands.
#[track_caller]
pub(in crate::ops) fn apply_as(
    name: &'static str,
    op: Result<impl Op, Expected>,
    inputs: &[&Tensor],
) -> Tensor {
    let refused = match op {
        Ok(op) => match Tensor::try_apply(op, inputs, &[]) {
            Ok(mut results) => return results.remove(0),
            Err(error) => ShapeError { op: name, ..error },
        },
        Err(Expected(expected)) => {
            let operands = inputs.iter().map(|t| t.spec()).collect();
            ShapeError { op: name, operands, expected, caller: Location::caller() }
        }
    };
    panic!("{refused}")
}

/// The op that convolves operands with `rank` axes: 4, or 3 without the vertical one.
pub(in crate::ops) fn convolution(
    rank: usize,
    inputs: &[&Tensor],
    config: Conv2dConfig,
) -> Result<Conv2d, Expected> {
    let (x, w) = (inputs[0].shape(), inputs[1].shape());
    if x.rank() != rank || w.rank() != rank {
        return expected(format!("an input and a weight with {rank} axes"));
    }
    let kernel = if rank == 3 { [1, w[2]] } else { [w[2], w[3]] };
    let bias = if inputs.len() == 3 { Bias::Channels } else { Bias::None };
    Ok(Conv2d { window: config.window(kernel)?, bias, ..Conv2d::default() })
}

impl Tensor {
    /// Convolves images `[N, C, H, W]` with `weight` `[K, C / groups, R, S]` and adds `bias` `[K]`:
    /// `[N, K, P, Q]`. (PyTorch's `conv2d`; the formula stands at the head of
    /// [`ops::conv2d`](crate::ops::conv2d).)
    ///
    /// # Panics
    /// When the shapes do not fit together, the padded image is smaller than the kernel, or [`Padding::Same`] meets
    /// a stride above 1.
    #[track_caller]
    pub fn conv2d(&self, weight: &Tensor, bias: Option<&Tensor>, config: Conv2dConfig) -> Tensor {
        let inputs: Vec<&Tensor> = [self, weight].into_iter().chain(bias).collect();
        apply_as("conv2d", convolution(4, &inputs, config), &inputs)
    }
}
