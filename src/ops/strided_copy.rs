//! The kernels of permute and slice: a dense result from elements that lie at regular distances.
//!
//! Bits are copied, so f32 and u32 share the kernels. Axes that are regular together are merged first, and four
//! neighbouring elements move at once where both sides allow it.

use crate::kernel::{Bind, Candidate, Dispatch};
use crate::pointwise::Divisor;
use crate::shape::MAX_RANK;

crate::kernel! {
    /// One element per thread.
    mod scalar = "shaders/strided_copy/scalar.wgsl";
    params {
        n: u32, offset: u32,
        d0: u32, m0: u32, h0: u32,
        d1: u32, m1: u32, h1: u32,
        d2: u32, m2: u32, h2: u32,
        d3: u32, m3: u32, h3: u32,
        d4: u32, m4: u32, h4: u32,
        s0: u32, s1: u32, s2: u32, s3: u32, s4: u32, s5: u32,
    }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// Four elements per thread, contiguous on both sides.
    mod vec4 = "shaders/strided_copy/vec4.wgsl";
    params {
        n: u32, offset: u32,
        d0: u32, m0: u32, h0: u32,
        d1: u32, m1: u32, h1: u32,
        d2: u32, m2: u32, h2: u32,
        d3: u32, m3: u32, h3: u32,
        d4: u32, m4: u32, h4: u32,
        s0: u32, s1: u32, s2: u32, s3: u32, s4: u32, s5: u32,
    }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// Four by four elements per thread, transposed in registers: the source is contiguous along another axis.
    mod block4 = "shaders/strided_copy/block4.wgsl";
    params {
        n: u32, offset: u32, inner_stride: u32, across_pitch: u32,
        d0: u32, m0: u32, h0: u32,
        d1: u32, m1: u32, h1: u32,
        d2: u32, m2: u32, h2: u32,
        d3: u32, m3: u32, h3: u32,
        d4: u32, m4: u32, h4: u32,
        s0: u32, s1: u32, s2: u32, s3: u32, t0: u32, t1: u32, t2: u32, t3: u32,
    }
    bind { x: Read, y: ReadWrite }
}

/// The parameters of the first two kernels, from arrays.
macro_rules! strided_params {
    ($kernel:ident, $n:expr, $offset:expr, $d:ident, $s:ident) => {
        $kernel::Params {
            n: $n as u32,
            offset: $offset as u32,
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
            s0: $s[0],
            s1: $s[1],
            s2: $s[2],
            s3: $s[3],
            s4: $s[4],
            s5: $s[5],
        }
    };
}

/// Threads per workgroup of all three kernels.
const WORKGROUP: usize = 64;

/// An axis of the result: how far apart its elements are in the source and in the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axis {
    size: usize,
    source: usize,
    result: usize,
}

/// A dense result of sizes `dims` whose element c is element `offset + Σ c·strides` of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StridedCopy {
    /// Innermost first; at least one.
    axes: Vec<Axis>,
    offset: usize,
    elements: usize,
}

impl StridedCopy {
    pub(super) fn new(dims: &[usize], strides: &[usize], offset: usize) -> Self {
        let mut axes: Vec<Axis> = Vec::new();
        let mut result = 1;
        for (&size, &source) in dims.iter().zip(strides).rev().filter(|(size, _)| **size != 1) {
            match axes.last_mut() {
                Some(inner) if source == inner.source * inner.size => inner.size *= size,
                _ => axes.push(Axis { size, source, result }),
            }
            result *= size;
        }
        if axes.is_empty() {
            axes.push(Axis { size: 1, source: 1, result: 1 });
        }
        StridedCopy { axes, offset, elements: result }
    }

