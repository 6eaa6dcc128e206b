//! Windows of poolings: regular ones, and those that adapt to the size of the result.

use crate::error::ShapeError;
use crate::kernel::{Candidate, Target};
use crate::op::{Expected, expected};
use crate::shape::{DType, Shape, Spec};
use crate::tensor::Tensor;
use std::ops::Range;
use std::panic::Location;

/// How the number of windows along an axis is rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// Windows lie inside the padded image.
    #[default]
    Floor,
    /// The last window may reach beyond it.
    Ceil,
}

/// The windows of a pooling, each pair as (along H, along W).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Windows {
    /// Elements of a window.
    pub kernel: [usize; 2],
    /// From one window to the next.
    pub stride: [usize; 2],
    /// Rows and columns around the image, at most half a window.
    pub padding: [usize; 2],
    /// From one element of a window to the next.
    pub dilation: [usize; 2],
    /// How the number of windows is rounded.
    pub rounding: Rounding,
}

/// Elements of a window: larger ones are what a maximum or mean over axes is for.
pub(crate) const LARGEST_WINDOW: usize = 1 << 14;

impl Windows {
    /// Windows side by side: no padding, no dilation.
    pub(crate) fn tiles(kernel: [usize; 2]) -> Windows {
        Windows { kernel, stride: kernel, padding: [0, 0], dilation: [1, 1], rounding: Rounding::Floor }
    }

    /// Number of windows along axis 0 (H) or 1 (W) of an image of `size`.
    fn count(&self, axis: usize, size: usize) -> Option<usize> {
        let (k, s, p, d) = (self.kernel[axis], self.stride[axis], self.padding[axis], self.dilation[axis]);
        let beyond = if self.rounding == Rounding::Ceil { s - 1 } else { 0 };
        let count = (size + 2 * p + beyond).checked_sub(d.saturating_mul(k - 1).saturating_add(1))? / s + 1;
        // The last window must start inside the image or the padding before it.
        Some(if (count - 1) * s >= size + p { count - 1 } else { count })
    }

    /// The shape of the result on `x`.
    pub(crate) fn output(&self, x: &Spec) -> Result<Shape, Expected> {
        if x.dtype != DType::F32 || x.shape.rank() != 4 {
            return expected("an operand of f32 [N, C, H, W]");
        }
        let sizes = [self.kernel, self.stride, self.dilation];
        // Kernels take signed numbers of 32 bits.
        let fits = |v: usize| v > 0 && i32::try_from(v).is_ok();
        let positive = sizes.iter().flatten().all(|&v| fits(v));
        if !positive || self.kernel[0].saturating_mul(self.kernel[1]) > LARGEST_WINDOW {
            return expected(format!(
                "a stride and a dilation of 1 to {}, and a window of 1 to {LARGEST_WINDOW} elements",
                i32::MAX
            ));
        }
        let mut shape = x.shape;
        for axis in 0..2 {
            let size = x.shape[2 + axis];
            if self.padding[axis] > self.kernel[axis] / 2 {
                return expected("padding of at most half a window");
            }
            // Otherwise a window might have all its elements in the padding.
            if self.padding[axis] > 0 && self.dilation[axis] > size {
                return expected("an image no smaller than the dilation");
            }
            match self.count(axis, size) {
                Some(count) if size > 0 => shape = shape.with(2 + axis, count),
                _ => return expected(format!("an image that windows of {:?} fit into", self.kernel)),
            }
        }
        Ok(shape)
    }

    /// Positions inside an image of `size` of the window `index`, along axis 0 or 1.
    pub(crate) fn positions(&self, axis: usize, index: usize, size: usize) -> impl Iterator<Item = usize> {
        let (start, pad, step) = (index * self.stride[axis], self.padding[axis], self.dilation[axis]);
        (0..self.kernel[axis]).filter_map(move |r| (start + r * step).checked_sub(pad).filter(|&h| h < size))
    }

    /// Elements of a window.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Loop trips of a thread that goes through a window row by row.
    pub(crate) fn taps_trips(&self) -> u64 {
        (self.kernel[0] * (self.kernel[1] + 1)) as u64
    }

    /// How many windows without dilation can lie over an element, along each axis, where there are `out` of them.
    fn covering(&self, out: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|a| ((self.kernel[a] - 1) / self.stride[a] + 1).min(out[a]))
    }

    /// How many of the windows, without dilation, that give `y` can lie over an element.
    pub(crate) fn overlap(&self, y: Shape) -> usize {
        self.covering([y[2], y[3]]).iter().product()
    }

    /// Loop trips of a thread that goes through all windows, without dilation, over an element.
    pub(crate) fn covering_trips(&self, y: Shape) -> u64 {
        let [rows, columns] = self.covering([y[2], y[3]]);
        (rows * (columns + 1)) as u64
    }

    /// Windows of 3 x 3, two apart, with padding 1, that give `y` from rows of whole octets.
    pub(crate) fn threes(&self, x: Shape, y: Shape) -> bool {
        let regular = (self.kernel, self.stride, self.padding, self.dilation);
        // Rounding up may add a row of windows, of which the kernels know nothing.
        regular == ([3, 3], [2, 2], [1, 1], [1, 1])
            && x[3].is_multiple_of(8)
            && (y[2], y[3]) == (x[2].div_ceil(2), x[3] / 2)
    }

    /// Windows of 2 x 2 that tile the image.
    pub(crate) fn pairs(&self, x: Shape) -> bool {
        let tiles = Windows::tiles([2, 2]);
        Windows { rounding: Rounding::Floor, ..*self } == tiles
            && x[2].is_multiple_of(2)
            && x[3].is_multiple_of(2)
    }
}

