//! Average pooling: `y[n, c, p, q] = Σ_{r, s} x[n, c, p·stride + r - padding, q·stride + s - padding] / divisor` over
//! the positions inside the image. The divisor counts positions of the window, or is given: see [`Divisor`].
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[N, C, H, W]` |
//! | y | `[N, C, P, Q]`, P and Q as in [`max_pool2d`](crate::ops::max_pool2d) with dilation 1 |

use crate::kernel::{Bind, Candidate, Dispatch, Needs, Target};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::ops::windows::{Rounding, Windows, ordered};
use crate::pointwise;
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;

/// What the sum of a window is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Divisor {
    /// The positions of the window inside the padded image.
    #[default]
    Padded,
    /// The positions of the window inside the image.
    Image,
    /// This number, not 0.
    Fixed(usize),
}

impl Divisor {
    /// The kernels' constant `DIVISOR`.
    fn code(self) -> u32 {
        match self {
            Divisor::Padded => 0,
            Divisor::Image => 1,
            Divisor::Fixed(_) => 2,
        }
    }
}

/// A dispatch over windows of 2 x 2, `$per` results along a row per thread.
macro_rules! tiles {
    ($kernel:ident, $y:expr, $per:expr, $divisor:expr) => {{
        let (threads, row) = ($y.elements() / $per, pointwise::Divisor::new($y[3] / $per));
        $kernel::dispatch($kernel::Params {
            len: threads as u32,
            out_w: row.size,
            magic: row.magic,
            shift: row.shift,
            divisor: $divisor as f32,
        })
        .groups(threads.div_ceil(64) as u64)
    }};
}

fn software(variant: &'static str, dispatch: Dispatch) -> Candidate {
    Candidate::new(variant).needs(Needs::SUBGROUP8).dispatch(dispatch)
}

/// Average pooling over two axes. The windows have dilation 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AvgPool2d {
    /// The windows.
    pub windows: Windows,
    /// What sums are divided by.
    pub divisor: Divisor,
}

impl AvgPool2d {
    fn output(&self, x: &Spec) -> Result<Shape, Expected> {
        if self.windows.dilation != [1, 1] {
            return expected("windows without dilation");
        }
        if matches!(self.divisor, Divisor::Fixed(n) if n == 0 || u32::try_from(n).is_err()) {
            return expected(format!("a divisor other than 0 of at most {}", u32::MAX));
        }
        self.windows.output(x)
    }

    /// What the sum of the window of result `i` is divided by.
    fn count(&self, [h, w]: [usize; 2], y: Shape, i: usize) -> usize {
        let along = |axis: usize, index: usize, size: usize| {
            let start = index * self.windows.stride[axis];
            match self.divisor {
                Divisor::Image => self.windows.positions(axis, index, size).count(),
                _ => (start + self.windows.kernel[axis]).min(size + 2 * self.windows.padding[axis]) - start,
            }
        };
        if let Divisor::Fixed(divisor) = self.divisor {
            return divisor;
        }
        along(0, i / y[3] % y[2], h) * along(1, i % y[3], w)
    }
}

impl Op for AvgPool2d {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let [x] = inputs else { return expected("one operand") };
        Ok(vec![Spec::f32(self.output(x)?)])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (x, y) = (io.inputs[0], &mut io.outputs[0]);
        let (h, w) = (x.shape[2], x.shape[3]);
        let shape = y.shape;
        crate::parallel::rows(y.data, 1, 4 * self.windows.taps(), |i, y| {
            let plane = &x.data[i / shape.span(2, 4) * h * w..];
            let rows = self.windows.positions(0, i / shape[3] % shape[2], h);
            let row = |r: usize| self.windows.positions(1, i % shape[3], w).map(move |c| plane[r * w + c]);
            y[0] = rows.flat_map(row).sum::<f64>() / self.count([h, w], shape, i) as f64;
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let op = AvgPool2dBackward { pool: *self, input: g.inputs[0].shape() };
        vec![g.dy[0].as_ref().map(|dy| Tensor::apply1(op, &[dy], &[]))]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let (x, y) = (io.inputs[0].shape, io.outputs[0].shape);
        let dispatch = direct::dispatch(self.params(x, y, y.elements()))
            .constant("DIVISOR", self.divisor.code())
            .bind(&[Bind::Input(0), Bind::Output(0)])
            .groups(y.elements().div_ceil(64) as u64)
            .trips(self.windows.taps_trips());
        let base = Candidate::new("direct").dispatch(dispatch);
        if !self.windows.pairs(x) {
            return vec![base];
        }
        let divisor = self.count([x[2], x[3]], y, 0);
        let bind = [Bind::Input(0), Bind::Output(0)];
        let (mut fast, mut portable) = (Vec::new(), None);
        if y[3].is_multiple_of(4) {
            fast.push(software("octets", tiles!(octets, y, 4, divisor).bind(&bind)));
        }
        if y[3].is_multiple_of(2) {
            fast.push(software("double_pairs", tiles!(double_pairs, y, 2, divisor).bind(&bind)));
            portable = Some(Candidate::new("vec4").dispatch(tiles!(vec4, y, 2, divisor).bind(&bind)));
        }
        fast.push(software("pairs", tiles!(pairs, y, 1, divisor).bind(&bind)));
        ordered(fast, portable, base, target)
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Sum { n: self.windows.taps() }
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: (io.outputs[0].elements() * self.windows.taps()) as u64, bytes: io.bytes() }
    }
}

impl AvgPool2d {
    fn params(&self, x: Shape, y: Shape, len: usize) -> direct::Params {
        direct::Params {
            len: len as u32,
            h: x[2] as u32,
            w: x[3] as u32,
            out_h: y[2] as u32,
            out_w: y[3] as u32,
            kernel_h: self.windows.kernel[0] as u32,
            kernel_w: self.windows.kernel[1] as u32,
            stride_h: self.windows.stride[0] as u32,
            stride_w: self.windows.stride[1] as u32,
            pad_h: self.windows.padding[0] as u32,
            pad_w: self.windows.padding[1] as u32,
            divisor: if let Divisor::Fixed(n) = self.divisor { n as u32 } else { 0 },
        }
    }
}

/// The gradient of average pooling: each element gets dy / divisor of the windows that cover it. Input dy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AvgPool2dBackward {
    /// The pooling.
    pub pool: AvgPool2d,
    /// The shape of x.
    pub input: Shape,
}

impl Op for AvgPool2dBackward {
    fn name(&self) -> &'static str {
        "avg_pool2d_backward"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let x = Spec::f32(self.input);
        let y = Spec::f32(self.pool.output(&x)?);
        if inputs != [y] {
            return expected(format!("dy of f32 {}", y.shape));
        }
        Ok(vec![x])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let dy = io.inputs[0];
        let (h, w) = (self.input[2], self.input[3]);
        let per_plane = dy.shape.span(2, 4);
        let windows = &self.pool.windows;
        let work = 4 * self.pool.windows.taps() * per_plane;
        crate::parallel::rows(io.outputs[0].data, h * w, work, |plane, dx| {
            dx.fill(0.0);
            for i in plane * per_plane..(plane + 1) * per_plane {
                let share = dy.data[i] / self.pool.count([h, w], dy.shape, i) as f64;
                for row in windows.positions(0, i / dy.shape[3] % dy.shape[2], h) {
                    windows.positions(1, i % dy.shape[3], w).for_each(|c| dx[row * w + c] += share);
                }
            }
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![g.dy[0].as_ref().map(|d| Tensor::apply1(self.pool, &[d], &[]))]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let (x, y) = (self.input, io.inputs[0].shape);
        let p = self.pool.params(x, y, x.elements());
        let params = gather::Params {
            len: p.len,
            h: p.h,
            w: p.w,
            out_h: p.out_h,
            out_w: p.out_w,
            kernel_h: p.kernel_h,
            kernel_w: p.kernel_w,
            stride_h: p.stride_h,
            stride_w: p.stride_w,
            pad_h: p.pad_h,
            pad_w: p.pad_w,
            divisor: p.divisor,
        };
        let dispatch = gather::dispatch(params)
            .constant("DIVISOR", self.pool.divisor.code())
            .bind(&[Bind::Input(0), Bind::Output(0)])
            .groups(x.elements().div_ceil(64) as u64)
            .trips(self.pool.windows.covering_trips(y));
        let base = Candidate::new("gather").dispatch(dispatch);
        if !self.pool.windows.pairs(x) {
            return vec![base];
        }
        let divisor = self.pool.count([x[2], x[3]], y, 0);
        let bind = [Bind::Input(0), Bind::Output(0)];
        let (mut fast, mut portable) = (Vec::new(), None);
        if y[3].is_multiple_of(4) {
            fast.push(software("octets", tiles!(octets_backward, y, 4, divisor).bind(&bind)));
        }
        if y[3].is_multiple_of(2) {
            fast.push(software("double_pairs", tiles!(double_pairs_backward, y, 2, divisor).bind(&bind)));
            portable = Some(Candidate::new("vec4").dispatch(tiles!(vec4_backward, y, 2, divisor).bind(&bind)));
        }
        fast.push(software("pairs", tiles!(pairs_backward, y, 1, divisor).bind(&bind)));
        ordered(fast, portable, base, target)
    }

    fn tolerance(&self, io: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Sum { n: self.pool.windows.overlap(io.inputs[0].shape) }
    }
}

/// What an average pooling takes besides the window's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool2dConfig {
    /// From one window to the next; the window's size when `None`.
    pub stride: Option<[usize; 2]>,
    /// Rows and columns around the image, at most half a window.
    pub padding: [usize; 2],
    /// Whether the last window may reach beyond the padded image.
    pub ceil_mode: bool,
    /// Whether the divisor counts padding.
    pub count_include_pad: bool,
    /// What sums are divided by, instead of a count.
    pub divisor_override: Option<usize>,
}

impl Default for AvgPool2dConfig {
    fn default() -> Self {
        AvgPool2dConfig {
            stride: None,
            padding: [0, 0],
            ceil_mode: false,
            count_include_pad: true,
            divisor_override: None,
        }
    }
}

impl Tensor {
    /// The mean of each square window of `[N, C, H, W]`, side by side: `[N, C, H / size, W / size]`.
    /// (PyTorch's `avg_pool2d`.)
    ///
    /// # Panics
    /// When the image is smaller than a window.
    #[track_caller]
    pub fn avg_pool2d(&self, kernel_size: usize) -> Tensor {
        self.avg_pool2d_with([kernel_size; 2], AvgPool2dConfig::default())
    }

    /// The mean of each window of `[N, C, H, W]`: `[N, C, P, Q]`.
    ///
    /// # Panics
    /// When the windows do not fit the image, padding exceeds half a window, or the divisor is 0.
    #[track_caller]
    pub fn avg_pool2d_with(&self, kernel_size: [usize; 2], config: AvgPool2dConfig) -> Tensor {
        let windows = Windows {
            kernel: kernel_size,
            stride: config.stride.unwrap_or(kernel_size),
            padding: config.padding,
            dilation: [1, 1],
            rounding: if config.ceil_mode { Rounding::Ceil } else { Rounding::Floor },
        };
        let divisor = match config.divisor_override {
            Some(divisor) => Divisor::Fixed(divisor),
            None if config.count_include_pad => Divisor::Padded,
            None => Divisor::Image,
        };
        Tensor::apply1(AvgPool2d { windows, divisor }, &[self], &[])
    }
}

crate::kernel! {
    /// One thread per window.
    mod direct = "shaders/avg_pool2d/direct.wgsl";
    params {
        len: u32, h: u32, w: u32, out_h: u32, out_w: u32, kernel_h: u32, kernel_w: u32,
        stride_h: u32, stride_w: u32, pad_h: u32, pad_w: u32, divisor: u32,
    }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per element of dx.
    mod gather = "shaders/avg_pool2d_backward/gather.wgsl";
    params {
        len: u32, h: u32, w: u32, out_h: u32, out_w: u32, kernel_h: u32, kernel_w: u32,
        stride_h: u32, stride_w: u32, pad_h: u32, pad_w: u32, divisor: u32,
    }
    bind { dy: Read, dx: ReadWrite }
}

crate::kernel! {
    /// One thread per 2 x 2 window.
    mod pairs = "shaders/avg_pool2d/pairs.wgsl";
    params { len: u32, out_w: u32, magic: u32, shift: u32, divisor: f32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per two 2 x 2 windows.
    mod double_pairs = "shaders/avg_pool2d/double_pairs.wgsl";
    params { len: u32, out_w: u32, magic: u32, shift: u32, divisor: f32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per four 2 x 2 windows.
    mod octets = "shaders/avg_pool2d/octets.wgsl";
    params { len: u32, out_w: u32, magic: u32, shift: u32, divisor: f32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per two 2 x 2 windows.
    mod vec4 = "shaders/avg_pool2d/vec4.wgsl";
    params { len: u32, out_w: u32, magic: u32, shift: u32, divisor: f32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per 2 x 2 window.
    mod pairs_backward = "shaders/avg_pool2d_backward/pairs.wgsl";
    params { len: u32, out_w: u32, magic: u32, shift: u32, divisor: f32 }
    bind { dy: Read, dx: ReadWrite }
}

crate::kernel! {
    /// One thread per two 2 x 2 windows.
    mod double_pairs_backward = "shaders/avg_pool2d_backward/double_pairs.wgsl";
    params { len: u32, out_w: u32, magic: u32, shift: u32, divisor: f32 }
    bind { dy: Read, dx: ReadWrite }
}

crate::kernel! {
    /// One thread per four 2 x 2 windows.
    mod octets_backward = "shaders/avg_pool2d_backward/octets.wgsl";
    params { len: u32, out_w: u32, magic: u32, shift: u32, divisor: f32 }
    bind { dy: Read, dx: ReadWrite }
}

crate::kernel! {
    /// One thread per two 2 x 2 windows.
    mod vec4_backward = "shaders/avg_pool2d_backward/vec4.wgsl";
    params { len: u32, out_w: u32, magic: u32, shift: u32, divisor: f32 }
    bind { dy: Read, dx: ReadWrite }
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
    let ceil = Windows { kernel: [3, 2], stride: [2, 3], rounding: Rounding::Ceil, ..two };
    let ceil_pad = Windows { kernel: [2, 3], padding: [1, 1], ..ceil };
    let sparse = Windows { stride: [3, 4], ..two };
    let normal = Fill::Normal { mean: 0.5, std: 1.0 };
    let mut cases = Vec::new();
    let mut both = |windows: Windows, divisor: Divisor, shape: [usize; 4]| {
        let pool = AvgPool2d { windows, divisor };
        let y = windows.output(&Spec::f32(shape)).expect("windows that fit");
        let backward = AvgPool2dBackward { pool, input: Shape::from(shape) };
        let (forward, backward) = (Case::new(pool, &[&shape]), Case::new(backward, &[y.dims()]));
        let small = shape.iter().product::<usize>() <= 100 && shape[0] > 0;
        for case in [forward.fill(normal), backward.fill(normal)] {
            cases.push(if small { case.with_gradient() } else { case });
        }
    };
    for divisor in [Divisor::Padded, Divisor::Image, Divisor::Fixed(5)] {
        for windows in [two, three, dense, ceil, ceil_pad, sparse] {
            both(windows, divisor, [1, 2, 6, 7]);
            both(windows, divisor, [2, 3, 13, 12]);
        }
    }
    both(two, Divisor::Padded, [1, 1, 2, 2]);
    both(two, Divisor::Fixed(3), [2, 2, 6, 8]);
    both(two, Divisor::Padded, [1, 3, 6, 10]);
    both(two, Divisor::Padded, [3, 5, 28, 28]);
    both(two, Divisor::Image, [3, 5, 14, 16]);
    both(two, Divisor::Padded, [0, 3, 6, 10]);
    both(Windows { kernel: [100, 120], stride: [7, 9], ..two }, Divisor::Padded, [1, 2, 128, 130]);
    cases
}
