//! Constant padding: `y[c] = x[c - before]` inside, `value` outside.
//!
//! | tensor | shape |
//! |---|---|
//! | x | `[d_0, ..]`, f32 or u32 |
//! | y | `[before_0 + d_0 + after_0, ..]` |
//!
//! The value is a scalar of the type of x.

use crate::kernel::{Bind, Candidate, Target};
use crate::op::{Case, Expected, Fill, GradIo, Io, Op, RefIo, Scalar, Tolerance, expected};
use crate::pointwise::Divisor;
use crate::shape::{DType, MAX_RANK, Shape, Spec};
use crate::tensor::Tensor;

crate::kernel! {
    /// One element per thread.
    mod scalar = "shaders/pad/scalar.wgsl";
    params {
        n: u32, value: u32,
        d0: u32, m0: u32, h0: u32,
        d1: u32, m1: u32, h1: u32,
        d2: u32, m2: u32, h2: u32,
        d3: u32, m3: u32, h3: u32,
        d4: u32, m4: u32, h4: u32,
        b0: u32, b1: u32, b2: u32, b3: u32, b4: u32, b5: u32,
        x0: u32, x1: u32, x2: u32, x3: u32, x4: u32, x5: u32,
    }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// Four elements per thread.
    mod vec4 = "shaders/pad/vec4.wgsl";
    params {
        n: u32, value: u32,
        d0: u32, m0: u32, h0: u32,
        d1: u32, m1: u32, h1: u32,
        d2: u32, m2: u32, h2: u32,
        d3: u32, m3: u32, h3: u32,
        d4: u32, m4: u32, h4: u32,
        b0: u32, b1: u32, b2: u32, b3: u32, b4: u32, b5: u32,
        x0: u32, x1: u32, x2: u32, x3: u32, x4: u32, x5: u32,
    }
    bind { x: Read, y: ReadWrite }
}

/// The parameters of both kernels, from arrays.
macro_rules! pad_params {
    ($kernel:ident, $n:expr, $d:ident, $b:ident, $x:ident) => {
        $kernel::Params {
            n: $n as u32,
            value: 0,
            d0: $d[0].size,
            m0: $d[0].magic,
            h0: $d[0].shift,
            d1: $d[1].size,
            m1: $d[1].magic,
            h1: $d[1].shift,
            d2: $d[2].size,
            m2: $d[2].magic,
            h2: $d[2].shift,
            d3: $d[3].size,
            m3: $d[3].magic,
            h3: $d[3].shift,
            d4: $d[4].size,
            m4: $d[4].magic,
            h4: $d[4].shift,
            b0: $b[0],
            b1: $b[1],
            b2: $b[2],
            b3: $b[3],
            b4: $b[4],
            b5: $b[5],
            x0: $x[0],
            x1: $x[1],
            x2: $x[2],
            x3: $x[3],
            x4: $x[4],
            x5: $x[5],
        }
    };
}

/// Threads per workgroup.
const WORKGROUP: usize = 64;

/// Surrounds a tensor with a constant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pad {
    /// Elements added before and after, for each axis.
    pub amounts: Vec<(usize, usize)>,
}

/// An axis of the result, or several: what lies inside an axis without padding moves with it.
#[derive(Clone, Copy, Debug)]
struct Axis {
    result: usize,
    before: usize,
    operand: usize,
}

impl Pad {
    /// The axes, innermost first; at least one.
    fn axes(&self, x: Shape) -> Vec<Axis> {
        let mut axes: Vec<Axis> = Vec::new();
        for (&operand, &(before, after)) in x.dims().iter().zip(&self.amounts).rev() {
            let axis = Axis { result: before + operand + after, before, operand };
            match axes.last_mut() {
                Some(inner) if inner.result == inner.operand => {
                    let size = inner.operand;
                    *inner =
                        Axis { result: axis.result * size, before: before * size, operand: operand * size };
                }
                _ => axes.push(axis),
            }
        }
        if axes.is_empty() {
            axes.push(Axis { result: 1, before: 0, operand: 1 });
        }
        axes
    }
}