    /// Ways to copy, best first, from input 0 to output 0.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let several = self.vec4().or_else(|| self.block4());
        several.into_iter().chain([self.scalar()]).collect()
    }

    fn scalar(&self) -> Candidate {
        let (d, s) = self.sizes(1);
        let params = strided_params!(scalar, self.elements, self.offset, d, s);
        candidate("scalar", scalar::dispatch(params).constant("RANK", self.axes.len() as u32), self.elements)
    }

    fn vec4(&self) -> Option<Candidate> {
        let (inner, outer) = self.axes.split_first()?;
        let regular = inner.source == 1
            && inner.size.is_multiple_of(4)
            && self.offset.is_multiple_of(4)
            && outer.iter().all(|axis| axis.source.is_multiple_of(4));
        if !regular {
            return None;
        }
        let (d, s) = self.sizes(4);
        let params = strided_params!(vec4, self.elements / 4, self.offset / 4, d, s);
        let dispatch = vec4::dispatch(params).constant("RANK", self.axes.len() as u32);
        Some(candidate("vec4", dispatch, self.elements / 4))
    }

    fn block4(&self) -> Option<Candidate> {
        let (inner, outer) = self.axes.split_first()?;
        let at = outer.iter().position(|axis| axis.source == 1)?;
        let across = outer[at];
        let rest: Vec<Axis> = outer.iter().copied().filter(|axis| *axis != across).collect();
        let multiples = [inner.size, across.size, inner.source, self.offset];
        let regular = multiples.iter().all(|m| m.is_multiple_of(4))
            && rest.iter().all(|axis| axis.source.is_multiple_of(4));
        if !regular {
            return None;
        }
        let size = |k: usize| rest.get(k).map_or(1, |axis| axis.size);
        let sizes = [inner.size / 4, across.size / 4, size(0), size(1), size(2)];
        let d = sizes.map(Divisor::new);
        let s = |k: usize| rest.get(k).map_or(0, |axis| (axis.source / 4) as u32);
        let t = |k: usize| rest.get(k).map_or(0, |axis| (axis.result / 4) as u32);
        let threads = self.elements / 16;
        let params = block4::Params {
            n: threads as u32,
            offset: (self.offset / 4) as u32,
            inner_stride: (inner.source / 4) as u32,
            across_pitch: (across.result / 4) as u32,
            d0: d[0].size,
            m0: d[0].magic,
            h0: d[0].shift,
            d1: d[1].size,
            m1: d[1].magic,
            h1: d[1].shift,
            d2: d[2].size,
            m2: d[2].magic,
            h2: d[2].shift,
            d3: d[3].size,
            m3: d[3].magic,
            h3: d[3].shift,
            d4: d[4].size,
            m4: d[4].magic,
            h4: d[4].shift,
            s0: s(0),
            s1: s(1),
            s2: s(2),
            s3: s(3),
            t0: t(0),
            t1: t(1),
            t2: t(2),
            t3: t(3),
        };
        Some(candidate("block4", block4::dispatch(params), threads))
    }

    /// Sizes and source strides, innermost first, in units of `unit` elements; missing axes have size 1.
    fn sizes(&self, unit: usize) -> ([Divisor; MAX_RANK], [u32; MAX_RANK]) {
        let (mut d, mut s) = ([Divisor::new(1); MAX_RANK], [0; MAX_RANK]);
        for (k, axis) in self.axes.iter().enumerate() {
            d[k] = Divisor::new(if k == 0 { axis.size / unit } else { axis.size });
            s[k] = if k == 0 { axis.source } else { axis.source / unit } as u32;
        }
        (d, s)
    }
}

fn candidate(variant: &'static str, dispatch: Dispatch, threads: usize) -> Candidate {
    let groups = threads.div_ceil(WORKGROUP) as u64;
    Candidate::new(variant).dispatch(dispatch.bind(&[Bind::Input(0), Bind::Output(0)]).groups(groups))
}

/// The definition, shared by permute and slice: fills `out` with the elements of `x` at `offset + Σ c·strides`.
pub(super) fn reference(x: &[f64], out: &mut [f64], dims: &[usize], strides: &[usize], offset: usize) {
    let (row, step) = match (dims.last(), strides.last()) {
        (Some(&size), Some(&stride)) => (size, stride),
        _ => (1, 0),
    };
    let outer = dims.len().saturating_sub(1);
    crate::parallel::rows(out, row, 4 * row, |index, values| {
        let (mut rest, mut at) = (index, offset);
        for axis in (0..outer).rev() {
            at += rest % dims[axis] * strides[axis];
            rest /= dims[axis];
        }
        for (k, value) in values.iter_mut().enumerate() {
            *value = x[at + k * step];
        }
    });
}
