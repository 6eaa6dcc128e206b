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
//! In [`conv1d`](crate::ops::conv1d) all of them lack the vertical axis: H, R and P count as 1.
//!
//! `P = (H + top + bottom - dilation·(R - 1) - 1) / stride + 1`, rounded down, and Q likewise. `f` is an
//! [`Activation`].
//!
//! The gradients are sums over the same products:
//! [`Conv2dInputGrad`] `dx[n,c,h,w] = Σ dy[n,k,p,q]·w[k,c,r,s]` over all k, p, q, r, s that meet the pixel,
//! [`Conv2dWeightGrad`] `dw[k,c,r,s] = Σ_{n,p,q} dy[n,k,p,q]·x[n,c,..]`.
//! All three are linear in either operand, so each has its gradients among the others.

mod cases;
mod columns;
mod config;
mod depthwise;
mod direct;
mod implicit_gemm;
mod product;
mod reference;
mod subgroup8;

use crate::kernel::{Candidate, Target, TargetClass};
use crate::op::{Activation, Cost, Expected, Follow, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::shape::{DType, Shape, Spec};
use crate::tensor::Tensor;
use std::sync::Arc;

pub use cases::cases;
pub(super) use config::{apply_as, convolution};
pub use config::{Conv2dConfig, Padding};

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
    /// The number of results of `taps` taps on `size` pixels, or `None` when the kernel does not fit, or when
    /// positions cannot be counted in 31 bits.
    fn results(self, size: usize, taps: usize) -> Option<usize> {
        let covered = self.dilation.checked_mul(taps.checked_sub(1)?)?.checked_add(1)?;
        let padded = size.checked_add(self.before)?.checked_add(self.after)?;
        let counted = padded.max(self.stride).max(self.dilation) <= i32::MAX as usize;
        Some(padded.checked_sub(covered).filter(|_| counted)? / self.stride + 1)
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
        if !k.is_multiple_of(window.groups) || channels.checked_mul(window.groups) != Some(c) {
            let g = window.groups;
            return expected(format!("C = {c} and K = {k} divided into {g} groups, w of [K, C / {g}, R, S]"));
        }
        let (Some(p), Some(q)) = (window.vertical.results(h, r), window.horizontal.results(width, s)) else {
            return expected(format!(
                "a padded image of {h} x {width} no smaller than the kernel of {r} x {s}, all below 2^31"
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
        [self.p, self.q, self.weights()].into_iter().fold(self.n, usize::saturating_mul)
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: 2u64.saturating_mul(self.multiply_adds() as u64), bytes: io.bytes() }
    }
}

/// The four axes of an operand; without a vertical one, its size is 1.
fn axes4(spec: &Spec) -> Result<[usize; 4], Expected> {
    match *spec.shape.dims() {
        [n, c, h, w] => Ok([n, c, h, w]),
        [n, c, w] => Ok([n, c, 1, w]),
        _ => expected("operands with four axes (three without the vertical one)"),
    }
}

/// A result with as many axes as the operand `like`.
fn result([n, c, h, w]: [usize; 4], like: &Spec) -> Result<Vec<Spec>, Expected> {
    let shape = match like.shape.rank() {
        3 => Shape::checked(&[n, c, w]),
        _ => Shape::checked(&[n, c, h, w]),
    };
    match shape {
        Some(shape) => Ok(vec![Spec::f32(shape)]),
        None => expected(format!("a result with fewer elements than [{n}, {c}, {h}, {w}]")),
    }
}

/// Checks number, type and axes of operands.
fn operands(inputs: &[Spec], count: usize, window: &Window) -> Result<(), Expected> {
    if inputs.len() != count || inputs.iter().any(|i| i.dtype != DType::F32) {
        return expected(format!("{count} operands of f32"));
    }
    if inputs[0].shape.rank() != inputs[1].shape.rank() {
        return expected("two operands with as many axes");
    }
    if inputs[0].shape.rank() == 3 && window.vertical != Slide::default() {
        return expected("operands with a vertical axis, along which the kernel is to move");
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
        let x = [n, w[1].saturating_mul(self.window.groups), self.height, self.width];
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

fn input_grad(window: Window, x: &Tensor, dy: &Tensor, w: &Tensor) -> Tensor {
    let [_, _, height, width] = axes4(&x.spec()).expect(ACCEPTED);
    Tensor::apply1(Conv2dInputGrad { window, height, width }, &[dy, w], &[])
}

fn weight_grad(window: Window, w: &Tensor, x: &Tensor, dy: &Tensor) -> Tensor {
    let [_, _, kernel_height, kernel_width] = axes4(&w.spec()).expect(ACCEPTED);
    Tensor::apply1(Conv2dWeightGrad { window, kernel_height, kernel_width }, &[x, dy], &[])
}

/// The candidates for software adapters, best first.
fn octets(
    sizes: &Sizes,
    products: Vec<Candidate>,
    columns: Option<Candidate>,
    rows: Option<Candidate>,
) -> Vec<Candidate> {
    let two = if columns::better(sizes) { [columns, rows] } else { [rows, columns] };
    products.into_iter().chain(two.into_iter().flatten()).collect()
}

/// Orders the candidates of an op. On hardware the base variant is the last; software adapters gain nothing from
/// workgroup memory.
fn order(
    sizes: Sizes,
    target: &Target,
    octets: Vec<Candidate>,
    implicit_gemm: Option<Candidate>,
    direct: Candidate,
) -> Vec<Candidate> {
    if target.class == TargetClass::Hardware {
        return implicit_gemm.into_iter().chain([direct]).collect();
    }
    let mut all: Vec<Candidate> = match target.software_subgroup8() {
        true => octets,
        false => Vec::new(),
    };
    if sizes.multiply_adds() < SMALL {
        all.insert(0, direct.clone());
    }
    all.push(direct);
    all.extend(implicit_gemm);
    all
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        operands(inputs, if self.bias == Bias::None { 2 } else { 3 }, &self.window)?;
        let s = self.sizes(&inputs[0], &inputs[1])?;
        if self.bias == Bias::Channels && inputs[2].elements() != s.k {
            return expected(format!("a bias of {} elements", s.k));
        }
        result([s.n, s.k, s.p, s.q], &inputs[0])
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
            g.wants[0].then(|| input_grad(self.window, x, dy, w)),
            g.wants[1].then(|| weight_grad(self.window, w, x, dy)),
        ];
        if let Some(b) = g.inputs.get(2) {
            grads.push(g.wants[2].then(|| {
                let axes: Vec<usize> = (0..dy.shape().rank()).filter(|&axis| axis != 1).collect();
                dy.sum(&axes).reshape(b.shape())
            }));
        }
        grads
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let s = self.of(&io);
        let gemm = implicit_gemm::forward(&s, self);
        let octets = octets(&s, product::forward(&s, self), columns::forward(&s, self), subgroup8::forward(&s, self));
        let general = order(s, target, octets, gemm, direct::forward(&s, self));
        [depthwise::forward(&s, self, target), general].concat()
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
            // Slopes are at most 1, and the errors of a sum about one unit for each summand.
            Activation::Sigmoid | Activation::Tanh => {
                Tolerance::Absolute((inner + 1) as f64 * 2f64.powi(-22))
            }
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
        operands(inputs, 2, &self.window)?;
        let s = self.sizes(&inputs[0], &inputs[1])?;
        result([s.n, s.c, s.h, s.w], &inputs[0])
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
            g.wants[1].then(|| weight_grad(self.window, w, d, dy)),
        ]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let s = self.of(&io);
        let octets = octets(&s, product::input_grad(&s), columns::input_grad(&s), subgroup8::input_grad(&s));
        let general = order(s, target, octets, implicit_gemm::input_grad(&s), direct::input_grad(&s));
        [depthwise::input_grad(&s, target), general].concat()
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
        operands(inputs, 2, &self.window)?;
        let s = self.sizes(&inputs[0], &inputs[1])?;
        result([s.k, s.c_group(), s.r, s.s], &inputs[0])
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
            g.wants[0].then(|| input_grad(self.window, x, dy, d)),
            g.wants[1].then(|| forward(self.window, x, d)),
        ]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let s = self.of(&io);
        let octets = octets(&s, product::weight_grad(&s), None, subgroup8::weight_grad(&s));
        let general = order(s, target, octets, implicit_gemm::weight_grad(&s), direct::weight_grad(&s));
        [depthwise::weight_grad(&s, target), general].concat()
    }

    fn tolerance(&self, io: Io<'_>, _output: usize) -> Tolerance {
        let s = self.of(&io);
        Tolerance::Product { inner: s.n * s.p * s.q }
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        self.of(&io).cost(io)
    }
}
