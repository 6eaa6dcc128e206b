//! Test cases of the three ops.

use super::{Bias, Conv2d, Conv2dConfig, Conv2dInputGrad, Conv2dWeightGrad, Padding, Window};
use crate::op::{Activation, Case, Op};
use crate::shape::Spec;

/// An image, a number of output channels, a kernel and how it moves.
struct Setting {
    x: [usize; 4],
    k: usize,
    kernel: [usize; 2],
    config: Conv2dConfig,
}

fn setting(x: [usize; 4], k: usize, kernel: [usize; 2]) -> Setting {
    Setting { x, k, kernel, config: Conv2dConfig::default() }
}

impl Setting {
    fn stride(mut self, vertical: usize, horizontal: usize) -> Self {
        self.config.stride = [vertical, horizontal];
        self
    }

    fn pad(mut self, padding: impl Into<Padding>) -> Self {
        self.config.padding = padding.into();
        self
    }

    fn dilation(mut self, vertical: usize, horizontal: usize) -> Self {
        self.config.dilation = [vertical, horizontal];
        self
    }

    fn groups(mut self, groups: usize) -> Self {
        self.config.groups = groups;
        self
    }

    fn window(&self) -> Window {
        self.config.window(self.kernel).expect("the settings are valid")
    }

    /// Shapes of x, w and y.
    fn shapes(&self) -> [Vec<usize>; 3] {
        let w = [self.k, self.x[1] / self.config.groups, self.kernel[0], self.kernel[1]];
        let inputs = [Spec::f32(self.x), Spec::f32(w)];
        let op = Conv2d { window: self.window(), ..Conv2d::default() };
        let y = op.outputs(&inputs).expect("the settings are valid")[0];
        [self.x.to_vec(), w.to_vec(), y.shape.dims().to_vec()]
    }

    fn forward(&self, bias: Bias, activation: Activation) -> Case {
        let [x, w, _] = self.shapes();
        let op = Conv2d { window: self.window(), bias, activation };
        match bias {
            Bias::None => Case::new(op, &[&x, &w]),
            Bias::Channels => Case::new(op, &[&x, &w, &[self.k]]),
        }
    }

    /// The convolution and its two gradients.
    fn all(&self) -> [Case; 3] {
        let [x, w, y] = self.shapes();
        let window = self.window();
        let input_grad = Conv2dInputGrad { window, height: x[2], width: x[3] };
        let weight_grad = Conv2dWeightGrad { window, kernel_height: w[2], kernel_width: w[3] };
        let bias = if self.k.is_multiple_of(2) { Bias::Channels } else { Bias::None };
        [
            self.forward(bias, Activation::None),
            Case::new(input_grad, &[&y, &w]),
            Case::new(weight_grad, &[&x, &y]),
        ]
    }
}

/// Small enough for finite differences.
fn gradient_settings() -> Vec<Setting> {
    let uneven = [[2, 0], [0, 1]];
    vec![
        setting([2, 2, 4, 5], 2, [3, 3]).pad(1),
        setting([1, 1, 5, 6], 2, [2, 3]).stride(2, 2).pad(uneven),
        setting([1, 2, 6, 5], 3, [2, 2]).dilation(2, 3),
        setting([1, 4, 4, 3], 4, [3, 2]).groups(2).pad(1),
        setting([2, 3, 3, 3], 2, [1, 1]).stride(1, 2),
        setting([1, 2, 4, 5], 4, [3, 2]).groups(2).stride(2, 1).pad(uneven),
    ]
}

