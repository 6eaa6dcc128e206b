//! Adaptive max pooling: an image of any size becomes one of a given size. Element (p, q) of the result is the largest
//! element of rows `floor(p·H / P)` to `ceil((p + 1)·H / P)` and columns `floor(q·W / Q)` to `ceil((q + 1)·W / Q)`, ends
//! excluded. Of equal elements the first in row-major order is the maximum: the whole gradient of the window goes to
//! it. (The rule of PyTorch's `adaptive_max_pool2d`.)
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[N, C, H, W]` |
//! | y, or the indices `h·W + w` of the maxima (u32) | `[N, C, P, Q]`, P and Q of any size from 1 on |
//!
//! The method takes a maximum over axes where there is one window, and [`max_pool2d`](crate::ops::max_pool2d) where all
//! windows have one size.

use crate::kernel::{Bind, Candidate, Dispatch, Target};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::ops::adaptive_avg_pool2d::{shape_of, shapes};
use crate::ops::batch_norm::floats;
use crate::ops::max_pool2d::{Gives, MaxPool2dConfig};
use crate::ops::windows::{Parts, Route};
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;

/// Adaptive max pooling over two axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdaptiveMaxPool2d {
    /// The windows.
    pub parts: Parts,
    /// Maxima or indices.
    pub gives: Gives,
}

/// Index in the plane, and value, of the first maximum of window `i` of a plane.
fn first_maximum(parts: &Parts, plane: &[f64], [h, w]: [usize; 2], i: usize) -> (usize, f64) {
    let q = parts.output_size[1];
    let columns = parts.positions(1, i % q, w);
    let row = |r: usize| columns.clone().map(move |c| r * w + c);
    let all = parts.positions(0, i / q, h).flat_map(row).map(|at| (at, plane[at]));
    all.reduce(|best, other| if other.1 > best.1 { other } else { best }).expect("a window has an element")
}

impl Op for AdaptiveMaxPool2d {
    fn name(&self) -> &'static str {
        "adaptive_max_pool2d"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let [x] = inputs else { return expected("one operand") };
        let shape = self.parts.output(x)?;
        Ok(vec![match self.gives {
            Gives::Values => Spec::f32(shape),
            Gives::Indices => Spec::u32(shape),
        }])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (x, y) = (io.inputs[0], &mut io.outputs[0]);
        let (h, w) = (x.shape[2], x.shape[3]);
        let per_plane = y.shape.span(2, 4);
        crate::parallel::rows(y.data, 1, 2 * self.parts.taps(x.shape), |i, y| {
            let plane = &x.data[i / per_plane * h * w..][..h * w];
            let (index, value) = first_maximum(&self.parts, plane, [h, w], i % per_plane);
            y[0] = if self.gives == Gives::Values { value } else { index as f64 };
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let op = AdaptiveMaxPool2dBackward { parts: self.parts };
        let dy = g.dy[0].as_ref().filter(|_| self.gives == Gives::Values);
        vec![dy.map(|dy| Tensor::apply1(op, &[&g.inputs[0], dy], &[]))]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let (x, y) = (io.inputs[0].shape, io.outputs[0].shape);
        let dispatch = direct(&self.parts, x, y, self.gives).bind(&[Bind::Input(0), Bind::Output(0)]);
        vec![Candidate::new("direct").dispatch(dispatch)]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Exact
    }
}

/// The gradient of adaptive max pooling: each element gets dy of the windows whose first maximum it is. Inputs x and dy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdaptiveMaxPool2dBackward {
    /// The windows.
    pub parts: Parts,
}

impl Op for AdaptiveMaxPool2dBackward {
    fn name(&self) -> &'static str {
        "adaptive_max_pool2d_backward"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let [x, dy] = inputs else { return expected("x and dy") };
        let y = Spec::f32(self.parts.output(x)?);
        if *dy != y {
            return expected(format!("dy of shape {}", y.shape));
        }
        Ok(vec![*x])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (x, dy) = (io.inputs[0], io.inputs[1]);
        let (h, w) = (x.shape[2], x.shape[3]);
        let per_plane = dy.shape.span(2, 4);
        let work = 2 * self.parts.taps(x.shape) * per_plane;
        crate::parallel::rows(io.outputs[0].data, h * w, work, |plane, dx| {
            dx.fill(0.0);
            let values = &x.data[plane * h * w..][..h * w];
            for i in 0..per_plane {
                dx[first_maximum(&self.parts, values, [h, w], i).0] += dy.data[plane * per_plane + i];
            }
        });
    }

    fn grad(&self, _: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None, None]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let (x, y) = (io.inputs[0].shape, io.inputs[1].shape);
        let params = gather::Params {
            len: x.elements() as u32,
            h: x[2] as u32,
            w: x[3] as u32,
            out_h: y[2] as u32,
            out_w: y[3] as u32,
        };
        let gather = gather::dispatch(params)
            .bind(&[Bind::Input(1), Bind::Scratch(0), Bind::Output(0)])
            .groups(x.elements().div_ceil(64) as u64)
            .trips(self.parts.covering_trips(x));
        let found = direct(&self.parts, x, y, Gives::Indices).bind(&[Bind::Input(0), Bind::Scratch(0)]);
        vec![Candidate::new("gather").scratch(floats(y.elements())).dispatch(found).dispatch(gather)]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::OfMax(1e-6)
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: io.inputs[1].elements() as u64, bytes: io.bytes() }
    }
}

/// The forward kernel; buffers are still to be given.
fn direct(parts: &Parts, x: Shape, y: Shape, gives: Gives) -> Dispatch {
    let params = direct::Params {
        len: y.elements() as u32,
        h: x[2] as u32,
        w: x[3] as u32,
        out_h: y[2] as u32,
        out_w: y[3] as u32,
    };
    direct::dispatch(params)
        .constant("INDICES", gives == Gives::Indices)
        .groups(y.elements().div_ceil(64) as u64)
        .trips(parts.taps_trips(x))
}

impl Tensor {
    /// The largest elements of `output_size` parts of `[N, C, H, W]` of about equal size, which may overlap:
    /// `[N, C, P, Q]` for `[P, Q]`. (PyTorch's `adaptive_max_pool2d`.)
    ///
    /// # Panics
    /// When H, W or an output size is 0.
    #[track_caller]
    pub fn adaptive_max_pool2d(&self, output_size: [usize; 2]) -> Tensor {
        let (x, parts) = (self, Parts { output_size });
        match parts.route(x.spec()) {
            Route::Same => x.clone(),
            Route::Whole => x.max(&[2, 3]).reshape(x.shape().with(2, 1).with(3, 1)),
            Route::Tiles(windows) => x.max_pool2d_with(windows.kernel, MaxPool2dConfig::default()),
            Route::Parts => Tensor::apply1(AdaptiveMaxPool2d { parts, gives: Gives::Values }, &[x], &[]),
            route => {
                let pool = |x: &Tensor, size| x.adaptive_max_pool2d(size);
                route.compose(x, output_size, pool, |x, axis| x.max(&[axis]))
            }
        }
    }

    /// Where the maxima of [`adaptive_max_pool2d`](Tensor::adaptive_max_pool2d) lie: indices `h·W + w` (u32) of shape
    /// `[N, C, P, Q]`. (The indices of PyTorch's `adaptive_max_pool2d(return_indices=True)`.)
    ///
    /// # Panics
    /// When H, W or an output size is 0, or a window has more than 16,384 elements.
    #[track_caller]
    pub fn adaptive_max_pool2d_indices(&self, output_size: [usize; 2]) -> Tensor {
        let op = AdaptiveMaxPool2d { parts: Parts { output_size }, gives: Gives::Indices };
        Tensor::apply1(op, &[self], &[])
    }

    /// The largest element of each plane: `[N, C, H, W]` becomes `[N, C, 1, 1]`. (PyTorch's
    /// `adaptive_max_pool2d(1)`.)
    ///
    /// # Panics
    /// When there are not four axes, or H or W is 0.
    #[track_caller]
    pub fn global_max_pool2d(&self) -> Tensor {
        self.adaptive_max_pool2d([1, 1])
    }
}

crate::kernel! {
    /// One thread per window.
    mod direct = "shaders/adaptive_max_pool2d/direct.wgsl";
    params { len: u32, h: u32, w: u32, out_h: u32, out_w: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per element of dx.
    mod gather = "shaders/adaptive_max_pool2d_backward/gather.wgsl";
    params { len: u32, h: u32, w: u32, out_h: u32, out_w: u32 }
    bind { dy: Read, found: Read, dx: ReadWrite }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (shape, output_size) in shapes() {
        let parts = Parts { output_size };
        let y = shape_of(shape, output_size);
        let op = AdaptiveMaxPool2d { parts, gives: Gives::Values };
        let backward = Case::new(AdaptiveMaxPool2dBackward { parts }, &[&shape, &y]).fill(Fill::Ties);
        cases.push(Case::new(op, &[&shape]));
        cases.push(Case::new(AdaptiveMaxPool2d { gives: Gives::Indices, ..op }, &[&shape]).fill(Fill::Ties));
        cases.push(backward.input(1, Spec::f32(y), Fill::Normal { mean: 0.0, std: 1.0 }));
        if (1..100).contains(&shape.iter().product::<usize>()) {
            cases.push(Case::new(op, &[&shape]).fill(Fill::Distinct).with_gradient());
        }
    }
    cases
}
