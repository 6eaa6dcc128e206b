//! Convolution over images, and its two gradients. Like PyTorch's, it is a cross-correlation: the kernel is
//! not turned round.
//!
//! `y[n,k,p,q] = f(b[k] + Σ_{c,r,s} x[n, c, p·stride + r·dilation - top, q·stride + s·dilation - left]·w[k,c,r,s])`,
//! where x counts as 0 outside of the image, and the sum over c goes over the channels of k's group.
//!
//! | tensor | shape |
//! |---|---|
//! | x, dx | `[N, C, H, W]` |
//! | w, dw | `[K, C / groups, R, S]` |
//! | b, with [`Bias::Channels`] | `[K]` |
//! | y, dy | `[N, K, P, Q]` |
//!
//! `P = (H + top + bottom - dilation·(R - 1) - 1) / stride + 1`, rounded down, and Q likewise. `f` is an
//! [`Activation`].
//!
//! The gradients are sums over the same products:
//! [`Conv2dInputGrad`] `dx[n,c,h,w] = Σ dy[n,k,p,q]·w[k,c,r,s]` over all k, p, q, r, s that meet the pixel,
//! [`Conv2dWeightGrad`] `dw[k,c,r,s] = Σ_{n,p,q} dy[n,k,p,q]·x[n,c,..]`.
//! All three are linear in either operand, so each has its gradients among the others.

mod cases;
mod direct;
mod implicit_gemm;
mod reference;
mod subgroup8;

use crate::kernel::{Candidate, Target, TargetClass};
use crate::op::{Activation, Cost, Expected, Follow, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::shape::{DType, Shape, Spec};
use crate::tensor::Tensor;
use std::sync::Arc;

pub use cases::cases;

/// Below this many multiply-adds a convolution costs less than the copies that `subgroup8` begins with.
const SMALL: usize = 1 << 17;

/// How a kernel moves along one axis of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slide {
    /// Pixels from one result to the next.
    pub stride: usize,
    /// Pixels from one tap to the next.
    pub dilation: usize,
    /// Zeros before the image.
    pub before: usize,
    /// Zeros after the image.
    pub after: usize,
}

impl Slide {
    /// The number of results of `taps` taps on `size` pixels, or `None` when the kernel does not fit.
    fn results(self, size: usize, taps: usize) -> Option<usize> {
        let covered = self.dilation.checked_mul(taps.checked_sub(1)?)?.checked_add(1)?;
        let padded = size.checked_add(self.before)?.checked_add(self.after)?;
        Some(padded.checked_sub(covered)? / self.stride + 1)
    }
}

impl Default for Slide {
    fn default() -> Self {
        Slide { stride: 1, dilation: 1, before: 0, after: 0 }
    }
}

/// The structure of a convolution, shared by it and its gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Along H.
    pub vertical: Slide,
    /// Along W.
    pub horizontal: Slide,
    /// Number of groups that channels are divided into; both C and K are multiples of it.
    pub groups: usize,
}

impl Default for Window {
    fn default() -> Self {
        Window { vertical: Slide::default(), horizontal: Slide::default(), groups: 1 }
    }
}

/// What is added to a convolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Bias {
    /// Nothing.
    #[default]
    None,
    /// A third input `[K]`, one number for each output channel.
    Channels,
}

/// The convolution of x with w: inputs `[x, w]`, or `[x, w, b]` with a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Stride, dilation, padding, groups.
    pub window: Window,
    /// What is added.
    pub bias: Bias,
    /// What is applied last.
    pub activation: Activation,
}

/// The gradient of a convolution with respect to x: inputs `[dy, w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dInputGrad {
    /// The convolution's structure.
    pub window: Window,
    /// H: dy does not tell it when the stride is above 1.
    pub height: usize,
    /// W.
    pub width: usize,
}

/// The gradient of a convolution with respect to w: inputs `[x, dy]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dWeightGrad {
    /// The convolution's structure.
    pub window: Window,
    /// R: x and dy do not tell it when the stride is above 1.
    pub kernel_height: usize,
    /// S.
    pub kernel_width: usize,
}

/// All sizes of a convolution.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    n: usize,
    c: usize,
    h: usize,
    w: usize,
    k: usize,
    r: usize,
    s: usize,
    p: usize,
    q: usize,
    window: Window,
}