fn settings() -> Vec<Setting> {
    let uneven = [[2, 1], [0, 3]];
        vec![
        // Kernels of one pixel, of which a flattened image is one row, and octets that lie in place.
        setting([1, 1, 1, 1], 1, [1, 1]),
        setting([3, 5, 7, 7], 11, [1, 1]),
        setting([2, 19, 8, 8], 33, [1, 1]),
        setting([2, 6, 9, 11], 10, [1, 1]).stride(2, 2),
        setting([2, 3, 5, 5], 4, [1, 1]).pad(1),
        // Rows of one block, of several, and just past a block.
        setting([2, 3, 9, 14], 32, [3, 3]).pad(1),
        setting([1, 1, 28, 28], 32, [3, 3]).pad(1),
        setting([2, 2, 5, 15], 31, [3, 3]).pad(1),
        setting([1, 3, 4, 53], 17, [3, 3]).pad(uneven),
        setting([5, 7, 3, 3], 65, [3, 3]).pad(1),
        setting([1, 33, 6, 7], 9, [3, 3]),
        // Even, long and flat kernels.
        setting([2, 3, 8, 9], 5, [2, 2]),
        setting([1, 4, 11, 10], 6, [4, 4]).pad(uneven),
        setting([1, 2, 17, 19], 7, [5, 5]).pad(2),
        setting([1, 3, 23, 25], 8, [7, 7]).stride(2, 2).pad(3),
        setting([1, 2, 1, 40], 3, [1, 9]),
        setting([1, 2, 40, 1], 3, [9, 1]),
        setting([1, 1, 13, 37], 2, [3, 31]),
        // Strides and dilations.
        setting([2, 5, 13, 13], 12, [3, 3]).stride(2, 2).pad(1),
        setting([1, 3, 16, 31], 8, [3, 3]).stride(3, 3).pad(uneven),
        setting([1, 3, 11, 23], 8, [3, 3]).stride(1, 2).pad(1),
        setting([1, 4, 10, 12], 4, [2, 2]).stride(3, 3),
        setting([1, 4, 14, 15], 5, [3, 3]).dilation(2, 2).pad(2),
        setting([1, 2, 12, 33], 5, [3, 3]).dilation(1, 12).pad(1),
        setting([1, 3, 15, 17], 6, [3, 3]).dilation(2, 3).stride(2, 2).pad(3),
        setting([1, 3, 15, 17], 6, [3, 3]).dilation(2, 2).stride(2, 2).pad(1),
        // The size of the image kept: even kernels, and odd totals.
        setting([2, 3, 7, 9], 4, [4, 2]).pad(Padding::Same),
        setting([1, 2, 8, 17], 6, [2, 4]).dilation(3, 1).pad(Padding::Same),
        // More padding than kernel: results that see nothing of the image.
        setting([1, 2, 3, 4], 3, [3, 3]).pad([4, 5]),
        // Groups.
        setting([2, 6, 7, 8], 9, [3, 3]).groups(3).pad(1),
        setting([2, 8, 9, 7], 8, [3, 3]).groups(8).pad(1).stride(2, 2),
        setting([1, 4, 6, 6], 12, [2, 3]).groups(4).dilation(2, 1),
        // Nothing to compute, or nothing to sum over.
        setting([0, 3, 5, 5], 2, [3, 3]),
        setting([2, 3, 5, 5], 0, [3, 3]),
        setting([2, 0, 5, 5], 3, [3, 3]),
    ]
}

/// For products in tiles: whole ones and parts of them along each side, long inner sums, every shape of tile.
fn product_settings() -> Vec<Setting> {
    let uneven = [[0, 2], [1, 0]];
    vec![
        setting([1, 16, 8, 8], 64, [1, 1]),
        setting([2, 64, 16, 16], 64, [3, 3]).pad(1),
        // Images of whole panels of columns, and a bias that is no whole octets.
        setting([4, 16, 8, 8], 44, [3, 3]).pad(1),
        // One image of whole quads, of which the last is half an octet.
        setting([1, 40, 14, 14], 48, [3, 3]).pad(1),
        setting([1, 72, 14, 14], 40, [1, 1]),
        setting([3, 33, 11, 13], 70, [3, 3]).pad(uneven),
        setting([1, 29, 12, 11], 23, [5, 4]).pad(uneven),
        setting([2, 24, 10, 13], 40, [3, 2]).dilation(2, 3).pad(2),
        setting([2, 40, 9, 10], 70, [3, 3]).groups(2).dilation(2, 1).pad(1),
        setting([3, 60, 9, 11], 45, [3, 3]).groups(3).stride(2, 2).pad(1),
        // The first layers of common networks.
        setting([1, 1, 28, 28], 32, [3, 3]).pad(1),
        setting([1, 3, 37, 41], 40, [7, 7]).stride(2, 2).pad(3),
        setting([1, 4, 130, 130], 20, [3, 3]).pad(1),
        // Strides: of pixels, beyond the image, with a divisor in common with the dilation.
        setting([2, 32, 14, 12], 48, [1, 1]).stride(2, 2),
        setting([64, 16, 2, 3], 25, [1, 1]).stride(3, 4),
        setting([3, 20, 13, 17], 24, [3, 3]).stride(4, 4).dilation(2, 2).pad(2),
        setting([2, 24, 15, 17], 20, [3, 3]).stride(2, 3).pad(uneven),
        // Single pixels in whole octets.
        setting([5, 24, 8, 9], 40, [1, 1]),
        setting([2, 64, 8, 8], 72, [1, 1]),
        // Few tiles and long sums.
        setting([1, 130, 7, 7], 140, [3, 3]).pad(1),
        setting([1, 20, 10, 9], 260, [3, 3]).stride(2, 2).pad(1),
        setting([1, 600, 2, 2], 550, [1, 1]),
        // Many large tiles.
        setting([1, 3, 182, 181], 128, [3, 3]).pad(1),
        setting([1, 128, 256, 128], 2, [1, 1]),
        setting([1, 2_048, 1, 1], 2_040, [1, 1]),
    ]
}

