//! Rows of a table, looked up by index: `y[i, :] = table[index[i], :]`.
//!
//! | tensor | shape |
//! |---|---|
//! | table | `[V, E]` |
//! | indices (u32) | any |
//! | y | the shape of the indices, then E |
//!
//! An index that names no row gives a row of NaN. The gradient with respect to the table sums the rows of dy that were
//! read from each of its rows; a padding row gets none. (PyTorch's `embedding`.)

use crate::kernel::{Bind, Candidate, Dispatch, MAX_TRIPS, Needs, Target, TargetClass};
use crate::op::{Case, Cost, Expected, Fill, GradIo, Io, Op, RefIo, Tolerance, expected};
use crate::ops::batch_norm::floats;
use crate::shape::{DType, Spec};
use crate::tensor::Tensor;

/// A lookup of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Embedding {
    /// The row that gets no gradient.
    pub padding: Option<u32>,
}

impl Op for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let [table, indices] = inputs else { return expected("a table and indices") };
        if table.dtype != DType::F32 || table.shape.rank() != 2 || table.shape[0] == 0 {
            return expected("a table of f32 [V, E] with at least one row");
        }
        let dims = [indices.shape.dims(), &table.shape.dims()[1..]].concat();
        if indices.dtype != DType::U32 || dims.len() > crate::shape::MAX_RANK {
            return expected("indices of u32 with an axis to spare");
        }
        Ok(vec![Spec::f32(&dims[..])])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (table, indices) = (io.inputs[0], io.inputs[1].data);
        let (v, e) = (table.shape[0], table.shape[1]);
        crate::parallel::rows(io.outputs[0].data, e, e, |i, y| match indices[i] as usize {
            index if index < v => y.copy_from_slice(&table.data[index * e..][..e]),
            _ => y.fill(f64::NAN),
        });
    }

    fn grad(&self, g: &GradIo<'_>) -> Vec<Option<Tensor>> {
        let op = EmbeddingBackward { rows: g.inputs[0].shape()[0], padding: self.padding };
        vec![g.dy[0].as_ref().map(|dy| Tensor::apply1(op, &[&g.inputs[1], dy], &[])), None]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let [v, e] = [0, 1].map(|axis| io.inputs[0].shape[axis]);
        let n = io.inputs[1].elements();
        let bind = [Bind::Input(1), Bind::Input(0), Bind::Output(0)];
        let counts = |unit: usize| ((n * e / unit) as u32, (e / unit) as u32, v as u32);
        let groups = |unit: usize| (n * e / unit).div_ceil(64) as u64;
        let (len, units, rows) = counts(1);
        let one = scalar::dispatch(scalar::Params { len, e: units, v: rows }).bind(&bind).groups(groups(1));
        let one = Candidate::new("scalar").dispatch(one);
        let (len, units, rows) = counts(4);
        let four = vec4::dispatch(vec4::Params { len, e: units, v: rows }).bind(&bind).groups(groups(4));
        let four = e.is_multiple_of(4).then(|| Candidate::new("vec4").dispatch(four));
        let (len, units, rows) = counts(8);
        let eight = octet::dispatch(octet::Params { len, e: units, v: rows }).bind(&bind).groups(groups(8));
        let needs = Needs { int64: true, ..Needs::default() };
        let eight = e.is_multiple_of(8).then(|| Candidate::new("octet").needs(needs).dispatch(eight));
        let wide = match target.class {
            TargetClass::Software => [eight, four],
            TargetClass::Hardware => [four, eight],
        };
        wide.into_iter().flatten().chain([one]).collect()
    }

    fn tolerance(&self, _: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Exact
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        // Of the table, only rows that are looked up are read.
        Cost { flops: 0, bytes: io.inputs[1].bytes() + 2 * io.outputs[0].bytes() }
    }
}

/// The gradient of [`Embedding`] with respect to the table, from indices and dy:
/// `dtable[v, :] = Σ_i dy[i, :]` over the i with index v.
///
/// The list of indices is cut into parts, each part is summed into a table of its own in the order of the list, and the
/// tables are summed in the order of the parts. So the result is the same at every run, without atomics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EmbeddingBackward {
    /// Rows of the table.
    pub rows: usize,
    /// The row that gets no gradient.
    pub padding: Option<u32>,
}