impl Sizes {
    /// Checks that an image, a kernel (of `channels` per group) and a window fit, and derives P and Q.
    fn new(x: [usize; 4], w: [usize; 4], window: Window) -> Result<Sizes, Expected> {
        let ([n, c, h, width], [k, channels, r, s]) = (x, w);
        let slides = [window.vertical, window.horizontal];
        if window.groups == 0 || slides.iter().any(|a| a.stride == 0 || a.dilation == 0) {
            return expected("strides, dilations and groups of at least 1");
        }
        if !k.is_multiple_of(window.groups) || channels * window.groups != c {
            let g = window.groups;
            return expected(format!("C = {c} and K = {k} divided into {g} groups, w of [K, C / {g}, R, S]"));
        }
        let (Some(p), Some(q)) = (window.vertical.results(h, r), window.horizontal.results(width, s)) else {
            return expected(format!(
                "a padded image of {h} x {width} no smaller than the kernel of {r} x {s}"
            ));
        };
        Ok(Sizes { n, c, h, w: width, k, r, s, p, q, window })
    }

    /// Input channels of a group.
    fn c_group(&self) -> usize {
        self.c / self.window.groups
    }

    /// Output channels of a group.
    fn k_group(&self) -> usize {
        self.k / self.window.groups
    }

    fn weights(&self) -> usize {
        self.k * self.c_group() * self.r * self.s
    }

    /// Multiply-adds; the three ops have the same.
    fn multiply_adds(&self) -> usize {
        self.n * self.p * self.q * self.weights()
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: 2 * self.multiply_adds() as u64, bytes: io.bytes() }
    }
}

fn axes4(spec: &Spec) -> Result<[usize; 4], Expected> {
    <[usize; 4]>::try_from(spec.shape.dims()).or_else(|_| expected("operands with four axes"))
}

fn operands(inputs: &[Spec], count: usize) -> Result<(), Expected> {
    if inputs.len() != count || inputs.iter().any(|i| i.dtype != DType::F32) {
        return expected(format!("{count} operands of f32"));
    }
    Ok(())
}

const ACCEPTED: &str = "the shape rule has accepted these operands";

impl Conv2d {
    fn sizes(&self, x: &Spec, w: &Spec) -> Result<Sizes, Expected> {
        Sizes::new(axes4(x)?, axes4(w)?, self.window)
    }

    fn of(&self, io: &Io<'_>) -> Sizes {
        self.sizes(&io.inputs[0], &io.inputs[1]).expect(ACCEPTED)
    }
}

impl Conv2dInputGrad {
    fn sizes(&self, dy: &Spec, w: &Spec) -> Result<Sizes, Expected> {
        let ([n, k, p, q], w) = (axes4(dy)?, axes4(w)?);
        let x = [n, w[1] * self.window.groups, self.height, self.width];
        let sizes = Sizes::new(x, w, self.window)?;
        if [k, p, q] != [sizes.k, sizes.p, sizes.q] {
            return expected(format!("dy of [N, {}, {}, {}]", sizes.k, sizes.p, sizes.q));
        }
        Ok(sizes)
    }

    fn of(&self, io: &Io<'_>) -> Sizes {
        self.sizes(&io.inputs[0], &io.inputs[1]).expect(ACCEPTED)
    }
}

impl Conv2dWeightGrad {
    fn sizes(&self, x: &Spec, dy: &Spec) -> Result<Sizes, Expected> {
        let (x, [n, k, p, q]) = (axes4(x)?, axes4(dy)?);
        let w = [k, x[1] / self.window.groups.max(1), self.kernel_height, self.kernel_width];
        let sizes = Sizes::new(x, w, self.window)?;
        if [n, p, q] != [sizes.n, sizes.p, sizes.q] {
            return expected(format!("dy of [{}, K, {}, {}]", sizes.n, sizes.p, sizes.q));
        }
        Ok(sizes)
    }

    fn of(&self, io: &Io<'_>) -> Sizes {
        self.sizes(&io.inputs[0], &io.inputs[1]).expect(ACCEPTED)
    }
}

fn forward(window: Window, x: &Tensor, w: &Tensor) -> Tensor {
    Tensor::apply1(Conv2d { window, ..Conv2d::default() }, &[x, w], &[])
}

