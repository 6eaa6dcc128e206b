//! Softmax and its logarithm along an axis.
//!
//! With m = max_d x: `softmax = exp(x - m) / Σ_d exp(x - m)`, `log_softmax = x - m - log Σ_d exp(x - m)`. The second is
//! not the logarithm of the first: it keeps its digits where probabilities are tiny. A line of nothing but minus
//! infinity has softmax 0 and keeps its values under log_softmax.
//!
//! | tensor | shape |
//! |---|---|
//! | x, y | `[.., D, ..]` |

use crate::kernel::{Bind, Candidate, Dispatch, Needs, Target, TargetClass};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::ops::argmax::Lines;
use crate::shape::{DType, Spec};
use crate::tensor::Tensor;

/// Probabilities or their logarithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scale {
    /// Probabilities.
    Linear,
    /// Logarithms.
    Log,
}

/// Softmax or log-softmax along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Softmax {
    /// The axis whose elements become probabilities.
    pub axis: usize,
    /// Probabilities or their logarithms.
    pub scale: Scale,
}

/// Lines up to this length are one thread's work.
const SERIAL: usize = 64;

/// Octets of a line that a lane can hold: the driver's compile time grows with them.
const HELD: u32 = 16;

impl Lines {
    /// Offsets of the elements of line `i` of the `outer * inner` lines.
    pub(crate) fn line(self, i: usize) -> impl Iterator<Item = usize> + Clone {
        let start = i / self.inner * self.d * self.inner + i % self.inner;
        (0..self.d).map(move |d| start + d * self.inner)
    }

    /// Runs `f(line, values of the line to write)` for every line of a reference's output.
    pub(crate) fn each(self, out: &mut [f64], f: impl Fn(usize, &mut dyn FnMut(usize, f64)) + Sync) {
        // Lines of one outer index are interleaved: they are what threads can share out.
        let block = self.d * self.inner;
        crate::parallel::rows(out, block, 20 * block, |outer, values| {
            for inner in 0..self.inner {
                f(outer * self.inner + inner, &mut |at, value| values[at - outer * block] = value);
            }
        });
    }

    /// An 8-lane subgroup per line, where whole octets make up a line: `held` for lines that it can hold in registers
    /// and `any` for all. Both go `passes` times through a line.
    fn octets(self, passes: usize, held: impl FnOnce(u32) -> Dispatch, any: Dispatch) -> Vec<Candidate> {
        if self.inner != 1 || !self.d.is_multiple_of(8) {
            return Vec::new();
        }
        let candidate = |variant, d: Dispatch| {
            let d = d.groups(self.outer as u64).trips((passes * self.d.div_ceil(64)) as u64);
            Candidate::new(variant).needs(Needs::SUBGROUP8).dispatch(d)
        };
        let octets = self.d.div_ceil(64) as u32;
        let held = (1..=HELD).contains(&octets).then(|| candidate("held8", held(octets)));
        held.into_iter().chain([candidate("subgroup8", any)]).collect()
    }
}

/// The three ways to go through lines, best first for the target.
pub(crate) fn by_line(lines: Lines, target: &Target, candidates: Ways) -> Vec<Candidate> {
    let Ways { serial, row, octets } = candidates;
    let (short, software) = (lines.d <= SERIAL, target.class == TargetClass::Software);
    let mut all = Vec::new();
    let mut others = Vec::new();
    if target.software_subgroup8() && !short { &mut all } else { &mut others }.extend(octets);
    // A barrier costs software adapters more than a long line, as long as the line is within a thread's trips.
    if short || software && lines.d <= 4096 {
        all.push(serial);
    } else {
        others.push(serial);
    }
    all.push(row.clone());
    all.extend(others);
    // The one that takes any length is the base.
    all.push(row);
    all
}

/// One candidate per way to go through lines.
pub(crate) struct Ways {
    /// A thread per line.
    pub serial: Candidate,
    /// A workgroup per line.
    pub row: Candidate,
    /// An 8-lane subgroup per line.
    pub octets: Vec<Candidate>,
}

/// Bytes of workgroup memory that `lib/tree64.wgsl` takes.
pub(crate) const TREE: Needs = Needs { subgroup: None, int64: false, workgroup_memory: 256, invocations: 0 };