impl Op for EmbeddingBackward {
    fn name(&self) -> &'static str {
        "embedding_backward"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>, Expected> {
        let [indices, dy] = inputs else { return expected("indices and dy") };
        let rank = indices.shape.rank();
        let fits = dy.shape.rank() == rank + 1 && dy.shape.dims()[..rank] == *indices.shape.dims();
        if indices.dtype != DType::U32 || dy.dtype != DType::F32 || !fits {
            return expected("indices of u32 and dy of f32 with one axis more");
        }
        Ok(vec![Spec::f32([self.rows, dy.shape[rank]])])
    }

    fn reference(&self, io: &mut RefIo<'_>) {
        let (indices, dy) = (io.inputs[0].data, io.inputs[1].data);
        let dtable = &mut io.outputs[0];
        let e = dtable.shape[1];
        dtable.data.fill(0.0);
        for (i, &index) in indices.iter().enumerate() {
            if (index as usize) < self.rows && self.padding.map(f64::from) != Some(index) {
                let row = &mut dtable.data[index as usize * e..][..e];
                row.iter_mut().zip(&dy[i * e..]).for_each(|(sum, dy)| *sum += dy);
            }
        }
    }

    fn grad(&self, _: &GradIo<'_>) -> Vec<Option<Tensor>> {
        vec![None, None]
    }

    fn kernels(&self, io: Io<'_>, target: &Target) -> Vec<Candidate> {
        let columns = self.columns(io, target);
        match self.octets(io, target) {
            Some(octets) if target.class == TargetClass::Software => vec![octets, columns],
            Some(octets) => vec![columns.clone(), octets, columns],
            None => vec![columns],
        }
    }

    fn tolerance(&self, io: Io<'_>, _: usize) -> Tolerance {
        Tolerance::Sum { n: io.inputs[0].elements() }
    }

    fn cost(&self, io: Io<'_>) -> Cost {
        Cost { flops: io.inputs[1].elements() as u64, bytes: io.bytes() }
    }
}

/// How a list of indices is shared among tables.
#[derive(Clone, Copy)]
struct Parts {
    parts: usize,
    /// Indices of each.
    length: usize,
}

impl EmbeddingBackward {
    /// A thread per column of a table.
    fn columns(&self, io: Io<'_>, target: &Target) -> Candidate {
        let (n, v, e) = (io.inputs[0].elements(), self.rows, io.outputs[0].shape[1]);
        let t = parts(n, v, e, target);
        let accumulate = |first: usize| {
            let params = accumulate::Params {
                n: n as u32,
                e: e as u32,
                v: v as u32,
                padding: self.padding.unwrap_or(u32::MAX),
                parts: t.parts as u32,
                length: t.length as u32,
                first: first as u32,
                trips: STRETCH as u32,
            };
            accumulate::dispatch(params).groups((t.parts * e).div_ceil(64) as u64)
        };
        let sum = sum::dispatch(sum::Params { len: (v * e) as u32, parts: t.parts as u32 })
            .groups((v * e).div_ceil(64) as u64)
            .trips(t.parts.div_ceil(4) as u64);
        passes(Candidate::new("columns"), v * e, t, accumulate, sum)
    }

    /// A thread per eight columns of a table.
    fn octets(&self, io: Io<'_>, target: &Target) -> Option<Candidate> {
        let (n, v, e) = (io.inputs[0].elements(), self.rows, io.outputs[0].shape[1]);
        if !e.is_multiple_of(8) {
            return None;
        }
        let t = parts(n, v, e, target);
        let accumulate = |first: usize| {
            let params = accumulate_octet::Params {
                n: n as u32,
                e: (e / 8) as u32,
                v: v as u32,
                padding: self.padding.unwrap_or(u32::MAX),
                parts: t.parts as u32,
                length: t.length as u32,
                first: first as u32,
                trips: STRETCH as u32,
            };
            accumulate_octet::dispatch(params).groups((t.parts * e / 8).div_ceil(8) as u64)
        };
        let sum = sum_octet::dispatch(sum_octet::Params { len: (v * e / 8) as u32, parts: t.parts as u32 })
            .groups((v * e / 8).div_ceil(64) as u64)
            .trips(t.parts as u64);
        let needs = Needs { int64: true, ..Needs::default() };
        Some(passes(Candidate::new("octets").needs(needs), v * e, t, accumulate, sum))
    }
}

