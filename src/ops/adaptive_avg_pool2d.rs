//! Adaptive average pooling: an image of any size becomes one of a given size. Element (p, q) of the result is the mean
//! of rows `floor(p·H / P)` to `ceil((p + 1)·H / P)` and columns `floor(q·W / Q)` to `ceil((q + 1)·W / Q)`, ends
//! excluded. (The rule of PyTorch's `adaptive_avg_pool2d`.)
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[N, C, H, W]` |
//! | y | `[N, C, P, Q]`, P and Q of any size from 1 on |
//!
//! The method takes a mean over axes where there is one window, and [`avg_pool2d`](crate::ops::avg_pool2d) where all
//! windows have one size.

use crate::kernel::{Bind, Candidate, Target};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::ops::avg_pool2d::AvgPool2dConfig;
use crate::ops::windows::{Parts, Route};
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;

/// Adaptive average pooling over two axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdaptiveAvgPool2d {
    /// The windows.
    pub parts: Parts,
}

impl Op for AdaptiveAvgPool2d {
    fn name(&self) -> &'static str {
        "adaptive_avg_pool2d"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let [x] = inputs else { return expected("one operand") };
        Ok(vec![Spec::f32(self.parts.output(x)?)])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (x, y) = (io.inputs[0], &mut io.outputs[0]);
        let (h, w) = (x.shape[2], x.shape[3]);
        let shape = y.shape;
        crate::parallel::rows(y.data, 1, 2 * self.parts.taps(x.shape), |i, y| {
            let plane = &x.data[i / shape.span(2, 4) * h * w..][..h * w];
            let rows = self.parts.positions(0, i / shape[3] % shape[2], h);
            let columns = self.parts.positions(1, i % shape[3], w);
            let count = rows.len() * columns.len();
            y[0] = rows.map(|r| plane[r * w..][columns.clone()].iter().sum::<f64>()).sum::<f64>() / count as f64;
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let op = AdaptiveAvgPool2dBackward { parts: self.parts, input: g.inputs[0].shape() };
        vec![g.dy[0].as_ref().map(|dy| Tensor::apply1(op, &[dy], &[]))]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let (x, y) = (io.inputs[0].shape, io.outputs[0].shape);
        let params = direct::Params {
            len: y.elements() as u32,
            h: x[2] as u32,
            w: x[3] as u32,
            out_h: y[2] as u32,
            out_w: y[3] as u32,
        };
        let dispatch = direct::dispatch(params)
            .bind(&[Bind::Input(0), Bind::Output(0)])
            .groups(y.elements().div_ceil(64) as u64)
            .trips(self.parts.taps_trips(x));
        vec![Candidate::new("direct").dispatch(dispatch)]
    }

    fn tolerance(&self, io: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Sum { n: self.parts.taps(io.inputs[0].shape) }
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        let flops = io.outputs[0].elements() * self.parts.taps(io.inputs[0].shape);
        Cost { flops: flops as u64, bytes: io.bytes() }
    }
}

/// The gradient of adaptive average pooling: each element gets dy / size of the windows that cover it. Input dy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdaptiveAvgPool2dBackward {
    /// The windows.
    pub parts: Parts,
    /// The shape of x.
    pub input: Shape,
}

impl Op for AdaptiveAvgPool2dBackward {
    fn name(&self) -> &'static str {
        "adaptive_avg_pool2d_backward"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let x = Spec::f32(self.input);
        let y = Spec::f32(self.parts.output(&x)?);
        if inputs != [y] {
            return expected(format!("dy of f32 {}", y.shape));
        }
        Ok(vec![x])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let dy = io.inputs[0];
        let (h, w) = (self.input[2], self.input[3]);
        let (p, q) = (dy.shape[2], dy.shape[3]);
        let work = 2 * self.parts.taps(self.input) * p * q;
        crate::parallel::rows(io.outputs[0].data, h * w, work, |plane, dx| {
            dx.fill(0.0);
            for i in 0..p * q {
                let (rows, columns) = (self.parts.positions(0, i / q, h), self.parts.positions(1, i % q, w));
                let share = dy.data[plane * p * q + i] / (rows.len() * columns.len()) as f64;
                for r in rows {
                    dx[r * w..][columns.clone()].iter_mut().for_each(|dx| *dx += share);
                }
            }
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let op = AdaptiveAvgPool2d { parts: self.parts };
        vec![g.dy[0].as_ref().map(|d| Tensor::apply1(op, &[d], &[]))]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let (x, y) = (self.input, io.inputs[0].shape);
        let params = gather::Params {
            len: x.elements() as u32,
            h: x[2] as u32,
            w: x[3] as u32,
            out_h: y[2] as u32,
            out_w: y[3] as u32,
        };
        let dispatch = gather::dispatch(params)
            .bind(&[Bind::Input(0), Bind::Output(0)])
            .groups(x.elements().div_ceil(64) as u64)
            .trips(self.parts.covering_trips(x));
        vec![Candidate::new("gather").dispatch(dispatch)]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Sum { n: self.parts.overlap(self.input) }
    }
}

impl Tensor {
    /// The means of `output_size` parts of `[N, C, H, W]` of about equal size, which may overlap: `[N, C, P, Q]` for
    /// `[P, Q]`. (PyTorch's `adaptive_avg_pool2d`.)
    ///
    /// # Panics
    /// When H, W or an output size is 0.
    #[track_caller]
    pub fn adaptive_avg_pool2d(&self, output_size: [usize; 2]) -> Tensor {
        let (x, parts) = (self, Parts { output_size });
        match parts.route(x.spec()) {
            Route::Same => x.clone(),
            Route::Whole => x.mean(&[2, 3]).reshape(x.shape().with(2, 1).with(3, 1)),
            Route::Tiles(windows) => x.avg_pool2d_with(windows.kernel, AvgPool2dConfig::default()),
            Route::Parts => Tensor::apply1(AdaptiveAvgPool2d { parts }, &[x], &[]),
            route => {
                let pool = |x: &Tensor, size| x.adaptive_avg_pool2d(size);
                route.compose(x, output_size, pool, |x, axis| x.mean(&[axis]))
            }
        }
    }

    /// The mean of each plane: `[N, C, H, W]` becomes `[N, C, 1, 1]`. (PyTorch's `adaptive_avg_pool2d(1)`.)
    ///
    /// # Panics
    /// When there are not four axes, or H or W is 0.
    #[track_caller]
    pub fn global_avg_pool2d(&self) -> Tensor {
        self.adaptive_avg_pool2d([1, 1])
    }
}

crate::kernel! {
    /// One thread per window.
    mod direct = "shaders/adaptive_avg_pool2d/direct.wgsl";
    params { len: u32, h: u32, w: u32, out_h: u32, out_w: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per element of dx.
    mod gather = "shaders/adaptive_avg_pool2d_backward/gather.wgsl";
    params { len: u32, h: u32, w: u32, out_h: u32, out_w: u32 }
    bind { dy: Read, dx: ReadWrite }
}

/// Test cases of the windows that differ in size: `(shape of x, output size)`.
pub(crate) fn shapes() -> Vec<([usize; 4], [usize; 2])> {
    vec![
        ([1, 2, 6, 7], [4, 3]),
        ([1, 2, 5, 4], [7, 4]),
        ([2, 1, 3, 2], [5, 7]),
        ([1, 1, 1, 1], [3, 2]),
        ([2, 3, 13, 12], [7, 7]),
        ([1, 3, 10, 11], [1, 2]),
        ([3, 2, 1, 97], [1, 13]),
        ([1, 1, 127, 128], [2, 1]),
        ([1, 1, 2, 1], [127, 128]),
        // Products of a size and a position beyond 32 bits.
        ([1, 1, 1, 100_003], [1, 70_001]),
        ([1, 1, 1, 50_021], [1, 100_019]),
        ([0, 3, 6, 10], [4, 4]),
    ]
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (shape, output_size) in shapes() {
        let parts = Parts { output_size };
        let y = shape_of(shape, output_size);
        let small = (1..200).contains(&(shape.iter().product::<usize>() + y.iter().product::<usize>()));
        let forward = Case::new(AdaptiveAvgPool2d { parts }, &[&shape]);
        let backward = Case::new(AdaptiveAvgPool2dBackward { parts, input: Shape::from(shape) }, &[&y]);
        for case in [forward, backward] {
            let case = case.fill(Fill::Normal { mean: 0.5, std: 1.0 });
            cases.push(if small { case.with_gradient() } else { case });
        }
    }
    // More workgroups than one dimension of the grid can count.
    let many = Parts { output_size: [2, 1] };
    cases.push(Case::new(AdaptiveAvgPool2d { parts: many }, &[&[66_000, 32, 3, 1]]));
    cases
}

/// The shape of the result.
pub(crate) fn shape_of([n, c, ..]: [usize; 4], [p, q]: [usize; 2]) -> [usize; 4] {
    [n, c, p, q]
}
