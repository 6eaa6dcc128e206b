//! Products whose kernels load vectors: octets on software adapters, quads elsewhere.

use super::{Layout, Matmul, Sizes, Split, padded, split};
use crate::kernel::{Bind, Candidate, MAX_TRIPS};

crate::kernel! {
    /// One 8-lane subgroup per TILE_M x 64 tile, octet loads.
    pub(in crate::ops) mod subgroup8 = "shaders/matmul/subgroup8.wgsl";
    params {
        batch: u32, m: u32, n: u32, k: u32, splits: u32, k_split: u32, tiles_m: u32, tiles_n: u32,
        a_row: u32, a_batch: u32, b_row: u32, b_tile: u32, b_batch: u32, c_row: u32, c_batch: u32, c_split: u32,
    }
    bind { a: Read, b: Read, bias: Read, c: ReadWrite }
}

crate::kernel! {
    /// An 8 x 8 tile per thread, quad loads.
    mod register_tile_vec4 = "shaders/matmul/register_tile_vec4.wgsl";
    params {
        batch: u32, m: u32, n: u32, k: u32, splits: u32, k_split: u32, tiles_m: u32, tiles_n: u32,
        a_row: u32, a_batch: u32, b_row: u32, b_batch: u32, c_row: u32, c_batch: u32, c_split: u32,
    }
    bind { a: Read, b: Read, bias: Read, c: ReadWrite }
}

crate::kernel! {
    /// Copies rows to a padded length.
    pub(in crate::ops) mod pack = "shaders/matmul/pack.wgsl";
    params { rows: u32, columns: u32, pitch: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// Copies B into panels of 64 columns.
    pub(in crate::ops) mod pack_panels = "shaders/matmul/pack_panels.wgsl";
    params { octets: u32, k: u32, n8: u32, panels: u32 }
    bind { x: Read, y: ReadWrite }
}

/// Octet products of at least this many multiply-adds take tall tiles, which take the driver longest to compile.
const LARGE: usize = 1 << 27;

/// Rows a multiple of so many bytes apart fall into the same few sets of a cache.
const CONFLICT: usize = 2048;

/// A kernel with vector loads: what it needs of its operands.
pub(super) struct Wide {
    variant: &'static str,
    /// Floats per vector.
    width: usize,
    tile_m: usize,
    tile_n: usize,
    /// Tiles per workgroup.
    per_group: usize,
    split: Split,
}

/// A tile of `subgroup8`, by its height, with the variant's name.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct OctetTile {
    pub variant: &'static str,
    pub rows: usize,
}

/// The tiles of `subgroup8` for products of M rows, best first. Half the height compiles in half the time;
/// only large products win that back.
pub(in crate::ops) fn octet_tiles(m: usize, multiply_adds: usize) -> Vec<OctetTile> {
    let tile = |variant, rows: usize| OctetTile { variant, rows: m.next_multiple_of(8).min(rows) };
    let mut tiles = vec![tile("subgroup8", 16)];
    if m > 16 {
        tiles.insert(usize::from(multiply_adds < LARGE), tile("subgroup8_tall", 32));
    }
    tiles
}

impl Wide {
    pub fn octets(s: Sizes, tile: OctetTile) -> Wide {
        let groups = s.m.div_ceil(tile.rows) * s.n.div_ceil(64) * s.batch;
        let split = split(s.k, groups, 16, 256, 8 * (MAX_TRIPS as usize - 8), 8);
        Wide { variant: tile.variant, width: 8, tile_m: tile.rows, tile_n: 64, per_group: 1, split }
    }

    pub fn quads(s: Sizes) -> Wide {
        let threads = s.m.div_ceil(8) * s.n.div_ceil(8) * s.batch;
        let split = split(s.k, threads, 512, 128, 4 * (MAX_TRIPS as usize - 8), 4);
        Wide { variant: "register_tile_vec4", width: 4, tile_m: 8, tile_n: 8, per_group: 64, split }
    }
}