fn input_grad(window: Window, x: Shape, dy: &Tensor, w: &Tensor) -> Tensor {
    Tensor::apply1(Conv2dInputGrad { window, height: x[2], width: x[3] }, &[dy, w], &[])
}

fn weight_grad(window: Window, w: Shape, x: &Tensor, dy: &Tensor) -> Tensor {
    Tensor::apply1(Conv2dWeightGrad { window, kernel_height: w[2], kernel_width: w[3] }, &[x, dy], &[])
}

/// Orders the candidates of an op. On hardware the base variant is the last; software adapters gain nothing from
/// workgroup memory.
fn order(
    sizes: Sizes,
    target: &Target,
    subgroup8: Option<Candidate>,
    implicit_gemm: Option<Candidate>,
    direct: Candidate,
) -> Vec<Candidate> {
    if target.class == TargetClass::Hardware {
        return implicit_gemm.into_iter().chain([direct]).collect();
    }
    let mut all = match subgroup8.filter(|_| target.software_subgroup8()) {
        Some(s) if sizes.multiply_adds() < SMALL => vec![direct.clone(), s, direct],
        Some(s) => vec![s, direct],
        None => vec![direct],
    };
    all.extend(implicit_gemm);
    all
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        operands(inputs, if self.bias == Bias::None { 2 } else { 3 })?;
        let s = self.sizes(&inputs[0], &inputs[1])?;
        if self.bias == Bias::Channels && inputs[2].elements() != s.k {
            return expected(format!("a bias of {} elements", s.k));
        }
        Ok(vec![Spec::f32([s.n, s.k, s.p, s.q])])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let specs = [io.inputs[0], io.inputs[1]].map(|i| Spec::f32(i.shape));
        let sizes = self.sizes(&specs[0], &specs[1]).expect(ACCEPTED);
        let bias = (self.bias == Bias::Channels).then(|| io.inputs[2].data);
        let (x, w) = (io.inputs[0].data, io.inputs[1].data);
        reference::forward(&sizes, x, w, bias, self.activation, io.outputs[0].data);
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let Some(dy) = &g.dy[0] else { return vec![None; g.inputs.len()] };
        let (x, w) = (&g.inputs[0], &g.inputs[1]);
        let mut grads = vec![
            g.wants[0].then(|| input_grad(self.window, x.shape(), dy, w)),
            g.wants[1].then(|| weight_grad(self.window, w.shape(), x, dy)),
        ];
        if let Some(b) = g.inputs.get(2) {
            grads.push(g.wants[2].then(|| dy.sum(&[0, 2, 3]).reshape(b.shape())));
        }
        grads
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let s = self.of(&io);
        let gemm = implicit_gemm::forward(&s, self);
        order(s, target, subgroup8::forward(&s, self), gemm, direct::forward(&s, self))
    }

    fn absorb(&self, _inputs: &[Spec], follow: Follow) -> Option<Arc<dyn Op>> {
        match follow {
            _ if self.activation != Activation::None => None,
            Follow::AddVector { axis: 1 } if self.bias == Bias::None => {
                Some(Arc::new(Conv2d { bias: Bias::Channels, ..*self }))
            }
            Follow::AddVector { .. } => None,
            Follow::Activate(activation) => Some(Arc::new(Conv2d { activation, ..*self })),
        }
    }

    fn tolerance(&self, io: Io<'_>, _output: usize) -> Tolerance {
        let s = self.of(&io);
        // A bias is one more summand.
        let inner = s.c_group() * s.r * s.s + (self.bias == Bias::Channels) as usize;
        match self.activation {
            Activation::None | Activation::Relu => Tolerance::Product { inner },
            Activation::Sigmoid | Activation::Tanh => Tolerance::Absolute(1e-6 * (inner + 1) as f64),
        }
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        self.of(&io).cost(io)
    }
}

