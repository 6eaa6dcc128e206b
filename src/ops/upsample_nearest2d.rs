//! Nearest-neighbour resampling: `y[n, c, p, q] = x[n, c, floor(p·ratio_h), floor(q·ratio_w)]`, clamped to the image. The
//! ratios are 1 / factor, or H / P and W / Q; the products are rounded to f32 before they are rounded down, as PyTorch
//! does, on every device.
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[N, C, H, W]` |
//! | y | `[N, C, P, Q]` |
//!
//! Scalars: the two ratios.

use crate::kernel::{Bind, Candidate, Target};
use crate::op::{Case, Expected, Fill, GradIo, Io, Op, RefIo, Scalar, Tolerance, expected};
use crate::ops::upsample::{Resize, Resized};
use crate::ops::windows::LARGEST_WINDOW;
use crate::shape::{DType, Shape, Spec};
use crate::tensor::Tensor;

/// Positions up to here are exact in f32.
const LONGEST: usize = 1 << 24;

/// Nearest-neighbour resampling over two axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpsampleNearest2d {
    /// Rows and columns of the result.
    pub size: [usize; 2],
}

/// The element that result `i` repeats.
fn source(i: usize, ratio: f64, size: usize) -> usize {
    ((i as f32 * ratio as f32) as usize).min(size - 1)
}

impl UpsampleNearest2d {
    fn output(&self, x: &Spec) -> Result<Shape, Expected> {
        if x.dtype != DType::F32 || x.shape.rank() != 4 || x.shape[2] == 0 || x.shape[3] == 0 {
            return expected("an operand of f32 [N, C, H, W] with H and W of at least 1");
        }
        if self.size.iter().any(|&s| s == 0 || s > LONGEST) {
            return expected(format!("a result of 1 to {LONGEST} rows and columns, not {:?}", self.size));
        }
        if self.repeats(x.shape).iter().product::<usize>() > LARGEST_WINDOW {
            return expected(format!("at most {LARGEST_WINDOW} results per element"));
        }
        Ok(x.shape.with(2, self.size[0]).with(3, self.size[1]))
    }

    /// How many results may repeat one row or column of `x`. A factor's ratio may be that of one result more.
    fn repeats(&self, x: Shape) -> [usize; 2] {
        [0, 1].map(|a| ((self.size[a] + 1) / x[2 + a] + 2).min(self.size[a]))
    }
}

impl Op for UpsampleNearest2d {
    fn name(&self) -> &'static str {
        "upsample_nearest2d"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let [x] = inputs else { return expected("one operand") };
        Ok(vec![Spec::f32(self.output(x)?)])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (x, [ratio_h, ratio_w]) = (io.inputs[0], [io.scalars[0], io.scalars[1]]);
        let ([p, q], h, w) = (self.size, x.shape[2], x.shape[3]);
        crate::parallel::rows(io.outputs[0].data, q, 4 * q, |row, y| {
            let line = &x.data[(row / p * h + source(row % p, ratio_h, h)) * w..][..w];
            y.iter_mut().enumerate().for_each(|(i, y)| *y = line[source(i, ratio_w, w)]);
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let op = UpsampleNearest2dBackward { upsample: *self, input: g.inputs[0].shape() };
        vec![g.dy[0].as_ref().map(|dy| Tensor::apply1(op, &[dy], g.scalars))]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let (x, y) = (io.inputs[0].shape, io.outputs[0].shape);
        let params = direct::Params {
            len: y.elements() as u32,
            h: x[2] as u32,
            w: x[3] as u32,
            out_h: y[2] as u32,
            out_w: y[3] as u32,
            ratio_h: 0.0,
            ratio_w: 0.0,
        };
        let dispatch = direct::dispatch(params)
            .scalar("ratio_h", 0)
            .scalar("ratio_w", 1)
            .bind(&[Bind::Input(0), Bind::Output(0)])
            .groups(y.elements().div_ceil(64) as u64);
        vec![Candidate::new("direct").dispatch(dispatch)]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Exact
    }
}

/// The gradient of nearest-neighbour resampling: each element gets dy of the results that repeat it. Input dy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpsampleNearest2dBackward {
    /// The resampling.
    pub upsample: UpsampleNearest2d,
    /// The shape of x.
    pub input: Shape,
}

impl Op for UpsampleNearest2dBackward {
    fn name(&self) -> &'static str {
        "upsample_nearest2d_backward"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let x = Spec::f32(self.input);
        let y = Spec::f32(self.upsample.output(&x)?);
        if inputs != [y] {
            return expected(format!("dy of f32 {}", y.shape));
        }
        Ok(vec![x])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (dy, [ratio_h, ratio_w]) = (io.inputs[0], [io.scalars[0], io.scalars[1]]);
        let ([p, q], h, w) = (self.upsample.size, self.input[2], self.input[3]);
        crate::parallel::rows(io.outputs[0].data, h * w, 4 * p * q, |plane, dx| {
            dx.fill(0.0);
            for (i, dy) in dy.data[plane * p * q..][..p * q].iter().enumerate() {
                dx[source(i / q, ratio_h, h) * w + source(i % q, ratio_w, w)] += dy;
            }
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![g.dy[0].as_ref().map(|d| Tensor::apply1(self.upsample, &[d], g.scalars))]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let (x, y) = (self.input, io.inputs[0].shape);
        let params = gather::Params {
            len: x.elements() as u32,
            h: x[2] as u32,
            w: x[3] as u32,
            out_h: y[2] as u32,
            out_w: y[3] as u32,
            ratio_h: 0.0,
            ratio_w: 0.0,
        };
        let [rows, columns] = self.upsample.repeats(x);
        // Estimates of where results lie are off by a few units of the last place of numbers below 2^24.
        let corrections = 4 * 2 * 8;
        let dispatch = gather::dispatch(params)
            .scalar("ratio_h", 0)
            .scalar("ratio_w", 1)
            .bind(&[Bind::Input(0), Bind::Output(0)])
            .groups(x.elements().div_ceil(64) as u64)
            .trips((rows * (columns + 1) + corrections) as u64);
        vec![Candidate::new("gather").dispatch(dispatch)]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Sum { n: self.upsample.repeats(self.input).iter().product() }
    }
}

impl Resized {
    /// The distance of neighbouring results, in elements, in PyTorch's arithmetic.
    fn ratio(self) -> f64 {
        f64::from(match self.factor {
            Some(factor) => (1.0 / factor) as f32,
            None => self.from as f32 / self.to as f32,
        })
    }
}

impl Tensor {
    /// `[N, C, H, W]` with rows and columns repeated or left out: `[N, C, P, Q]`. A whole number or a pair of them is the
    /// size, floating-point numbers are factors. (PyTorch's `interpolate(mode="nearest")`.)
    ///
    /// # Panics
    /// When an axis is empty before or after, or a factor is no positive number.
    #[track_caller]
    pub fn upsample_nearest2d(&self, to: impl Into<Resize>) -> Tensor {
        let s = self.shape();
        let image = if s.rank() == 4 { [s[2], s[3]] } else { [1, 1] };
        let [rows, columns] = to.into().resolve(image);
        self.repeat([rows, columns])
    }

    #[track_caller]
    fn repeat(&self, axes: [Resized; 2]) -> Tensor {
        let x = self.spec();
        let op = UpsampleNearest2d { size: axes.map(|a| a.to) };
        if x.shape.rank() == 4 && op.size.iter().all(|&s| s > 0) {
            if axes.iter().all(|a| a.same()) {
                return self.clone();
            }
            // So many results per element that one thread should not add up their gradients.
            if op.output(&x).is_err() && axes.iter().all(|a| !a.same()) {
                return self.repeat([axes[0].kept(), axes[1]]).repeat([axes[0], Resized { from: axes[1].to, ..axes[1] }.kept()]);
            }
        }
        Tensor::apply1(op, &[self], &axes.map(|a| Scalar::F(a.ratio())))
    }
}

crate::kernel! {
    /// One thread per result.
    mod direct = "shaders/upsample_nearest2d/direct.wgsl";
    params { len: u32, h: u32, w: u32, out_h: u32, out_w: u32, ratio_h: f32, ratio_w: f32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per element of dx.
    mod gather = "shaders/upsample_nearest2d_backward/gather.wgsl";
    params { len: u32, h: u32, w: u32, out_h: u32, out_w: u32, ratio_h: f32, ratio_w: f32 }
    bind { dy: Read, dx: ReadWrite }
}

/// Test cases of resampling: `(shape of x, what it becomes)`.
pub(crate) fn resizes() -> Vec<([usize; 4], Resize)> {
    vec![
        ([1, 2, 3, 4], Resize::ScaleFactor([2.0, 2.0])),
        ([1, 2, 3, 4], Resize::Size([7, 5])),
        ([2, 1, 5, 4], Resize::ScaleFactor([1.5, 2.7])),
        ([2, 1, 5, 7], Resize::Size([3, 7])),
        ([1, 1, 7, 6], Resize::ScaleFactor([0.4, 0.7])),
        ([1, 2, 1, 1], Resize::Size([3, 4])),
        ([1, 2, 4, 3], Resize::Size([1, 1])),
        ([1, 2, 1, 9], Resize::Size([1, 20])),
        ([2, 3, 13, 11], Resize::Size([31, 29])),
        ([2, 3, 37, 41], Resize::ScaleFactor([0.37, 3.1])),
        // 41 · (1 / 41) is below 1 in f32.
        ([1, 1, 5, 7], Resize::Size([205, 287])),
        ([1, 1, 100, 120], Resize::Size([1, 1])),
        ([1, 1, 1, 100_003], Resize::Size([1, 70_001])),
        ([1, 1, 1, 50_021], Resize::Size([1, 100_019])),
        ([1, 1, 1, 3], Resize::Size([1, 12_000])),
        ([0, 3, 6, 10], Resize::Size([12, 5])),
    ]
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (shape, to) in resizes() {
        let axes = to.resolve([shape[2], shape[3]]);
        let (upsample, ratios) = (UpsampleNearest2d { size: axes.map(|a| a.to) }, axes.map(|a| Scalar::F(a.ratio())));
        let y = [shape[0], shape[1], axes[0].to, axes[1].to];
        let small = (1..200).contains(&(shape.iter().product::<usize>() + y.iter().product::<usize>()));
        let backward = UpsampleNearest2dBackward { upsample, input: Shape::from(shape) };
        for case in [Case::new(upsample, &[&shape]), Case::new(backward, &[&y])] {
            let case = case.scalars(&ratios).fill(Fill::Normal { mean: 0.5, std: 1.0 });
            cases.push(if small { case.with_gradient() } else { case });
        }
    }
    // More workgroups than one dimension of the grid can count.
    let double = Case::new(UpsampleNearest2d { size: [2, 2] }, &[&[33_000, 32, 1, 2]]);
    cases.push(double.scalars(&[Scalar::F(0.5), Scalar::F(1.0)]));
    cases
}