/// Candidates in the order of preference: those for 8-lane software adapters first on such, behind the base, where they
/// are only right, on others. The base takes any windows.
pub(crate) fn ordered(
    software: Vec<Candidate>,
    portable: Option<Candidate>,
    base: Candidate,
    target: &Target,
) -> Vec<Candidate> {
    let (mut first, mut others) = (software, Vec::new());
    if !target.software_subgroup8() {
        others = std::mem::take(&mut first);
    }
    if !others.is_empty() {
        others.insert(0, base.clone());
    }
    first.into_iter().chain(portable).chain(others).chain([base]).collect()
}

/// Part `i` of an axis of `size` cut into `count` parts of about equal length that may overlap:
/// from `floor(i·size / count)` to `ceil((i + 1)·size / count)`. The parts that lie over position `h` are
/// `part(h, count, size)`.
pub(crate) fn part(i: usize, size: usize, count: usize) -> Range<usize> {
    i * size / count..((i + 1) * size).div_ceil(count)
}

/// The longest part that [`part`] gives.
fn longest_part(size: usize, count: usize) -> usize {
    // A part whose ends are both cut off reaches into two elements more than it fills.
    if size.is_multiple_of(count) { size / count } else { (size / count + 2).min(size) }
}

/// The windows of an adaptive pooling: the image cut into parts of about equal size. Part i of P of an axis of size H
/// reaches from `floor(i·H / P)` to `ceil((i + 1)·H / P)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Parts {
    /// Rows and columns of the result.
    pub output_size: [usize; 2],
}

impl Parts {
    /// The shape of the result on `x`.
    pub(crate) fn output(&self, x: &Spec) -> Result<Shape, Expected> {
        if x.dtype != DType::F32 || x.shape.rank() != 4 || x.shape[2] == 0 || x.shape[3] == 0 {
            return expected("an operand of f32 [N, C, H, W] with H and W of at least 1");
        }
        let [p, q] = self.output_size;
        if p == 0 || q == 0 {
            return expected("output sizes of at least 1");
        }
        if p.max(q) > i32::MAX as usize {
            return expected(format!("output sizes of at most {}", i32::MAX));
        }
        let image = [x.shape[2], x.shape[3]];
        let area = |sizes: [usize; 2], counts: [usize; 2]| {
            longest_part(sizes[0], counts[0]).saturating_mul(longest_part(sizes[1], counts[1]))
        };
        if area(image, self.output_size) > LARGEST_WINDOW || area(self.output_size, image) > LARGEST_WINDOW {
            return expected(format!(
                "at most {LARGEST_WINDOW} elements in a window, and windows over an element"
            ));
        }
        Ok(x.shape.with(2, p).with(3, q))
    }

    /// The rows or columns (axis 0 or 1) of window `index` in an image of `size`.
    pub(crate) fn positions(&self, axis: usize, index: usize, size: usize) -> Range<usize> {
        part(index, size, self.output_size[axis])
    }

    /// Elements of the largest window in an image of the shape of `x`.
    pub(crate) fn taps(&self, x: Shape) -> usize {
        (0..2).map(|a| longest_part(x[2 + a], self.output_size[a])).product()
    }

    /// How many windows can lie over an element of `x`.
    pub(crate) fn overlap(&self, x: Shape) -> usize {
        (0..2).map(|a| longest_part(self.output_size[a], x[2 + a])).product()
    }

    /// Loop trips of a thread that goes through a window row by row.
    pub(crate) fn taps_trips(&self, x: Shape) -> u64 {
        (self.taps(x) + longest_part(x[2], self.output_size[0])) as u64
    }

    /// Loop trips of a thread that goes through all windows over an element.
    pub(crate) fn covering_trips(&self, x: Shape) -> u64 {
        (self.overlap(x) + longest_part(self.output_size[0], x[2])) as u64
    }