impl Op for Softmax {
    fn name(&self) -> &'static str {
        match self.scale {
            Scale::Linear => "softmax",
            Scale::Log => "log_softmax",
        }
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        match inputs {
            [x] if x.dtype == DType::F32 && self.axis < x.shape.rank() => Ok(vec![*x]),
            _ => expected(format!("one operand of f32 with an axis {}", self.axis)),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let x = io.inputs[0];
        let lines = Lines::new(x.shape, self.axis);
        lines.each(io.outputs[0].data, |i, put| {
            let largest = lines.line(i).map(|at| x.data[at]).fold(f64::NEG_INFINITY, f64::max);
            if largest == f64::NEG_INFINITY {
                let nothing = if self.scale == Scale::Linear { 0.0 } else { f64::NEG_INFINITY };
                return lines.line(i).for_each(|at| put(at, nothing));
            }
            let sum: f64 = lines.line(i).map(|at| (x.data[at] - largest).exp()).sum();
            lines.line(i).for_each(|at| {
                let value = x.data[at] - largest;
                put(at, if self.scale == Scale::Linear { value.exp() / sum } else { value - sum.ln() });
            });
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let op = SoftmaxBackward { axis: self.axis, scale: self.scale };
        vec![g.dy[0].as_ref().map(|dy| Tensor::apply1(op, &[&g.outputs[0], dy], &[]))]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let lines = Lines::new(io.inputs[0].shape, self.axis);
        let (outer, d, inner) = (lines.outer as u32, lines.d as u32, lines.inner as u32);
        let count = lines.outer * lines.inner;
        let bind = [Bind::Input(0), Bind::Output(0)];
        let log = self.scale == Scale::Log;
        let serial = serial::dispatch(serial::Params { outer, d, inner })
            .constant("LOG", log)
            .bind(&bind)
            .groups(count.div_ceil(64) as u64)
            .trips(3 * lines.d as u64);
        let row = row::dispatch(row::Params { outer, d, inner })
            .constant("LOG", log)
            .bind(&bind)
            .groups(count as u64)
            .trips(3 * lines.d.div_ceil(64) as u64 + 12);
        let any = subgroup8::dispatch(subgroup8::Params { outer, octets: d / 8 });
        let held = |octets: u32| {
            held8::dispatch(held8::Params { outer, octets: d / 8 })
                .constant("HELD", octets)
                .constant("LOG", log)
                .bind(&bind)
        };
        let ways = Ways {
            serial: Candidate::new("serial").dispatch(serial),
            row: Candidate::new("row").needs(TREE).dispatch(row),
            octets: lines.octets(3, held, any.constant("LOG", log).bind(&bind)),
        };
        by_line(lines, target, ways)
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        match self.scale {
            Scale::Linear => Tolerance::UlpOrAbsolute(64.0, 1e-7),
            // Where a probability is near 1, what counts is the absolute error of a logarithm.
            Scale::Log => Tolerance::UlpOrAbsolute(64.0, 2f64.powi(-21) + 1e-7),
        }
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: 5 * io.inputs[0].elements() as u64, bytes: io.bytes() }
    }
}

/// The gradient of [`Softmax`], from its result y and dy: `dx = y·(dy - Σ y·dy)`, for logarithms
/// `dx = dy - exp(y)·Σ dy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SoftmaxBackward {
    /// The axis.
    pub axis: usize,
    /// Whether y are probabilities or logarithms.
    pub scale: Scale,
}

impl Op for SoftmaxBackward {
    fn name(&self) -> &'static str {
        match self.scale {
            Scale::Linear => "softmax_backward",
            Scale::Log => "log_softmax_backward",
        }
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        match inputs {
            [y, dy] if y == dy && y.dtype == DType::F32 && self.axis < y.shape.rank() => Ok(vec![*y]),
            _ => expected(format!("y and dy of f32 of one shape with an axis {}", self.axis)),
        }
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (y, dy) = (io.inputs[0], io.inputs[1].data);
        let lines = Lines::new(y.shape, self.axis);
        lines.each(io.outputs[0].data, |i, put| {
            let weight = |at: usize| if self.scale == Scale::Linear { y.data[at] } else { 1.0 };
            let sum: f64 = lines.line(i).map(|at| weight(at) * dy[at]).sum();
            lines.line(i).for_each(|at| {
                let dx = match self.scale {
                    Scale::Linear => y.data[at] * (dy[at] - sum),
                    Scale::Log => dy[at] - y.data[at].exp() * sum,
                };
                put(at, dx);
            });
        });
    }

    fn grad(&self, _: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None, None]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let lines = Lines::new(io.inputs[0].shape, self.axis);
        let (outer, d, inner) = (lines.outer as u32, lines.d as u32, lines.inner as u32);
        let count = lines.outer * lines.inner;
        let bind = [Bind::Input(0), Bind::Input(1), Bind::Output(0)];
        let log = self.scale == Scale::Log;
        let serial = serial_backward::dispatch(serial_backward::Params { outer, d, inner })
            .constant("LOG", log)
            .bind(&bind)
            .groups(count.div_ceil(64) as u64)
            .trips(2 * lines.d as u64);
        let row = row_backward::dispatch(row_backward::Params { outer, d, inner })
            .constant("LOG", log)
            .bind(&bind)
            .groups(count as u64)
            .trips(2 * lines.d.div_ceil(64) as u64 + 6);
        let any = subgroup8_backward::dispatch(subgroup8_backward::Params { outer, octets: d / 8 });
        let held = |octets: u32| {
            held8_backward::dispatch(held8_backward::Params { outer, octets: d / 8 })
                .constant("HELD", octets)
                .constant("LOG", log)
                .bind(&bind)
        };
        let ways = Ways {
            serial: Candidate::new("serial").dispatch(serial),
            row: Candidate::new("row").needs(TREE).dispatch(row),
            octets: lines.octets(2, held, any.constant("LOG", log).bind(&bind)),
        };
        by_line(lines, target, ways)
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::OfMax(4e-6)
    }
}

