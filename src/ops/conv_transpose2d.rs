//! Transposed convolution over images: each pixel of x puts the kernel, times its value, down on y. (Dumoulin and
//! Visin, A guide to convolution arithmetic for deep learning, 2016, arXiv 1603.07285, chapter 4.)
//!
//! `y[n, k, p·stride + r·dilation - padding, q·stride + s·dilation - padding] += x[n,c,p,q]·w[c,k,r,s]` over the
//! channels c of k's group, plus `b[k]`.
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[N, C, P, Q]` |
//! | w | `[C, K / groups, R, S]` |
//! | b | `[K]` |
//! | y | `[N, K, H, W]` |
//!
//! `H = (P - 1)·stride - 2·padding + dilation·(R - 1) + output_padding + 1`, and W likewise. With stride s a convolution
//! maps s sizes of an image to the same one; `output_padding` chooses among them.
//!
//! It is the gradient of a convolution with respect to its image, [`Conv2dInputGrad`], whose kernels it uses.

use crate::op::{Case, Expected, expected};
use crate::ops::conv2d::{Conv2dInputGrad, Slide, Window, apply_as};
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;

/// How [`Tensor::conv_transpose2d`] moves its kernel. The default is PyTorch's: stride 1, no padding, dilation 1, one
/// group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvTranspose2dConfig {
    /// `[vertical, horizontal]` distance at which the kernel is put down.
    pub stride: [usize; 2],
    /// Rows cut off above and below, columns cut off on both sides.
    pub padding: [usize; 2],
    /// Rows more at the bottom and columns more on the right, fewer than the stride or the dilation.
    pub output_padding: [usize; 2],
    /// `[vertical, horizontal]` distance of taps.
    pub dilation: [usize; 2],
    /// Groups of channels.
    pub groups: usize,
}

impl Default for ConvTranspose2dConfig {
    fn default() -> Self {
        let (stride, dilation) = ([1, 1], [1, 1]);
        ConvTranspose2dConfig { stride, padding: [0, 0], output_padding: [0, 0], dilation, groups: 1 }
    }
}

/// One axis of a result.
#[derive(Clone, Copy, Debug)]
struct Axis {
    /// How the convolution moves whose gradient this is.
    slide: Slide,
    /// Pixels that the kernel can reach.
    size: usize,
    /// Pixels behind them, which it cannot.
    beyond: usize,
}

impl ConvTranspose2dConfig {
    /// The axis that `taps` taps on `pixels` pixels give.
    fn axis(&self, axis: usize, pixels: usize, taps: usize) -> Result<Axis, Expected> {
        let (stride, dilation) = (self.stride[axis], self.dilation[axis]);
        let (padding, more) = (self.padding[axis], self.output_padding[axis]);
        if more >= stride.max(dilation) {
            return expected(format!(
                "an output_padding below stride {stride} or dilation {dilation}, not {more}"
            ));
        }
        let full = || {
            let moves = pixels.checked_sub(1)?.checked_mul(stride)?;
            let covered = dilation.checked_mul(taps.checked_sub(1)?)?.checked_add(1)?;
            let full = moves.checked_add(covered)?;
            full.checked_add(more)?.checked_sub(padding.checked_mul(2)?).filter(|&size| size > 0)?;
            Some(full)
        };
        let Some(full) = full() else {
            return expected(format!(
                "at least one result of {pixels} pixels and {taps} taps with padding {padding}, and countable ones"
            ));
        };
        let result = full + more - 2 * padding;
        let axis = |before, after, size| {
            Axis { slide: Slide { stride, dilation, before, after }, size, beyond: result - size }
        };
        Ok(if more < stride {
            // The convolution rounds off what is left of the last stride.
            axis(padding, padding, result)
        } else if more <= padding {
            axis(padding, padding - more, result)
        } else {
            axis(padding.min(full), 0, full.saturating_sub(padding))
        })
    }

    /// Vertical and horizontal axis of the result, and the structure of the convolution whose gradient it is.
    fn axes(&self, pixels: [usize; 2], taps: [usize; 2]) -> Result<([Axis; 2], Window), Expected> {
        if [self.stride, self.dilation].concat().contains(&0) || self.groups == 0 {
            return expected("strides, dilations and groups of at least 1");
        }
        let axes = [self.axis(0, pixels[0], taps[0])?, self.axis(1, pixels[1], taps[1])?];
        Ok((axes, Window { vertical: axes[0].slide, horizontal: axes[1].slide, groups: self.groups }))
    }

    /// The op for operands with `rank` axes (4, or 3 without the vertical one), and how many rows and columns lie
    /// beyond its result.
    fn op(&self, rank: usize, inputs: &[&Tensor]) -> Result<(Conv2dInputGrad, [usize; 2]), Expected> {
        let (x, w, groups) = (inputs[0].shape(), inputs[1].shape(), self.groups);
        if x.rank() != rank || w.rank() != rank {
            return expected(format!("an input and a weight with {rank} axes"));
        }
        let (axes, window) = self.axes(sizes(x), sizes(w))?;
        if x[1] != w[0] || !x[1].is_multiple_of(groups) {
            return expected(format!("C = {} divided into {groups} groups, w of [C, K / {groups}, ..]", x[1]));
        }
        let k = w[1].saturating_mul(groups);
        if inputs.get(2).is_some_and(|b| b.spec() != Spec::f32([k])) {
            return expected(format!("a bias of [{k}]"));
        }
        let op = Conv2dInputGrad { window, height: axes[0].size, width: axes[1].size };
        Ok((op, axes.map(|a| a.beyond)))
    }
}

/// Height and width of an image or a kernel.
fn sizes(shape: Shape) -> [usize; 2] {
    if shape.rank() == 3 { [1, shape[2]] } else { [shape[2], shape[3]] }
}

/// The transposed convolution as the method `name`.
#[track_caller]
pub(super) fn transposed(
    name: &'static str,
    rank: usize,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    config: ConvTranspose2dConfig,
) -> Tensor {
    let inputs: Vec<&Tensor> = [x, weight].into_iter().chain(bias).collect();
    let (op, beyond) = match config.op(rank, &inputs) {
        Ok((op, beyond)) => (Ok(op), beyond),
        Err(error) => (Err(error), [0, 0]),
    };
    // The op takes no bias, but what it is not to take is part of an error.
    let operands = if op.is_ok() { &inputs[..2] } else { &inputs };
    let mut y = apply_as(name, op, operands);
    if beyond != [0, 0] {
        let amounts = [(0, 0), (0, 0), (0, beyond[0]), (0, beyond[1])];
        let amounts = if rank == 3 { vec![(0, 0), (0, 0), (0, beyond[1])] } else { amounts.to_vec() };
        y = y.pad(&amounts, 0.0);
    }
    match bias {
        None => y,
        Some(bias) => {
            let mut channels = vec![1; rank - 1];
            channels[0] = y.shape()[1];
            y.add(&bias.reshape(channels))
        }
    }
}

impl Tensor {
    /// The transposed convolution of images `[N, C, P, Q]` with `weight` `[C, K / groups, R, S]`, plus `bias` `[K]`:
    /// `[N, K, H, W]`. (PyTorch's `conv_transpose2d`; the formula stands at the head of
    /// [`ops::conv_transpose2d`](crate::ops::conv_transpose2d).)
    ///
    /// # Panics
    /// When the shapes do not fit together, `output_padding` is not below stride or dilation, or the padding cuts off
    /// everything.
    #[track_caller]
    pub fn conv_transpose2d(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        config: ConvTranspose2dConfig,
    ) -> Tensor {
        transposed("conv_transpose2d", 4, self, weight, bias, config)
    }
}

/// The case of a transposed convolution without bias.
pub(super) fn case(x: &[usize], w: &[usize], config: impl Into<ConvTranspose2dConfig>) -> Case {
    let config = config.into();
    let (axes, window) =
        config.axes(sizes(Shape::new(x)), sizes(Shape::new(w))).expect("the settings are valid");
    Case::new(Conv2dInputGrad { window, height: axes[0].size, width: axes[1].size }, &[x, w])
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let plain = ConvTranspose2dConfig::default();
    let double = ConvTranspose2dConfig { stride: [2, 2], ..plain };
    let same = ConvTranspose2dConfig { padding: [1, 1], output_padding: [1, 1], ..double };
    let apart = ConvTranspose2dConfig { stride: [1, 2], dilation: [3, 4], output_padding: [2, 3], ..plain };
    vec![
        case(&[2, 2, 3, 4], &[2, 3, 3, 3], same).with_gradient(),
        case(&[1, 4, 3, 2], &[4, 1, 2, 3], ConvTranspose2dConfig { groups: 2, ..apart }).with_gradient(),
        case(&[1, 1, 1, 1], &[1, 1, 1, 1], plain),
        case(&[0, 3, 4, 4], &[3, 2, 3, 3], plain),
        // Decoders double the size of an image.
        case(&[2, 16, 14, 14], &[16, 8, 2, 2], double),
        case(&[2, 9, 8, 7], &[9, 17, 4, 4], ConvTranspose2dConfig { padding: [1, 1], ..double }),
        case(&[1, 8, 13, 11], &[8, 12, 3, 3], same),
        case(&[2, 6, 9, 9], &[6, 1, 3, 3], ConvTranspose2dConfig { groups: 6, ..same }),
        // More output padding than stride, with less padding and with more.
        case(&[1, 3, 6, 5], &[3, 4, 3, 2], apart),
        case(&[1, 3, 6, 5], &[3, 4, 3, 2], ConvTranspose2dConfig { padding: [3, 4], ..apart }),
        case(&[1, 2, 5, 5], &[2, 3, 2, 1], ConvTranspose2dConfig { stride: [3, 5], ..plain }),
    ]
}