/// Channels one by one.
fn depthwise_settings() -> Vec<Setting> {
    let uneven = [[2, 1], [0, 3]];
    let each = |x: [usize; 4], results: usize, kernel| setting(x, x[1] * results, kernel).groups(x[1]);
    vec![
        // Rows as long before as after: planes that end within an octet, and within several.
        each([2, 3, 14, 14], 1, [3, 3]).pad(1),
        each([3, 5, 7, 7], 1, [3, 3]).pad(1),
        each([1, 64, 5, 3], 1, [3, 3]).pad(1),
        each([2, 9, 2, 3], 2, [3, 3]).pad(1),
        each([2, 3, 56, 56], 1, [3, 3]).pad(1),
        each([1, 7, 16, 24], 2, [3, 3]).pad(1),
        each([2, 3, 13, 37], 3, [5, 5]).pad(2),
        each([1, 4, 15, 11], 1, [7, 7]).pad(3),
        each([1, 3, 9, 17], 2, [4, 2]).pad(Padding::Same),
        each([2, 3, 10, 12], 1, [3, 3]).dilation(2, 3).pad([2, 3]),
        // More rows, fewer, and rows of which every one is new.
        each([2, 3, 9, 19], 1, [3, 3]).pad([4, 1]),
        each([2, 3, 9, 19], 1, [3, 3]).pad([0, 1]),
        each([1, 2, 30, 1], 3, [3, 1]).pad([1, 0]),
        each([2, 11, 9, 9], 1, [1, 1]),
        // Rows of another length, in whole octets and not.
        each([2, 3, 12, 18], 1, [3, 3]).pad([1, 0]),
        each([2, 3, 12, 15], 2, [3, 3]),
        each([1, 3, 8, 33], 1, [3, 3]).pad(uneven),
        // Strides.
        each([2, 3, 28, 32], 1, [3, 3]).stride(2, 2).pad(1),
        each([2, 3, 28, 28], 2, [3, 3]).stride(2, 2).pad(1),
        each([1, 5, 15, 13], 1, [3, 3]).stride(2, 2).pad(1),
        each([1, 3, 17, 20], 2, [5, 5]).stride(2, 3).pad(uneven),
        each([1, 2, 20, 23], 1, [2, 2]).stride(3, 3).pad([0, 1]),
        each([1, 2, 16, 31], 1, [3, 3]).stride(2, 4).dilation(3, 5).pad([4, 7]),
        each([2, 3, 8, 24], 1, [3, 3]).stride(2, 1).pad(1),
        // More padding than kernel.
        each([1, 3, 3, 4], 1, [3, 3]).pad([4, 5]),
        each([1, 3, 5, 6], 1, [3, 3]).stride(2, 2).pad([4, 5]),
        each([1, 2, 6, 5], 1, [2, 2]).stride(19, 19).pad([0, 15]),
        each([1, 2, 6, 5], 1, [2, 1]).dilation(1 << 28, 1).pad([1 << 27, 0]),
        // Kernels beyond what one thread holds.
        each([1, 2, 40, 41], 1, [31, 31]).pad(15),
        each([1, 2, 3, 90], 1, [1, 70]).pad([0, 40]),
        each([1, 2, 4, 200], 1, [2, 3]).dilation(1, 60),
    ]
}

/// Cases of all three ops.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for s in gradient_settings() {
        cases.extend(s.all().map(Case::with_gradient));
        cases.push(s.forward(Bias::Channels, Activation::None).with_gradient());
    }
    cases.extend(settings().iter().chain(&product_settings()).chain(&depthwise_settings()).flat_map(Setting::all));
    for activation in [Activation::Relu, Activation::Sigmoid, Activation::Tanh] {
        for bias in [Bias::None, Bias::Channels] {
            cases.push(setting([2, 9, 9, 10], 12, [3, 3]).pad(1).forward(bias, activation));
            // A sum in parts is finished by the dispatch that adds them.
            cases.push(setting([2, 64, 5, 5], 34, [3, 3]).pad(1).forward(bias, activation));
            cases.push(setting([5, 24, 8, 9], 40, [1, 1]).forward(bias, activation));
            // Columns whose product is the result, and such as are dealt out.
            cases.push(setting([4, 16, 8, 8], 64, [3, 3]).pad(1).forward(bias, activation));
            cases.push(setting([3, 16, 7, 7], 64, [3, 3]).pad(1).forward(bias, activation));
            cases.push(setting([1, 40, 14, 14], 64, [3, 3]).pad(1).forward(bias, activation));
            cases.push(setting([2, 9, 5, 7], 18, [3, 3]).groups(9).pad(1).forward(bias, activation));
        }
    }
    // Sums so long that a kernel has to split them: 65,537 trips and more.
    cases.push(setting([1, 8_195, 1, 2], 1, [1, 8]).pad([[0, 0], [0, 6]]).all()[0].clone());
    cases.extend(setting([1, 1, 3, 22_000], 1, [3, 3]).pad(1).all());
    cases.push(setting([1, 1, 1, 2], 8_195, [1, 8]).pad([[0, 0], [0, 6]]).all()[1].clone());
    // More than 65,535 workgroups where a workgroup has 8 rows, or one group.
    cases.extend(setting([1, 1, 530_000, 1], 1, [2, 1]).all());
    cases.push(setting([1, 66_000, 1, 1], 66_000, [1, 1]).groups(66_000).all()[0].clone());
    cases.extend(setting([1, 2, 3, 140_000], 2, [3, 3]).groups(2).pad(1).all());
    cases.extend(setting([1, 2, 530_000, 1], 2, [2, 1]).groups(2).all());
    cases
}