impl Matmul {
    /// The dispatches of a kernel with vector loads: operands whose rows are no multiples of the vector are packed,
    /// and so is the result.
    pub(super) fn wide(&self, s: Sizes, w: Wide) -> Candidate {
        let mut out = Candidate::new(w.variant);
        let mut pack = |input: usize, layout: Layout, (rows, columns): (usize, usize), batch_step: usize| {
            let (rows, columns) = if layout == Layout::AsIs { (rows, columns) } else { (columns, rows) };
            let pitch = columns.next_multiple_of(w.width);
            let row = (pitch / w.width) as u32;
            let batch = if batch_step == 0 { 0 } else { rows as u32 * row };
            if pitch == columns {
                return (Bind::Input(input), row, batch);
            }
            let all = if batch_step == 0 { rows } else { rows * s.batch };
            let to = Bind::Scratch(out.scratch.len());
            let params = pack::Params { rows: all as u32, columns: columns as u32, pitch: pitch as u32 };
            let groups = (all * pitch).div_ceil(64) as u64;
            let dispatch = pack::dispatch(params).bind(&[Bind::Input(input), to]).groups(groups);
            out = std::mem::replace(&mut out, Candidate::new(w.variant))
                .scratch(padded(all * pitch))
                .dispatch(dispatch);
            (to, row, batch)
        };
        let (a, a_row, a_batch) = pack(0, self.a, (s.m, s.k), s.a_batch);
        let (b, b_row, b_batch) = pack(1, self.b, (s.k, s.n), s.b_batch);
        // Panels are read by every row of tiles: with a few of those the copy is little beside that.
        let conflicts = (b_row as usize * 32).is_multiple_of(CONFLICT) && s.m >= 8 * w.tile_m;
        let panels = s.n.div_ceil(64);
        let (b, b_row, b_tile, b_batch) = if w.width == 8 && self.b == Layout::AsIs && conflicts {
            let batch = if b_batch == 0 { 1 } else { s.batch };
            let octets = batch * panels * s.k * 8;
            let params = pack_panels::Params {
                octets: octets as u32,
                k: s.k as u32,
                n8: b_row,
                panels: panels as u32,
            };
            let to = Bind::Scratch(out.scratch.len());
            let dispatch = pack_panels::dispatch(params).bind(&[b, to]).groups(octets.div_ceil(8) as u64);
            out = out.scratch(padded(8 * octets)).dispatch(dispatch);
            (to, 8, s.k as u32 * 8, if b_batch == 0 { 0 } else { (panels * s.k * 8) as u32 })
        } else {
            (b, b_row, 8, b_batch)
        };
        let c_row = s.n.div_ceil(w.width);
        let direct = w.split.splits == 1 && s.n.is_multiple_of(w.width);
        let c = if direct { Bind::Output(0) } else { Bind::Scratch(out.scratch.len()) };
        let (tiles_m, tiles_n) = (s.m.div_ceil(w.tile_m), s.n.div_ceil(w.tile_n));
        macro_rules! params {
            ($kernel:ident $(, $b_tile:ident)?) => {
                $kernel::Params {
                    $($b_tile,)?
                    batch: s.batch as u32,
                    m: s.m as u32,
                    n: s.n as u32,
                    k: s.k as u32,
                    splits: w.split.splits as u32,
                    k_split: w.split.length as u32,
                    tiles_m: tiles_m as u32,
                    tiles_n: tiles_n as u32,
                    a_row,
                    a_batch,
                    b_row,
                    b_batch,
                    c_row: c_row as u32,
                    c_batch: (s.m * c_row) as u32,
                    c_split: (s.batch * s.m * c_row) as u32,
                }
            };
        }
        let dispatch = match w.width {
            8 => subgroup8::dispatch(params!(subgroup8, b_tile)).constant("TILE_M", w.tile_m as u32),
            _ => register_tile_vec4::dispatch(params!(register_tile_vec4)),
        };
        let tiles = tiles_m * tiles_n * w.split.splits * s.batch;
        let dispatch = dispatch
            .constant("TRANS_A", self.a == Layout::Transposed)
            .constant("TRANS_B", self.b == Layout::Transposed)
            .constant("K_TAIL", !s.k.is_multiple_of(w.width))
            .bind(&[a, b, self.bias_bind(), c])
            .groups(tiles.div_ceil(w.per_group) as u64)
            .trips((w.split.length / w.width) as u64);
        if direct {
            return out.dispatch(self.finishing(dispatch));
        }
        let parts = w.split.splits * s.batch * s.m * c_row * w.width;
        let sum = self.split_sum(s, w.split.splits, c_row * w.width, c);
        out.scratch(padded(parts)).dispatch(self.bare(dispatch)).dispatch(sum)
    }
}
