//! Bilinear resampling: every result is a mean of the four elements around it, weighted by how near they are.
//!
//! Result p of an axis lies at `max((p + 1/2)·ratio - 1/2, 0)` with ratio 1 / factor, or H / P; with aligned corners at
//! `p·(H - 1) / (P - 1)`. It takes the elements before and behind, `floor` of that and one more, both clamped to the
//! image. (PyTorch's `interpolate(mode="bilinear")`.)
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[N, C, H, W]` |
//! | y | `[N, C, P, Q]` |
//!
//! Positions are fractions of whole numbers and therefore exact, however long an axis is.

use crate::kernel::{Bind, Candidate, Target};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::ops::upsample::{Resize, Resized};
use crate::ops::upsample_nearest2d::resizes;
use crate::ops::windows::LARGEST_WINDOW;
use crate::shape::{DType, Shape, Spec};
use crate::tensor::Tensor;

/// Where the results of an axis lie: result i at `max(i·step + start, 0) / unit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Positions {
    /// From one result to the next.
    pub step: usize,
    /// The first result.
    pub start: isize,
    /// The distance of elements.
    pub unit: usize,
}

/// Numbers below this keep sums and differences of a few of them within 32 bits.
const LARGEST: usize = 1 << 28;

impl Positions {
    /// Positions whose outer results are the outer elements.
    fn corners(from: usize, to: usize) -> Positions {
        match to {
            0 | 1 => Positions { step: 0, start: 0, unit: 1 },
            _ => Positions { step: from.max(1) - 1, start: 0, unit: to - 1 }.reduced(),
        }
    }

    /// Positions of the middles of areas that `num / den` elements fill.
    fn areas(num: usize, den: usize) -> Positions {
        Positions { step: 2 * num, start: num as isize - den as isize, unit: 2 * den }.reduced()
    }

    fn new(axis: Resized, align_corners: bool) -> Positions {
        if align_corners {
            return Positions::corners(axis.from, axis.to);
        }
        match axis.factor {
            // Results that are as many as the elements are the elements, whatever the factor.
            Some(factor) if axis.from != axis.to => {
                let (den, num) = fraction(factor);
                Positions::areas(num, den)
            }
            _ => Positions::areas(axis.from, axis.to.max(1)),
        }
    }

    fn reduced(self) -> Positions {
        let shared = gcd(gcd(self.step, self.start.unsigned_abs()), self.unit);
        Positions { step: self.step / shared, start: self.start / shared as isize, unit: self.unit / shared }
    }

    /// Whether every result is the element at its place.
    fn same(&self) -> bool {
        *self == Positions { step: 1, start: 0, unit: 1 }
    }

    /// The element before result `i` of an axis of `size`, and the share of the one behind.
    fn at(&self, i: usize, size: usize) -> (usize, f64) {
        let at = (i * self.step).saturating_add_signed(self.start);
        match at / self.unit {
            low if low + 1 < size => (low, (at % self.unit) as f64 / self.unit as f64),
            _ => (size - 1, 0.0),
        }
    }

    /// An upper bound of how many of `count` results lie between the neighbours of one of `size` elements.
    fn around(&self, size: usize, count: usize) -> usize {
        if self.step == 0 || size <= 2 {
            return count;
        }
        // Around the second element lie those before the first one too, which a size or a factor may make many; and
        // around the last one those behind it.
        let second = (2 * self.unit + self.start.min(0).unsigned_abs()).div_ceil(self.step) + 1;
        let end = (count * self.step).saturating_add_signed(self.start);
        let last = end.saturating_sub((size - 2) * self.unit).div_ceil(self.step) + 1;
        second.max(last).min(count)
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The best fraction for `x > 0` with a numerator and a denominator of at most 26 bits, by continued fractions
/// (Hardy and Wright, An Introduction to the Theory of Numbers, chapter 10).
fn fraction(x: f64) -> (usize, usize) {
    const LIMIT: f64 = (1 << 26) as f64;
    let (mut before, mut best, mut rest) = ((0.0, 1.0), (1.0, 0.0), x);
    loop {
        let whole = rest.floor();
        let next = (whole * best.0 + before.0, whole * best.1 + before.1);
        if next.0 > LIMIT || next.1 > LIMIT {
            break;
        }
        (before, best) = (best, next);
        // What is left is the rounding of x itself.
        if (best.0 / best.1 - x).abs() <= 1e-15 * x || rest == whole {
            break;
        }
        rest = 1.0 / (rest - whole);
    }
    // Beyond the limits there is no result that would fit.
    ((best.0 as usize).max(1), (best.1 as usize).max(1))
}

/// Bilinear resampling over two axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpsampleBilinear2d {
    /// Rows and columns of the result.
    pub size: [usize; 2],
    /// Where they lie.
    pub positions: [Positions; 2],
}

impl UpsampleBilinear2d {
    fn output(&self, x: &Spec) -> Result<Shape, Expected> {
        if x.dtype != DType::F32 || x.shape.rank() != 4 || x.shape[2] == 0 || x.shape[3] == 0 {
            return expected("an operand of f32 [N, C, H, W] with H and W of at least 1");
        }
        if self.size.contains(&0) {
            return expected(format!("a result of at least one row and column, not {:?}", self.size));
        }
        let fits = |p: &Positions| p.step.max(p.start.unsigned_abs()).max(p.unit) < LARGEST && p.unit > 0;
        if !self.positions.iter().all(fits) {
            return expected(format!("sizes and units of positions below {LARGEST}"));
        }
        if self.around(x.shape).iter().fold(1, |a: usize, &b| a.saturating_mul(b)) > LARGEST_WINDOW {
            return expected(format!("at most {LARGEST_WINDOW} results around an element"));
        }
        Ok(x.shape.with(2, self.size[0]).with(3, self.size[1]))
    }

