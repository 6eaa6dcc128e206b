//! Filters a picture by Recurve's convolution.

use crate::support::kernels::Kernel;
use recurve::ops::conv2d::Conv2dConfig;
use recurve::{Device, Result, Tensor, no_grad};

/// The weights of red, green and blue in the brightness of a colour: Rec. 709.
const LUMINANCE: [f32; 3] = [0.2126, 0.7152, 0.0722];

/// How many results a kernel of `kernel` taps has on `size` pixels: ⌊(size + 2·padding − dilation·(kernel − 1) − 1) /
/// stride⌋ + 1.
pub fn results(size: usize, kernel: usize, padding: usize, stride: usize, dilation: usize) -> usize {
    (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1
}

/// How far apart the outermost taps see: dilation·(kernel − 1) + 1 pixels.
pub fn receptive_field(kernel: usize, dilation: usize) -> usize {
    dilation * (kernel - 1) + 1
}

/// The same for both axes; `groups` of channels that do not see each other.
pub fn config(padding: usize, stride: usize, dilation: usize, groups: usize) -> Conv2dConfig {
    Conv2dConfig { padding: padding.into(), stride: [stride; 2], dilation: [dilation; 2], groups }
}

/// A filtered picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Filtered {
    /// `[channels, height, width]`.
    pub values: Vec<f32>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Filtered {
    fn read(y: &Tensor) -> Result<Filtered> {
        Ok(Filtered { values: y.to_vec()?, height: y.shape()[2], width: y.shape()[3] })
    }
}

/// Convolves red, green and blue of a picture `[1, 3, H, W]` with the kernel, each by itself: as many groups as
/// channels.
pub fn colours(
    picture: &Tensor,
    kernel: &Kernel,
    padding: usize,
    stride: usize,
    dilation: usize,
) -> Result<Filtered> {
    let weight = picture.device().tensor(kernel.weights.repeat(3), [3, 1, kernel.size, kernel.size]);
    Filtered::read(&no_grad(|| picture.conv2d(&weight, None, config(padding, stride, dilation, 3))))
}

/// Convolves the brightness of a picture `[1, 3, H, W]` with the kernel: one output channel that sums over all three
/// input channels.
pub fn brightness(picture: &Tensor, kernel: &Kernel, padding: usize, dilation: usize) -> Result<Filtered> {
    let weight: Vec<f32> =
        LUMINANCE.iter().flat_map(|part| kernel.weights.iter().map(move |w| part * w)).collect();
    let weight = picture.device().tensor(weight, [1, 3, kernel.size, kernel.size]);
    Filtered::read(&no_grad(|| picture.conv2d(&weight, None, config(padding, 1, dilation, 1))))
}

/// A white picture of one channel after a convolution: what a border of zeros takes away.
pub fn white(dev: &Device, size: (usize, usize), kernel: &Kernel, padding: usize) -> Result<Filtered> {
    let ones = dev.tensor(vec![1.0; size.0 * size.1], [1, 1, size.0, size.1]);
    let weight = dev.tensor(kernel.weights.clone(), [1, 1, kernel.size, kernel.size]);
    Filtered::read(&no_grad(|| ones.conv2d(&weight, None, config(padding, 1, 1, 1))))
}