/// Clears the tables of `len` elements each, accumulates stretch by stretch, and sums the tables if there are several.
fn passes(
    out: Candidate,
    len: usize,
    t: Parts,
    accumulate: impl Fn(usize) -> Dispatch,
    sum: Dispatch,
) -> Candidate {
    let tables = if t.parts == 1 { Bind::Output(0) } else { Bind::Scratch(0) };
    let units = (t.parts * len).div_ceil(4);
    let clear = clear::dispatch(clear::Params { len: units as u32 });
    let mut out = out.dispatch(clear.bind(&[tables]).groups(units.div_ceil(64) as u64));
    for first in (0..t.length).step_by(STRETCH) {
        let dispatch = accumulate(first).bind(&[Bind::Input(0), Bind::Input(1), tables]);
        out = out.dispatch(dispatch.trips(STRETCH.min(t.length) as u64));
    }
    match t.parts {
        1 => out,
        _ => out.scratch(floats(t.parts * len)).dispatch(sum.bind(&[tables, Bind::Output(0)])),
    }
}

/// Indices that one thread goes through in one dispatch.
const STRETCH: usize = MAX_TRIPS as usize / 2;

/// Bytes that the tables of all parts may take together.
const MAX_TABLES: usize = 64 << 20;

/// More tables keep more threads busy and their sums short, but each is to be cleared and summed.
fn parts(n: usize, v: usize, e: usize, target: &Target) -> Parts {
    // Columns at work together, and elements added per element of a table.
    let (columns, ratio) = match target.class {
        TargetClass::Software => (256, 8),
        TargetClass::Hardware => (8192, 1),
    };
    let balanced = n / v / ratio;
    let most = (n / 64).min(MAX_TABLES / (4 * v * e).max(1)).clamp(1, 1024);
    let parts = balanced.max(columns / e.max(1)).clamp(1, most);
    Parts { parts, length: n.div_ceil(parts) }
}

impl Tensor {
    /// The rows of this table `[V, E]` at `indices` (u32, of any shape): the shape of the indices, then E. (PyTorch's
    /// `embedding`.) An uploaded index that names no row, or the ignore mark, is an
    /// [`Error::Label`](crate::Error::Label) of the next call that returns a `Result`;
    /// a computed one gives NaN.
    ///
    /// # Panics
    /// When the table does not have two axes, or no row, or the indices are not u32.
    #[track_caller]
    pub fn embedding(&self, indices: &Tensor) -> Tensor {
        self.embedding_padded(indices, None)
    }

    /// [`embedding`](Tensor::embedding) in which row `padding` gets no gradient.
    ///
    /// # Panics
    /// As `embedding`, and when there is no such row.
    #[track_caller]
    pub fn embedding_padded(&self, indices: &Tensor, padding: Option<usize>) -> Tensor {
        let rows = self.shape().dims().first().copied().unwrap_or(0);
        assert!(padding.is_none_or(|p| p < rows), "a padding row {padding:?} of a table of {rows} rows");
        let op = Embedding { padding: padding.map(|p| p as u32) };
        // A kernel has no way to complain about a row that does not exist.
        if let Ok([y]) = op.outputs(&[self.spec(), indices.spec()]).as_deref()
            && let Some(error) = indices.label_beyond(rows).or_else(|| indices.label_ignored(rows))
        {
            return Tensor::failed(self.device(), *y, error);
        }
        Tensor::apply1(op, &[self, indices], &[])
    }
}

crate::kernel! {
    /// One thread per element.
    mod scalar = "shaders/embedding/scalar.wgsl";
    params { len: u32, e: u32, v: u32 }
    bind { indices: Read, table: Read, y: ReadWrite }
}

crate::kernel! {
    /// Four neighbours per thread.
    mod vec4 = "shaders/embedding/vec4.wgsl";
    params { len: u32, e: u32, v: u32 }
    bind { indices: Read, table: Read, y: ReadWrite }
}