    fn around(&self, x: Shape) -> [usize; 2] {
        [0, 1].map(|a| self.positions[a].around(x[2 + a], self.size[a]))
    }

    fn params(&self, x: Shape, len: usize) -> direct::Params {
        let [h, w] = self.positions;
        direct::Params {
            len: len as u32,
            h: x[2] as u32,
            w: x[3] as u32,
            out_h: self.size[0] as u32,
            out_w: self.size[1] as u32,
            step_h: h.step as u32,
            start_h: h.start as i32,
            unit_h: h.unit as u32,
            step_w: w.step as u32,
            start_w: w.start as i32,
            unit_w: w.unit as u32,
        }
    }

    /// Whether there is anything to do between rows.
    fn rows(&self, x: Shape) -> bool {
        x[2] != self.size[0] || !self.positions[0].same()
    }
}

impl Op for UpsampleBilinear2d {
    fn name(&self) -> &'static str {
        "upsample_bilinear2d"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let [x] = inputs else { return expected("one operand") };
        Ok(vec![Spec::f32(self.output(x)?)])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let x = io.inputs[0];
        let ([p, q], h, w) = (self.size, x.shape[2], x.shape[3]);
        crate::parallel::rows(io.outputs[0].data, q, 8 * q, |row, y| {
            let plane = &x.data[row / p * h * w..][..h * w];
            let (r, down) = self.positions[0].at(row % p, h);
            for (i, y) in y.iter_mut().enumerate() {
                let (c, right) = self.positions[1].at(i, w);
                let along = |r: usize| {
                    let row = &plane[r * w..][..w];
                    (1.0 - right) * row[c] + right * row[(c + 1).min(w - 1)]
                };
                *y = (1.0 - down) * along(r) + down * along((r + 1).min(h - 1));
            }
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let op = UpsampleBilinear2dBackward { upsample: *self, input: g.inputs[0].shape() };
        vec![g.dy[0].as_ref().map(|dy| Tensor::apply1(op, &[dy], &[]))]
    }

    fn kernels(&self, io: Io<'_>, _: &Target) -> Vec<Candidate> {
        let (x, len) = (io.inputs[0].shape, io.outputs[0].elements());
        let dispatch = direct::dispatch(self.params(x, len))
            .constant("ROWS", self.rows(x))
            .bind(&[Bind::Input(0), Bind::Output(0)])
            .groups(len.div_ceil(64) as u64);
        vec![Candidate::new("direct").dispatch(dispatch)]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Sum { n: 4 }
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: 9 * io.outputs[0].elements() as u64, bytes: io.bytes() }
    }
}

/// The gradient of bilinear resampling: each element gets dy of the results around it by its share in them. Input dy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpsampleBilinear2dBackward {
    /// The resampling.
    pub upsample: UpsampleBilinear2d,
    /// The shape of x.
    pub input: Shape,
}

impl Op for UpsampleBilinear2dBackward {
    fn name(&self) -> &'static str {
        "upsample_bilinear2d_backward"
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
        let dy = io.inputs[0];
        let ([p, q], h, w) = (self.upsample.size, self.input[2], self.input[3]);
        crate::parallel::rows(io.outputs[0].data, h * w, 8 * p * q, |plane, dx| {
            dx.fill(0.0);
            for (i, dy) in dy.data[plane * p * q..][..p * q].iter().enumerate() {
                let (r, down) = self.upsample.positions[0].at(i / q, h);
                let (c, right) = self.upsample.positions[1].at(i % q, w);
                for (r, share) in [(r, 1.0 - down), ((r + 1).min(h - 1), down)] {
                    dx[r * w + c] += (1.0 - right) * share * dy;
                    dx[r * w + (c + 1).min(w - 1)] += right * share * dy;
                }
            }
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![g.dy[0].as_ref().map(|d| Tensor::apply1(self.upsample, &[d], &[]))]
    }

    fn kernels(&self, _: Io<'_>, _: &Target) -> Vec<Candidate> {
        let (x, len) = (self.input, self.input.elements());
        let p = self.upsample.params(x, len);
        let params = gather::Params {
            len: p.len,
            h: p.h,
            w: p.w,
            out_h: p.out_h,
            out_w: p.out_w,
            step_h: p.step_h,
            start_h: p.start_h,
            unit_h: p.unit_h,
            step_w: p.step_w,
            start_w: p.start_w,
            unit_w: p.unit_w,
        };
        let [rows, columns] = self.upsample.around(x);
        let dispatch = gather::dispatch(params)
            .constant("ROWS", self.upsample.rows(x))
            .bind(&[Bind::Input(0), Bind::Output(0)])
            .groups(len.div_ceil(64) as u64)
            .trips((rows * (columns + 1)) as u64);
        vec![Candidate::new("gather").dispatch(dispatch)]
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Sum { n: self.upsample.around(self.input).iter().product() }
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: 8 * io.inputs[0].elements() as u64, bytes: io.bytes() }
    }
}