impl Tensor {
    /// Softmax along `axis`: non-negative, sums of 1. (PyTorch's `softmax(dim)`.)
    ///
    /// # Panics
    /// When there is no such axis.
    #[track_caller]
    pub fn softmax(&self, axis: usize) -> Tensor {
        Tensor::apply1(Softmax { axis, scale: Scale::Linear }, &[self], &[])
    }

    /// The logarithm of softmax along `axis`, exact where probabilities are tiny. (PyTorch's `log_softmax(dim)`.)
    ///
    /// # Panics
    /// When there is no such axis.
    #[track_caller]
    pub fn log_softmax(&self, axis: usize) -> Tensor {
        Tensor::apply1(Softmax { axis, scale: Scale::Log }, &[self], &[])
    }
}

crate::kernel! {
    /// A thread per line.
    mod serial = "shaders/softmax/serial.wgsl";
    params { outer: u32, d: u32, inner: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// A workgroup per line.
    mod row = "shaders/softmax/row.wgsl";
    params { outer: u32, d: u32, inner: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// An 8-lane subgroup per line.
    mod subgroup8 = "shaders/softmax/subgroup8.wgsl";
    params { outer: u32, octets: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// An 8-lane subgroup per line, which it holds in registers.
    mod held8 = "shaders/softmax/held8.wgsl";
    params { outer: u32, octets: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// A thread per line.
    mod serial_backward = "shaders/softmax_backward/serial.wgsl";
    params { outer: u32, d: u32, inner: u32 }
    bind { y: Read, dy: Read, dx: ReadWrite }
}

crate::kernel! {
    /// A workgroup per line.
    mod row_backward = "shaders/softmax_backward/row.wgsl";
    params { outer: u32, d: u32, inner: u32 }
    bind { y: Read, dy: Read, dx: ReadWrite }
}

crate::kernel! {
    /// An 8-lane subgroup per line.
    mod subgroup8_backward = "shaders/softmax_backward/subgroup8.wgsl";
    params { outer: u32, octets: u32 }
    bind { y: Read, dy: Read, dx: ReadWrite }
}

crate::kernel! {
    /// An 8-lane subgroup per line, which it holds in registers.
    mod held8_backward = "shaders/softmax_backward/held8.wgsl";
    params { outer: u32, octets: u32 }
    bind { y: Read, dy: Read, dx: ReadWrite }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for scale in [Scale::Linear, Scale::Log] {
        let forward = |axis, shape: &[usize]| Case::new(Softmax { axis, scale }, &[shape]);
        cases.push(forward(1, &[3, 5]).with_gradient());
        cases.push(forward(1, &[2, 4, 3]).with_gradient());
        cases.push(forward(0, &[7]).with_gradient());
        // Every axis of every rank.
        for shape in [&[5usize, 4][..], &[3, 4, 2], &[2, 3, 4, 3]] {
            cases.extend((0..shape.len()).map(|axis| forward(axis, shape).with_gradient()));
        }
        for (axis, shape) in [
            (0, &[1usize][..]),
            (1, &[4, 1]),
            (1, &[0, 4]),
            (1, &[4, 0]),
            (1, &[17, 10]),
            (1, &[3, 65, 7]),
            (0, &[129, 5]),
            (0, &[70, 3, 4]),
            (2, &[3, 5, 72]),
            (2, &[2, 3, 66, 5]),
            (3, &[2, 3, 4, 80]),
            (1, &[5, 1000]),
            (1, &[3, 1024]),
            (1, &[3, 1032]),
            (1, &[3, 999]),
            (1, &[2, 70_000]),
            (1, &[66_000, 8]),
        ] {
            cases.push(forward(axis, shape));
            // Logarithms of probabilities are negative; values around zero would make sums that no softmax gives.
            let y = match scale {
                Scale::Linear => Fill::Uniform { low: 0.0, high: 2.0 / shape[axis].max(1) as f64 },
                Scale::Log => Fill::Uniform { low: -12.0, high: -1.0 },
            };
            let backward = Case::new(SoftmaxBackward { axis, scale }, &[shape, shape]);
            cases.push(backward.input(0, Spec::f32(shape), y));
        }
        let far = Fill::Normal { mean: 1e4, std: 30.0 };
        cases.push(forward(1, &[5, 40]).fill(far));
    }
    cases
}