impl Op for Conv2dInputGrad {
    fn name(&self) -> &'static str {
        "conv2d_input_grad"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        operands(inputs, 2)?;
        let s = self.sizes(&inputs[0], &inputs[1])?;
        Ok(vec![Spec::f32([s.n, s.c, s.h, s.w])])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let specs = [io.inputs[0], io.inputs[1]].map(|i| Spec::f32(i.shape));
        let sizes = self.sizes(&specs[0], &specs[1]).expect(ACCEPTED);
        reference::input_grad(&sizes, io.inputs[0].data, io.inputs[1].data, io.outputs[0].data);
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let Some(d) = &g.dy[0] else { return vec![None; 2] };
        let (dy, w) = (&g.inputs[0], &g.inputs[1]);
        vec![
            g.wants[0].then(|| forward(self.window, d, w)),
            g.wants[1].then(|| weight_grad(self.window, w.shape(), d, dy)),
        ]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let s = self.of(&io);
        order(s, target, subgroup8::input_grad(&s), implicit_gemm::input_grad(&s), direct::input_grad(&s))
    }

    fn tolerance(&self, io: Io<'_>, _output: usize) -> Tolerance {
        let s = self.of(&io);
        Tolerance::Product { inner: s.k_group() * s.r * s.s }
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        self.of(&io).cost(io)
    }
}

impl Op for Conv2dWeightGrad {
    fn name(&self) -> &'static str {
        "conv2d_weight_grad"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        operands(inputs, 2)?;
        let s = self.sizes(&inputs[0], &inputs[1])?;
        Ok(vec![Spec::f32([s.k, s.c_group(), s.r, s.s])])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let specs = [io.inputs[0], io.inputs[1]].map(|i| Spec::f32(i.shape));
        let sizes = self.sizes(&specs[0], &specs[1]).expect(ACCEPTED);
        reference::weight_grad(&sizes, io.inputs[0].data, io.inputs[1].data, io.outputs[0].data);
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let Some(d) = &g.dy[0] else { return vec![None; 2] };
        let (x, dy) = (&g.inputs[0], &g.inputs[1]);
        vec![
            g.wants[0].then(|| input_grad(self.window, x.shape(), dy, d)),
            g.wants[1].then(|| forward(self.window, x, d)),
        ]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let s = self.of(&io);
        order(s, target, subgroup8::weight_grad(&s), implicit_gemm::weight_grad(&s), direct::weight_grad(&s))
    }

    fn tolerance(&self, io: Io<'_>, _output: usize) -> Tolerance {
        let s = self.of(&io);
        Tolerance::Product { inner: s.n * s.p * s.q }
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        self.of(&io).cost(io)
    }
}

/// Zeros around an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns before.
    pub left: usize,
    /// Columns after.
    pub right: usize,
}

impl From<usize> for Padding {
    /// The same on all sides.
    fn from(n: usize) -> Self {
        Padding { top: n, bottom: n, left: n, right: n }
    }
}

impl From<[usize; 2]> for Padding {
    /// `[rows above and below, columns on both sides]`, as PyTorch has it.
    fn from([vertical, horizontal]: [usize; 2]) -> Self {
        Padding { top: vertical, bottom: vertical, left: horizontal, right: horizontal }
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

impl From<Conv2dConfig> for Window {
    fn from(c: Conv2dConfig) -> Self {
        let Padding { top, bottom, left, right } = c.padding;
        let slide = |axis: usize, before, after| Slide {
            stride: c.stride[axis],
            dilation: c.dilation[axis],
            before,
            after,
        };
        Window { vertical: slide(0, top, bottom), horizontal: slide(1, left, right), groups: c.groups }
    }
}

impl Tensor {
    /// Convolves images `[N, C, H, W]` with `weight` `[K, C / groups, R, S]` and adds `bias` `[K]`:
    /// `[N, K, P, Q]`. (PyTorch's `conv2d`; the formula stands at the head of
    /// [`ops::conv2d`](crate::ops::conv2d).)
    ///
    /// # Panics
    /// When the shapes do not fit together, or the padded image is smaller than the kernel.
    #[track_caller]
    pub fn conv2d(&self, weight: &Tensor, bias: Option<&Tensor>, config: Conv2dConfig) -> Tensor {
        let op = Conv2d { window: config.into(), ..Conv2d::default() };
        match bias {
            None => Tensor::apply1(op, &[self, weight], &[]),
            Some(bias) => Tensor::apply1(Conv2d { bias: Bias::Channels, ..op }, &[self, weight, bias], &[]),
        }
    }
}
