//! The host's side of `lib/workgroup_product.wgsl`: how products are cut into tiles and parts.

use crate::kernel::{Dispatch, MAX_TRIPS, Needs};

/// Workgroups that fill the largest GPUs, whose 130 or so cores each run several at a time.
const ENOUGH: usize = 256;

/// Steps of k below which a part costs more to add up than it saves.
const SHORTEST: usize = 256;

/// A tile of a product: 256 threads, and what each of them sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    row_threads: usize,
    /// Quads of rows and of columns per thread.
    quads: usize,
    step: usize,
}

impl Tile {
    /// 4 x 4 elements per thread. Its few registers leave room for many threads, and those hide each other's
    /// loads; it reads 2 quads of workgroup memory for 16 multiply-adds, half of what it could.
    pub const SQUARE: Tile = Tile { row_threads: 16, quads: 1, step: 16 };
    /// For products of at most 32 rows, or a little more than a multiple.
    pub const FLAT: Tile = Tile { row_threads: 8, quads: 1, step: 16 };
    /// The same for columns.
    pub const TALL: Tile = Tile { row_threads: 32, quads: 1, step: 16 };
    /// 8 x 8 elements per thread: half the loads, where there is enough work for tiles of this size.
    pub const LARGE: Tile = Tile { row_threads: 16, quads: 2, step: 8 };

    /// The tile for `count` products of M x N. Depends on sizes only, so results are the same everywhere.
    pub fn of(m: usize, n: usize, count: usize) -> Tile {
        let small = [Tile::SQUARE, Tile::FLAT, Tile::TALL].into_iter().min_by_key(|t| t.area(m, n));
        let small = small.expect("there are three");
        let enough = Tile::LARGE.tiles(m, n) * count >= ENOUGH;
        // An eighth more work is less than what larger tiles save.
        let close = Tile::LARGE.area(m, n) <= small.area(m, n) / 8 * 9;
        if enough && close { Tile::LARGE } else { small }
    }

    pub fn rows(self) -> usize {
        4 * self.row_threads * self.quads
    }

    pub fn columns(self) -> usize {
        4 * (THREADS / self.row_threads) * self.quads
    }

    /// The number of values of k that a trip of the loop works through.
    pub fn step(self) -> usize {
        self.step
    }

    pub fn tiles(self, m: usize, n: usize) -> usize {
        m.div_ceil(self.rows()) * n.div_ceil(self.columns())
    }

    /// Elements of C that are computed for M x N of them.
    pub fn area(self, m: usize, n: usize) -> usize {
        m.next_multiple_of(self.rows()) * n.next_multiple_of(self.columns())
    }

    /// Cuts `k` so that `workgroups` times the parts come near [`ENOUGH`].
    pub fn split(self, k: usize, workgroups: usize) -> Split {
        let wanted = (ENOUGH / workgroups.max(1)).min(k / SHORTEST).max(1);
        // The loop makes one trip more than there are steps, and kernels have some trips of their own.
        let longest = self.step * (MAX_TRIPS as usize - 256);
        let length = k.div_ceil(wanted).min(longest).next_multiple_of(self.step).max(self.step);
        Split { splits: k.div_ceil(length).max(1), length }
    }

    /// Trips of the loop over `k` values.
    pub fn trips(self, k: usize) -> u64 {
        k.div_ceil(self.step) as u64 + 1
    }

    /// Bakes the tile into a kernel that includes the library file.
    pub fn bake(self, dispatch: Dispatch) -> Dispatch {
        dispatch
            .constant("ROW_THREADS", self.row_threads as u32)
            .constant("ROW_QUADS", self.quads as u32)
            .constant("COLUMN_QUADS", self.quads as u32)
            .constant("STEP", self.step as u32)
    }

    /// What the tile needs, and `more` bytes of workgroup memory.
    pub fn needs(self, more: usize) -> Needs {
        let tiles = 16 * (self.row_threads + THREADS / self.row_threads) * (self.quads * self.step + 1);
        Needs { workgroup_memory: (tiles + more) as u32, ..Needs::default() }
    }
}

/// Threads of a workgroup.
const THREADS: usize = 256;

/// How K is cut into parts that are summed apart, and then added in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    pub splits: usize,
    /// Of a part: a multiple of the tile's step.
    pub length: usize,
}
