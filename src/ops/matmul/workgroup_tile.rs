//! Variants for discrete GPUs: tiles of the operands pass through workgroup memory.

use super::{Layout, Matmul, Sizes};
use crate::kernel::Candidate;
use crate::ops::workgroup_product::Tile;

crate::kernel! {
    /// One float at a time, any strides.
    mod floats = "shaders/matmul/workgroup_tile.wgsl";
    params {
        batch: u32, m: u32, n: u32, k: u32, splits: u32, k_split: u32, tiles_m: u32, tiles_n: u32,
        a_m: u32, a_k: u32, a_batch: u32, b_k: u32, b_n: u32, b_batch: u32,
    }
    bind { a: Read, b: Read, bias: Read, c: ReadWrite }
}

crate::kernel! {
    /// Four floats at a time.
    mod quads = "shaders/matmul/workgroup_tile_vec4.wgsl";
    params {
        batch: u32, m: u32, n: u32, k: u32, splits: u32, k_split: u32, tiles_m: u32, tiles_n: u32,
        a_row: u32, a_batch: u32, b_row: u32, b_batch: u32,
    }
    bind { a: Read, b: Read, bias: Read, c: ReadWrite }
}

impl Matmul {
    /// Whether all rows of the operands and of the result are whole quads.
    fn in_quads(&self, s: Sizes) -> bool {
        let a_row = if self.a == Layout::AsIs { s.k } else { s.m };
        let b_row = if self.b == Layout::AsIs { s.n } else { s.k };
        [a_row, b_row, s.n].iter().all(|row| row.is_multiple_of(4))
    }

    pub(super) fn workgroup_tile(&self, s: Sizes) -> Candidate {
        let tile = Tile::of(s.m, s.n, s.batch);
        let tiles = tile.tiles(s.m, s.n) * s.batch;
        let split = tile.split(s.k, tiles);
        let (tiles_m, tiles_n) = (s.m.div_ceil(tile.rows()), s.n.div_ceil(tile.columns()));
        let dispatch = if self.in_quads(s) {
            quads::dispatch(quads::Params {
                batch: s.batch as u32,
                m: s.m as u32,
                n: s.n as u32,
                k: s.k as u32,
                splits: split.splits as u32,
                k_split: split.length as u32,
                tiles_m: tiles_m as u32,
                tiles_n: tiles_n as u32,
                a_row: (if self.a == Layout::AsIs { s.k } else { s.m } / 4) as u32,
                a_batch: (s.a_batch / 4) as u32,
                b_row: (if self.b == Layout::AsIs { s.n } else { s.k } / 4) as u32,
                b_batch: (s.b_batch / 4) as u32,
            })
        } else {
            let ((a_m, a_k), (b_k, b_n)) = (self.a.strides(s.m, s.k), self.b.strides(s.k, s.n));
            floats::dispatch(floats::Params {
                batch: s.batch as u32,
                m: s.m as u32,
                n: s.n as u32,
                k: s.k as u32,
                splits: split.splits as u32,
                k_split: split.length as u32,
                tiles_m: tiles_m as u32,
                tiles_n: tiles_n as u32,
                a_m: a_m as u32,
                a_k: a_k as u32,
                a_batch: s.a_batch as u32,
                b_k: b_k as u32,
                b_n: b_n as u32,
                b_batch: s.b_batch as u32,
            })
        };
        let dispatch = tile
            .bake(dispatch)
            .constant("TRANS_A", self.a == Layout::Transposed)
            .constant("TRANS_B", self.b == Layout::Transposed)
            .constant("EDGES", tile.area(s.m, s.n) != s.m * s.n)
            .constant("K_TAIL", !s.k.is_multiple_of(tile.step()))
            .groups((tiles * split.splits) as u64)
            .trips(tile.trips(split.length));
        self.in_parts(Candidate::new("workgroup_tile").needs(tile.needs(0)), s, split.splits, [0, 1], dispatch)
    }
}