    /// How the pooling of `x` is best computed.
    pub(crate) fn route(&self, x: Spec) -> Route {
        let (s, [p, q]) = (x.shape, self.output_size);
        if s.rank() != 4 || [s[2], s[3], p, q].contains(&0) {
            return Route::Parts;
        }
        let tiles = s[2].is_multiple_of(p) && s[3].is_multiple_of(q);
        match [s[2] / p, s[3] / q] {
            _ if [p, q] == [s[2], s[3]] => Route::Same,
            _ if [p, q] == [1, 1] => Route::Whole,
            kernel if tiles && kernel[0] * kernel[1] <= LARGEST_WINDOW => {
                Route::Tiles(Windows::tiles(kernel))
            }
            _ if self.output(&x).is_ok() => Route::Parts,
            _ if p != s[2] && q != s[3] => Route::ByAxis,
            _ if p < s[2] => Route::Slices(2),
            _ if q < s[3] => Route::Slices(3),
            _ => Route::Parts,
        }
    }
}

/// Ways to compute an adaptive pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// The result is the operand.
    Same,
    /// One window: a reduction.
    Whole,
    /// Windows of one size side by side.
    Tiles(Windows),
    /// Windows of several sizes.
    Parts,
    /// Windows too large for one thread: columns first, then rows. A mean over a rectangle is a mean of its rows'
    /// means, a maximum one of its rows' maxima, and the first of equal ones stays the first.
    ByAxis,
    /// Windows too large for one thread along one axis: a reduction for each.
    Slices(usize),
}

impl Route {
    /// The pooling of `x` where it is made of others: `pool` pools adaptively, `reduce` reduces one axis.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub(crate) fn compose(
        self,
        x: &Tensor,
        [p, q]: [usize; 2],
        pool: impl Fn(&Tensor, [usize; 2]) -> Tensor,
        reduce: impl Fn(&Tensor, usize) -> Tensor,
    ) -> Tensor {
        let s = x.shape();
        match self {
            Route::ByAxis => pool(&pool(x, [s[2], q]), [p, q]),
            Route::Slices(axis) => {
                let count = [p, q][axis - 2];
                let one = |i| {
                    let rows = part(i, s[axis], count);
                    let part = x.narrow(axis, rows.start, rows.len());
                    reduce(&part, axis).reshape(s.with(axis, 1))
                };
                let all: Vec<Tensor> = (0..count).map(one).collect();
                Tensor::concat(&all.iter().collect::<Vec<_>>(), axis)
            }
            _ => unreachable!("{self:?} is one op"),
        }
    }
}

/// `[N, C, L]` as images `[N, C, 1, L]`: what ops along one axis hand to those along two.
///
/// # Panics
/// When there are not three axes.
#[track_caller]
pub(crate) fn as_images(x: &Tensor, op: &'static str) -> Tensor {
    let s = x.shape();
    if s.rank() != 3 {
        let expected = "an operand of f32 [N, C, L]".into();
        panic!("{}", ShapeError { op, operands: vec![x.spec()], expected, caller: Location::caller() });
    }
    x.reshape([s[0], s[1], 1, s[2]])
}

/// `[N, C, 1, L]` as `[N, C, L]`.
#[track_caller]
pub(crate) fn as_lines(y: &Tensor) -> Tensor {
    let s = y.shape();
    y.reshape([s[0], s[1], s[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_window_starts_inside_the_image_or_the_padding_before_it() {
        let count = |kernel, stride, padding, dilation, rounding, size| {
            let windows = Windows {
                kernel: [1, kernel],
                stride: [1, stride],
                padding: [0, padding],
                dilation: [1, dilation],
                rounding,
            };
            windows.count(1, size)
        };
        use Rounding::{Ceil, Floor};
        assert_eq!(count(2, 2, 0, 1, Floor, 5), Some(2));
        assert_eq!(count(2, 2, 0, 1, Ceil, 5), Some(3));
        // A fourth window would start at 6, behind 5 elements and 1 of padding.
        assert_eq!(count(2, 2, 1, 1, Ceil, 5), Some(3));
        assert_eq!(count(3, 2, 1, 1, Ceil, 6), Some(4));
        assert_eq!(count(1, 3, 0, 1, Ceil, 5), Some(2));
        assert_eq!(count(3, 2, 1, 2, Ceil, 10), Some(5));
        // A window may be larger than the image only where it may reach beyond it.
        assert_eq!(count(2, 2, 0, 1, Floor, 1), None);
        assert_eq!(count(2, 2, 0, 1, Ceil, 1), Some(1));
        assert_eq!(count(4, 2, 0, 1, Ceil, 1), None);
    }

    #[test]
    fn parts_and_the_parts_over_a_position_are_each_others_inverse() {
        for size in 1..12 {
            for count in 1..12 {
                for h in 0..size {
                    let over: Vec<usize> =
                        (0..count).filter(|&i| part(i, size, count).contains(&h)).collect();
                    assert_eq!(over, part(h, count, size).collect::<Vec<_>>(), "{h} of {size} in {count}");
                }
                let longest = (0..count).map(|i| part(i, size, count).len()).max().unwrap();
                assert!(longest <= longest_part(size, count), "{size} in {count}: {longest}");
            }
        }
    }
}
