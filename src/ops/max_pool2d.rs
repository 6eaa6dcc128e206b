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

use crate::kernel::{Bind, Candidate, Dispatch, Needs, Target};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::ops::batch_norm::floats;
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
        let (x, y) = (io.inputs[0].shape, io.outputs[0].shape);
        let base = Candidate::new("direct")
            .dispatch(direct(&self.windows, x, y, self.gives).bind(&[Bind::Input(0), Bind::Output(0)]));
        if self.gives == Gives::Indices || !self.windows.pairs(x) {
            return vec![base];
        }
        let (len, out_w) = (y.elements(), y[3]);
        let bind = [Bind::Input(0), Bind::Output(0)];
        let mut fast = Vec::new();
        if out_w.is_multiple_of(2) {
            let params = double_pairs::Params { len: (len / 2) as u32, out_w: (out_w / 2) as u32 };
            let d = double_pairs::dispatch(params).bind(&bind).groups((len / 2).div_ceil(64) as u64);
            fast.push(Candidate::new("double_pairs").needs(Needs::SUBGROUP8).dispatch(d));
        }
        let params = pairs::Params { len: len as u32, out_w: out_w as u32 };
        let d = pairs::dispatch(params).bind(&bind).groups(len.div_ceil(64) as u64);
        fast.push(Candidate::new("pairs").needs(Needs::SUBGROUP8).dispatch(d));
        ordered(fast, base, target)
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

/// Fast candidates before the base where they are meant to win, behind it where they are only right.
fn ordered(fast: Vec<Candidate>, base: Candidate, target: &Target) -> Vec<Candidate> {
    let mut all = fast;
    if !target.software_subgroup8() {
        all.insert(0, base.clone());
    }
    all.push(base);
    all
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
        let (x, y) = (io.inputs[0].shape, io.inputs[1].shape);
        let windows = &self.windows;
        let params = gather::Params {
            len: x.elements() as u32,
            h: x[2] as u32,
            w: x[3] as u32,
            out_h: y[2] as u32,
            out_w: y[3] as u32,
            kernel_h: windows.kernel[0] as u32,
            kernel_w: windows.kernel[1] as u32,
            stride_h: windows.stride[0] as u32,
            stride_w: windows.stride[1] as u32,
            pad_h: windows.padding[0] as u32,
            pad_w: windows.padding[1] as u32,
            dilation_h: windows.dilation[0] as u32,
            dilation_w: windows.dilation[1] as u32,
        };
        let gather = gather::dispatch(params)
            .bind(&[Bind::Input(1), Bind::Scratch(0), Bind::Output(0)])
            .groups(x.elements().div_ceil(64) as u64)
            .trips(windows.covering_trips(y));
        let found = direct(windows, x, y, Gives::Indices).bind(&[Bind::Input(0), Bind::Scratch(0)]);
        let base = Candidate::new("gather").scratch(floats(y.elements())).dispatch(found).dispatch(gather);
        if !windows.pairs(x) {
            return vec![base];
        }
        let (len, out_w) = (y.elements(), y[3]);
        let bind = [Bind::Input(0), Bind::Input(1), Bind::Output(0)];
        let mut fast = Vec::new();
        if out_w.is_multiple_of(2) {
            let params = double_pairs_backward::Params { len: (len / 2) as u32, out_w: (out_w / 2) as u32 };
            let groups = (len / 2).div_ceil(64) as u64;
            let d = double_pairs_backward::dispatch(params).bind(&bind).groups(groups);
            fast.push(Candidate::new("double_pairs").needs(Needs::SUBGROUP8).dispatch(d));
        }
        let params = pairs_backward::Params { len: len as u32, out_w: out_w as u32 };
        let d = pairs_backward::dispatch(params).bind(&bind).groups(len.div_ceil(64) as u64);
        fast.push(Candidate::new("pairs").needs(Needs::SUBGROUP8).dispatch(d));
        ordered(fast, base, target)
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

/// The base kernel; buffers are still to be given.
fn direct(windows: &Windows, x: Shape, y: Shape, gives: Gives) -> Dispatch {
    let params = direct::Params {
        len: y.elements() as u32,
        h: x[2] as u32,
        w: x[3] as u32,
        out_h: y[2] as u32,
        out_w: y[3] as u32,
        kernel_h: windows.kernel[0] as u32,
        kernel_w: windows.kernel[1] as u32,
        stride_h: windows.stride[0] as u32,
        stride_w: windows.stride[1] as u32,
        pad_h: windows.padding[0] as u32,
        pad_w: windows.padding[1] as u32,
        dilation_h: windows.dilation[0] as u32,
        dilation_w: windows.dilation[1] as u32,
    };
    direct::dispatch(params)
        .constant("INDICES", gives == Gives::Indices)
        .groups(y.elements().div_ceil(64) as u64)
        .trips(windows.taps_trips())
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

crate::kernel! {
    /// One thread per window.
    mod direct = "shaders/max_pool2d/direct.wgsl";
    params {
        len: u32, h: u32, w: u32, out_h: u32, out_w: u32, kernel_h: u32, kernel_w: u32,
        stride_h: u32, stride_w: u32, pad_h: u32, pad_w: u32, dilation_h: u32, dilation_w: u32,
    }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per 2 x 2 window.
    mod pairs = "shaders/max_pool2d/pairs.wgsl";
    params { len: u32, out_w: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per two 2 x 2 windows.
    mod double_pairs = "shaders/max_pool2d/double_pairs.wgsl";
    params { len: u32, out_w: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per element of dx.
    mod gather = "shaders/max_pool2d_backward/gather.wgsl";
    params {
        len: u32, h: u32, w: u32, out_h: u32, out_w: u32, kernel_h: u32, kernel_w: u32,
        stride_h: u32, stride_w: u32, pad_h: u32, pad_w: u32, dilation_h: u32, dilation_w: u32,
    }
    bind { dy: Read, found: Read, dx: ReadWrite }
}

crate::kernel! {
    /// One thread per 2 x 2 window.
    mod pairs_backward = "shaders/max_pool2d_backward/pairs.wgsl";
    params { len: u32, out_w: u32 }
    bind { x: Read, dy: Read, dx: ReadWrite }
}

crate::kernel! {
    /// One thread per two 2 x 2 windows.
    mod double_pairs_backward = "shaders/max_pool2d_backward/double_pairs.wgsl";
    params { len: u32, out_w: u32 }
    bind { x: Read, dy: Read, dx: ReadWrite }
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
    both(two, [1, 1, 2, 2], Fill::Ties);
    both(two, [1, 3, 6, 10], Fill::Ties);
    both(two, [0, 3, 6, 10], Fill::Ties);
    both(Windows { kernel: [100, 120], stride: [7, 9], ..two }, [1, 2, 128, 130], Fill::Ties);
    // More workgroups than one dimension of the grid can count.
    cases.push(Case::new(MaxPool2d { windows: two, gives: Gives::Values }, &[&[66_000, 64, 2, 2]]));
    for windows in [two, three, dense, dilated, ceil, ceil_pad, sparse] {
        let op = MaxPool2d { windows, gives: Gives::Values };
        cases.push(Case::new(op, &[&[1, 2, 6, 7]]).fill(Fill::Distinct).with_gradient());
    }
    cases
}