crate::kernel! {
    /// Eight neighbours per thread.
    mod octet = "shaders/embedding/octet.wgsl";
    params { len: u32, e: u32, v: u32 }
    bind { indices: Read, table: Read, y: ReadWrite }
}

crate::kernel! {
    /// Zeros.
    mod clear = "shaders/embedding_backward/clear.wgsl";
    params { len: u32 }
    bind { y: ReadWrite }
}

crate::kernel! {
    /// A thread per column of a part's table.
    mod accumulate = "shaders/embedding_backward/accumulate.wgsl";
    params { n: u32, e: u32, v: u32, padding: u32, parts: u32, length: u32, first: u32, trips: u32 }
    bind { indices: Read, dy: Read, tables: ReadWrite }
}

crate::kernel! {
    /// A thread per eight columns of a part's table.
    mod accumulate_octet = "shaders/embedding_backward/accumulate_octet.wgsl";
    params { n: u32, e: u32, v: u32, padding: u32, parts: u32, length: u32, first: u32, trips: u32 }
    bind { indices: Read, dy: Read, tables: ReadWrite }
}

crate::kernel! {
    /// Eight elements of the table per thread.
    mod sum_octet = "shaders/embedding_backward/sum_octet.wgsl";
    params { len: u32, parts: u32 }
    bind { tables: Read, dtable: ReadWrite }
}

crate::kernel! {
    /// One thread per element of the table.
    mod sum = "shaders/embedding_backward/sum.wgsl";
    params { len: u32, parts: u32 }
    bind { tables: Read, dtable: ReadWrite }
}

/// Test cases.
pub fn cases() -> Vec<Case> {
    // Indices from 0 up to `below`, which names no row where it is above v.
    let of = |v: usize, e: usize, indices: &[usize], below: usize, padding: Option<u32>| {
        let fill = Fill::Index { below: below as u32 };
        Case::new(Embedding { padding }, &[&[v, e], indices]).input(1, Spec::u32(indices), fill)
    };
    let back = |v: usize, e: usize, indices: &[usize], below: usize, padding: Option<u32>| {
        let dy = [indices, &[e]].concat();
        let fill = Fill::Index { below: below as u32 };
        Case::new(EmbeddingBackward { rows: v, padding }, &[indices, &dy]).input(0, Spec::u32(indices), fill)
    };
    let mut cases = vec![
        of(3, 2, &[2, 5], 3, None).with_gradient(),
        of(5, 3, &[7], 5, None).with_gradient(),
        of(4, 1, &[], 4, None).with_gradient(),
    ];
    for (v, e, indices, below) in [
        (1usize, 1usize, &[1usize][..], 1usize),
        (2, 5, &[0], 2),
        (7, 0, &[3], 7),
        (5, 4, &[3, 7], 5),
        (5, 12, &[3, 7], 8),
        (11, 16, &[2, 3, 5], 13),
        (300, 40, &[130], 300),
        (10, 64, &[70_000], 10),
    ] {
        cases.push(of(v, e, indices, below, None));
        cases.push(back(v, e, indices, below, None));
        cases.push(back(v, e, indices, below, Some(v as u32 / 2)));
    }
    // All the same index; a list longer than a stretch of one part; a table of more than one row per index.
    cases.push(back(5, 3, &[40_000], 1, None));
    cases.push(back(8_400_000, 1, &[20_000], 8_400_000, Some(0)));
    cases.push(back(3, 100, &[2, 1000], 3, None));
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_keep_to_their_share_of_memory() {
        for (n, v, e) in [(1, 1, 1), (1 << 20, 3, 4), (4096, 10_000, 128), (1 << 20, 50_000, 512), (0, 7, 0)] {
            let Parts { parts, length } = parts(n, v, e, &Target::WEBGPU_DEFAULT);
            assert!(parts >= 1 && parts * length >= n && (parts == 1 || 4 * parts * v * e <= MAX_TABLES), "{n} {v} {e}: {parts}");
            assert!(parts == 1 || length >= 64, "{n} {v} {e}: {parts}");
        }
    }
}