impl Tensor {
    /// `[N, C, H, W]` with results between neighbours on straight lines: `[N, C, P, Q]`. A whole number or a pair of them
    /// is the size, floating-point numbers are factors. With `align_corners` the outer results are the outer elements;
    /// otherwise elements are areas, whose outer edges are aligned. (PyTorch's `interpolate(mode="bilinear")`.)
    ///
    /// # Panics
    /// When an axis is empty before or after, or a factor is no positive number.
    #[track_caller]
    pub fn upsample_bilinear2d(&self, to: impl Into<Resize>, align_corners: bool) -> Tensor {
        let s = self.shape();
        let image = if s.rank() == 4 { [s[2], s[3]] } else { [1, 1] };
        let axes = to.into().resolve(image);
        let positions = axes.map(|a| Positions::new(a, align_corners));
        let op = UpsampleBilinear2d { size: axes.map(|a| a.to), positions };
        if s.rank() == 4 && !op.size.contains(&0) {
            let same = [0, 1].map(|a| image[a] == op.size[a] && positions[a].same());
            if same == [true, true] {
                return self.clone();
            }
            // So many results around an element that one thread should not add up their gradients.
            if op.output(&self.spec()).is_err() && same == [false, false] {
                let kept = Positions { step: 1, start: 0, unit: 1 };
                let columns = UpsampleBilinear2d { size: [image[0], op.size[1]], positions: [kept, positions[1]] };
                let rows = UpsampleBilinear2d { size: op.size, positions: [positions[0], kept] };
                return Tensor::apply1(rows, &[&Tensor::apply1(columns, &[self], &[])], &[]);
            }
        }
        Tensor::apply1(op, &[self], &[])
    }
}

crate::kernel! {
    /// One thread per result.
    mod direct = "shaders/upsample_bilinear2d/direct.wgsl";
    params {
        len: u32, h: u32, w: u32, out_h: u32, out_w: u32,
        step_h: u32, start_h: i32, unit_h: u32, step_w: u32, start_w: i32, unit_w: u32,
    }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// One thread per element of dx.
    mod gather = "shaders/upsample_bilinear2d_backward/gather.wgsl";
    params {
        len: u32, h: u32, w: u32, out_h: u32, out_w: u32,
        step_h: u32, start_h: i32, unit_h: u32, step_w: u32, start_w: i32, unit_w: u32,
    }
    bind { dy: Read, dx: ReadWrite }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (shape, to) in resizes() {
        for align_corners in [false, true] {
            let axes = to.resolve([shape[2], shape[3]]);
            let positions = axes.map(|a| Positions::new(a, align_corners));
            let upsample = UpsampleBilinear2d { size: axes.map(|a| a.to), positions };
            let y = [shape[0], shape[1], axes[0].to, axes[1].to];
            let small = (1..200).contains(&(shape.iter().product::<usize>() + y.iter().product::<usize>()));
            let backward = UpsampleBilinear2dBackward { upsample, input: Shape::from(shape) };
            for case in [Case::new(upsample, &[&shape]), Case::new(backward, &[&y])] {
                let case = case.fill(Fill::Normal { mean: 0.5, std: 1.0 });
                cases.push(if small { case.with_gradient() } else { case });
            }
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_of_factors() {
        assert_eq!(fraction(2.0), (2, 1));
        assert_eq!(fraction(0.1), (1, 10));
        assert_eq!(fraction(2.7), (27, 10));
        assert_eq!(fraction(1.0 / 3.0), (1, 3));
        let (num, den) = fraction(std::f64::consts::PI);
        assert!((num as f64 / den as f64 - std::f64::consts::PI).abs() < 1e-13);
        assert_eq!(fraction(1.0 / 3e6), (1, 3_000_000));
    }

    #[test]
    fn as_many_results_as_around_says() {
        for (shape, to) in resizes() {
            for align_corners in [false, true] {
                for (axis, size) in to.resolve([shape[2], shape[3]]).into_iter().zip([shape[2], shape[3]]) {
                    let positions = Positions::new(axis, align_corners);
                    let mut around = vec![0; size];
                    for i in 0..axis.to {
                        let (low, _) = positions.at(i, size);
                        around[low] += 1;
                        if low + 1 < size {
                            around[low + 1] += 1;
                        }
                    }
                    let most = around.into_iter().max().unwrap();
                    assert!(most <= positions.around(size, axis.to), "{axis:?}: {most}");
                }
            }
        }
    }
}
