//! The variant for products with few rows or columns, which are bound by reading the other operand.

use super::{Layout, Matmul, Sizes, split};
use crate::kernel::{Candidate, MAX_TRIPS, Needs};

crate::kernel! {
    /// All rows of a few columns per workgroup.
    mod gemv = "shaders/matmul/gemv.wgsl";
    params {
        batch: u32, m: u32, n: u32, k: u32, splits: u32, k_split: u32, tiles: u32, a_m: u32, a_k: u32,
        a_batch: u32, b_k: u32, b_n: u32, b_batch: u32, c_m: u32, c_n: u32, bias_m: u32, bias_n: u32,
    }
    bind { a: Read, b: Read, bias: Read, c: ReadWrite }
}

/// The most rows that the kernel computes.
const ROWS: usize = 8;

/// Threads of a workgroup.
const THREADS: usize = 128;

/// Workgroups that fill the largest GPUs.
const ENOUGH: usize = 256;

impl Matmul {
    /// `None` when the product has more than 8 rows and more than 8 columns.
    pub(super) fn gemv(&self, s: Sizes) -> Option<Candidate> {
        let ((a_m, a_k), (b_k, b_n)) = (self.a.strides(s.m, s.k), self.b.strides(s.k, s.n));
        // The product's transpose has its operands in turned places.
        let turned = s.n < s.m;
        let (m, n) = if turned { (s.n, s.m) } else { (s.m, s.n) };
        if m > ROWS {
            return None;
        }
        let many = if turned { self.a.flipped() } else { self.b };
        let along_k = many == Layout::Transposed;
        // Whole cache lines along k, or along n.
        let k_threads = if along_k { 32 } else { 8 };
        let tiles = n.div_ceil(4 * THREADS / k_threads);
        let longest = k_threads * (MAX_TRIPS as usize - 64);
        let split = split(s.k, tiles * s.batch, ENOUGH, 64, longest, 1);
        let pick = |plain: usize, of_turned: usize| if turned { of_turned as u32 } else { plain as u32 };
        let dispatch = gemv::dispatch(gemv::Params {
            batch: s.batch as u32,
            m: m as u32,
            n: n as u32,
            k: s.k as u32,
            splits: split.splits as u32,
            k_split: split.length as u32,
            tiles: tiles as u32,
            a_m: pick(a_m, b_n),
            a_k: pick(a_k, b_k),
            a_batch: pick(s.a_batch, s.b_batch),
            b_k: pick(b_k, a_k),
            b_n: pick(b_n, a_m),
            b_batch: pick(s.b_batch, s.a_batch),
            c_m: pick(s.n, 1),
            c_n: pick(1, s.n),
            bias_m: pick(0, 1),
            bias_n: pick(1, 0),
        })
        .constant("ROWS", m.next_power_of_two() as u32)
        .constant("LANES_ALONG_K", along_k)
        .constant("K_THREADS", k_threads as u32)
        .groups((tiles * split.splits * s.batch) as u64)
        .trips((split.length.div_ceil(k_threads) + 16) as u64);
        let memory = 16 * THREADS * m.next_power_of_two();
        let needs = Needs { workgroup_memory: memory as u32, ..Needs::default() };
        let operands = if turned { [1, 0] } else { [0, 1] };
        Some(self.in_parts(Candidate::new("gemv").needs(needs), s, split.splits, operands, dispatch))
    }
}