impl Op for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        match inputs {
            [x] if x.shape.rank() == self.amounts.len() => {
                let sizes = x.shape.dims().iter().zip(&self.amounts);
                let padded: Option<Vec<usize>> =
                    sizes.map(|(d, (before, after))| d.checked_add(*before)?.checked_add(*after)).collect();
                match padded.and_then(|dims| Shape::checked(&dims)) {
                    Some(shape) => Ok(vec![Spec { shape, dtype: x.dtype }]),
                    None => expected("padding that leaves the number of elements countable"),
                }
            }
            _ => expected(format!("one operand with {} axes", self.amounts.len())),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let x = io.inputs[0];
        let value = io.scalars[0];
        let y = &mut io.outputs[0];
        let row = y.shape.dims().last().copied().unwrap_or(1);
        let outer = y.shape.rank().saturating_sub(1);
        let strides = x.shape.strides();
        crate::parallel::rows(y.data, row, row, |index, values| {
            values.fill(value);
            let mut rest = index;
            let mut from = 0;
            for axis in (0..outer).rev() {
                let c = rest % y.shape[axis];
                rest /= y.shape[axis];
                let before = self.amounts[axis].0;
                if c < before || c - before >= x.shape[axis] {
                    return;
                }
                from += (c - before) * strides[axis];
            }
            let (before, len) =
                if y.shape.rank() == 0 { (0, 1) } else { (self.amounts[outer].0, x.shape[outer]) };
            values[before..before + len].copy_from_slice(&x.data[from..from + len]);
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let x = g.inputs[0].shape();
        let ranges: Vec<_> =
            self.amounts.iter().zip(x.dims()).map(|(&(before, _), size)| before..before + size).collect();
        vec![g.dy[0].as_ref().map(|dy| dy.slice(&ranges))]
    }

    fn kernels(&self, io: Io<'_>, _target: &Target) -> Vec<Candidate> {
        let axes = self.axes(io.inputs[0].shape);
        let n = io.outputs[0].elements();
        let inner = axes[0];
        let wide = [inner.result, inner.before, inner.operand].iter().all(|v| v.is_multiple_of(4));
        let binds = [Bind::Input(0), Bind::Output(0)];
        let groups = |threads: usize| threads.div_ceil(WORKGROUP) as u64;
        let rank = axes.len() as u32;
        let mut candidates = Vec::new();
        if wide {
            let (d, b, x) = sizes(&axes, 4);
            let dispatch = vec4::dispatch(pad_params!(vec4, n / 4, d, b, x));
            let dispatch =
                dispatch.constant("RANK", rank).scalar("value", 0).bind(&binds).groups(groups(n / 4));
            candidates.push(Candidate::new("vec4").dispatch(dispatch));
        }
        let (d, b, x) = sizes(&axes, 1);
        let dispatch = scalar::dispatch(pad_params!(scalar, n, d, b, x));
        let dispatch = dispatch.constant("RANK", rank).scalar("value", 0).bind(&binds).groups(groups(n));
        candidates.push(Candidate::new("scalar").dispatch(dispatch));
        candidates
    }

    fn tolerance(&self, _io: Io<'_>, _output: usize) -> Tolerance {
        Tolerance::Exact
    }
}

type Sizes = [u32; MAX_RANK];

/// Sizes of the result, elements before, sizes of the operand: innermost first, the innermost in units of `unit`.
fn sizes(axes: &[Axis], unit: usize) -> ([Divisor; MAX_RANK], Sizes, Sizes) {
    let (mut d, mut b, mut x) = ([Divisor::new(1); MAX_RANK], [0; MAX_RANK], [1; MAX_RANK]);
    for (k, axis) in axes.iter().enumerate() {
        let unit = if k == 0 { unit } else { 1 };
        d[k] = Divisor::new(axis.result / unit);
        b[k] = (axis.before / unit) as u32;
        x[k] = (axis.operand / unit) as u32;
    }
    (d, b, x)
}

impl Tensor {
    /// Adds `(before, after)` elements of `value` along each axis.
    ///
    /// For a u32 tensor the value is rounded to an integer.
    ///
    /// # Panics
    /// When the number of pairs is not that of the axes, or there would be too many elements to count.
    #[track_caller]
    pub fn pad(&self, amounts: &[(usize, usize)], value: f64) -> Tensor {
        if amounts.len() == self.shape().rank() && amounts.iter().all(|&a| a == (0, 0)) {
            return self.clone();
        }
        let value = match self.spec().dtype {
            DType::F32 => Scalar::F(value),
            DType::U32 => Scalar::U(value.round() as u32),
        };
        Tensor::apply1(Pad { amounts: amounts.to_vec() }, &[self], &[value])
    }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let case = |shape: &[usize], amounts: &[(usize, usize)]| {
        Case::new(Pad { amounts: amounts.to_vec() }, &[shape]).scalars(&[Scalar::F(-1.5)])
    };
    vec![
        case(&[3, 5], &[(1, 2), (0, 3)]).with_gradient(),
        case(&[2, 3, 4], &[(1, 0), (0, 0), (4, 4)]).with_gradient(),
        case(&[], &[]),
        case(&[0], &[(2, 3)]),
        case(&[3, 0], &[(0, 0), (1, 0)]),
        case(&[1], &[(0, 1)]),
        case(&[2, 3, 7, 7], &[(0, 0), (0, 0), (1, 1), (1, 1)]),
        case(&[2, 3, 8, 8], &[(0, 0), (2, 0), (0, 0), (4, 8)]),
        case(&[2, 3, 8, 4], &[(0, 1), (0, 0), (2, 1), (0, 0)]),
        case(&[2, 1, 2, 3, 2, 3], &[(1, 1), (0, 1), (1, 0), (2, 1), (1, 1), (0, 2)]),
        case(&[11, 3], &[(1, 0), (0, 2)])
            .input(0, Spec::u32([11, 3]), Fill::Index { below: u32::MAX })
            .scalars(&[Scalar::U(u32::MAX)]),
        case(&[4_194_301], &[(1, 2)]),
    ]
}
