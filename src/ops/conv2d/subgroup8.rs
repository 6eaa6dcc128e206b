//! The variants for software adapters, whose 8-lane subgroup is one vector register.
//!
//! There every load costs as much as a hundred multiply-adds, whatever its lanes ask for, and the widest one
//! (8 floats per lane) needs aligned data. So images are first copied into blocks of whole octets with
//! their padding written out. A lane then owns the `tile` results of one block (a *unit*), needs no neighbour
//! and no bounds check, and shares nothing but weights. The gradient of the input is a convolution of dy,
//! spread out by the stride, with the weights turned round: the same kernels serve it.

use super::direct::add_splits;
use super::{Bias, Conv2d, Sizes};
use crate::kernel::{Bind, Candidate, Dispatch, MAX_TRIPS, Needs};
use crate::op::Activation;
use crate::shape::ALIGN;

crate::kernel! {
    /// Copies rows into blocks of octets.
    mod gather_rows = "shaders/conv2d/gather_rows.wgsl";
    params {
        count: u32, height: u32, width: u32, rows: u32, blocks: u32, block: u32,
        pad_top: i32, pad_left: i32, spread: u32, last: u32,
    }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// Arranges weights.
    mod gather_weights = "shaders/conv2d/gather_weights.wgsl";
    params { total: u32, out_channels: u32, in_channels: u32, r: u32, s: u32, loads: u32, steps_c: u32 }
    bind { w: Read, y: ReadWrite }
}

crate::kernel! {
    /// Arranges weights that lie in whole octets.
    mod gather_weights_octets = "shaders/conv2d/gather_weights_octets.wgsl";
    params { octets: u32, out_channels: u32, tiles: u32, r: u32, s: u32, loads: u32, steps_c: u32 }
    bind { w: Read, y: ReadWrite }
}

crate::kernel! {
    /// Convolves gathered rows into rows of any length.
    mod convolve = "shaders/conv2d/subgroup8.wgsl";
    params {
        units: u32, blocks: u32, rows: u32, in_channels: u32, steps_c: u32, r: u32, taps: u32, tap_first: u32,
        tap_step: u32, k: u32, out_rows: u32, out_columns: u32, out_first: u32, out_step: u32, tiles_k: u32,
        x_first: u32, x_row: u32, x_tap: u32, x_channel: u32, x_image: u32, bias: u32,
    }
    bind { x: Read, w: Read, bias: Read, y: ReadWrite }
}

crate::kernel! {
    /// Convolves gathered rows into rows of even length.
    mod convolve_pairs = "shaders/conv2d/subgroup8_pairs.wgsl";
    params {
        units: u32, blocks: u32, rows: u32, in_channels: u32, steps_c: u32, r: u32, taps: u32, tap_first: u32,
        tap_step: u32, k: u32, out_rows: u32, out_columns: u32, out_first: u32, out_step: u32, tiles_k: u32,
        x_first: u32, x_row: u32, x_tap: u32, x_channel: u32, x_image: u32, bias: u32,
    }
    bind { x: Read, w: Read, bias: Read, y: ReadWrite }
}

crate::kernel! {
    /// Multiplies gathered rows of x with dy.
    mod correlate = "shaders/conv2d/subgroup8_weight.wgsl";
    params {
        units: u32, steps: u32, blocks: u32, out_rows: u32, out_columns: u32, k: u32, c: u32, tiles_k: u32,
        tiles_c: u32, splits: u32, row_step: u32, channel_step: u32, image_step: u32, tap_step: u32, last: u32,
    }
    bind { x: Read, dy: Read, dw: ReadWrite }
}

/// Multiply-adds that one step of a kernel's loop may unroll to: the driver's compile time grows with it.
const UNROLLED: usize = 700;

/// Multiply-adds of a step whose code, some 30 bytes for each, lies in a core's cache of decoded instructions (4,096 of
/// them, or 16 KB, on a Zen 3). Steps somewhat longer run at 1.0 or at 0.6 of the speed, as their address happens to be.
const DECODED: usize = 500;

/// Stores that a tile may end with: each is a loop over lanes, and the driver's compile time grows faster
/// with them.
const STORES: usize = 256;

/// Octets of a block, all phases together, that a lane can hold beside its sums.
const HELD: usize = 6;

/// What a load costs, in multiply-adds.
const LOAD: usize = 170;

/// Workgroups that a weight gradient is split into where it has fewer pairs of tiles.
const SPREAD_OVER: usize = 64;

/// How the results of a row are cut into blocks, and what of the image's row a block needs.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Results of a block.
    tile: usize,
    /// Blocks of a row.
    blocks: usize,
    /// Octets of a phase of a block.
    octets: usize,
    /// Phases of a block: the columns of one remainder modulo the stride lie together.
    phases: usize,
}

impl Layout {
    /// Octets of a whole block.
    fn size(self) -> usize {
        self.phases * self.octets
    }

    /// The layout for `rows` rows of `results` results of `taps` taps, or `None` when a lane cannot hold a
    /// block.
    fn of(rows: usize, results: usize, taps: usize, stride: usize, dilation: usize) -> Option<Layout> {
        let reach = (taps - 1) * dilation / stride;
        let phases = if taps == 1 || dilation.is_multiple_of(stride) { 1 } else { stride };
        let room = (reach + 8).next_multiple_of(8).max(16) - reach;
        // Rows of even length are stored in pairs.
        let even = results.is_multiple_of(2);
        let room = if even { room / 2 * 2 } else { room };
        let blocks = results.div_ceil(room);
        let tile = if reach > 0 || blocks == 1 {
            // Blocks of equal size.
            let tile = results.div_ceil(blocks);
            if even { tile.next_multiple_of(2) } else { tile }
        } else {
            // Whole octets need no copy. Smaller blocks may leave fewer lanes without work.
            let work = |tile: usize| (rows * results.div_ceil(tile)).div_ceil(8) * tile;
            if work(8) < work(room) { 8 } else { room }
        };
        let layout =
            Layout { tile, blocks: results.div_ceil(tile), octets: (tile + reach).div_ceil(8), phases };
        (layout.size() <= HELD).then_some(layout)
    }
}

/// A convolution as `subgroup8` sees it: forward, or the gradient of the input.
struct Task {
    n: usize,
    c: usize,
    h: usize,
    w: usize,
    k: usize,
    r: usize,
    s: usize,
    p: usize,
    q: usize,
    stride: [usize; 2],
    dilation: [usize; 2],
    pad: [i32; 2],
    spread: [usize; 2],
    flip: bool,
}

impl Task {
    /// A convolution of single pixels does not care for rows: all of an image is one.
    fn flattened(mut self) -> Task {
        if self.r * self.s == 1
            && [self.stride, self.spread] == [[1, 1]; 2]
            && self.pad == [0, 0]
            && self.h == self.p
        {
            (self.w, self.q) = (self.h * self.w, self.p * self.q);
            (self.h, self.p) = (1, 1);
        }
        self
    }

    fn layout(&self) -> Option<Layout> {
        Layout::of(self.n * self.p, self.q, self.s, self.stride[1], self.dilation[1])
    }

    /// The rows of the result by their remainder modulo the spread, and the gathered rows that they see. The
    /// rows of an image are not spread out as its columns are: instead each band leaves out the taps that
    /// would meet zeros.
    fn bands(&self) -> (Vec<Band>, Gathered) {
        let [spread, dilation, stride] = [self.spread[0], self.dilation[0], self.stride[0]];
        let meets = |first: usize, tap: usize| {
            let row = (first + tap * dilation) as i32 - self.pad[0];
            (row.rem_euclid(spread as i32) == 0).then(|| row.div_euclid(spread as i32))
        };
        let seen: Vec<(usize, Vec<(usize, i32)>)> = (0..spread.min(self.p))
            .map(|first| (first, (0..self.r).filter_map(|t| Some((t, meets(first, t)?))).collect()))
            .collect();
        let rows = |first: usize| (self.p - first).div_ceil(spread);
        let top = seen.iter().filter_map(|(_, taps)| Some(taps.first()?.1)).min().unwrap_or(0);
        let bottom = seen
            .iter()
            .filter_map(|(first, taps)| Some(taps.last()?.1 + ((rows(*first) - 1) * stride) as i32))
            .max()
            .unwrap_or(top);
        let bands = seen.iter().map(|(first, taps)| Band {
            first: *first,
            rows: rows(*first),
            taps: taps.len(),
            tap_first: taps.first().map_or(0, |t| t.0),
            tap_step: if taps.len() > 1 { taps[1].0 - taps[0].0 } else { 1 },
            row_first: taps.first().map_or(0, |t| (t.1 - top) as usize),
            rows_per_tap: if taps.len() > 1 { (taps[1].1 - taps[0].1) as usize } else { 1 },
        });
        (bands.collect(), Gathered { top, rows: (bottom - top + 1) as usize })
    }
}

/// Rows of a result that meet the same taps: every `spread`-th.
#[derive(Clone, Copy, Debug)]
struct Band {
    /// The first of the rows.
    first: usize,
    /// How many there are.
    rows: usize,
    /// Taps that they meet, the first of them and the distance from one to the next.
    taps: usize,
    tap_first: usize,
    tap_step: usize,
    /// The gathered row that the first tap of the first row meets, and the distance from one tap's to the
    /// next one's.
    row_first: usize,
    rows_per_tap: usize,
}

/// The rows of an image that are gathered.
#[derive(Clone, Copy, Debug)]
struct Gathered {
    /// The first one: negative in the padding.
    top: i32,
    /// How many.
    rows: usize,
}

fn forward_task(z: &Sizes) -> Task {
    let (v, h) = (z.window.vertical, z.window.horizontal);
    let Sizes { n, c, h: height, w, k, r, s, p, q, .. } = *z;
    let (stride, dilation) = ([v.stride, h.stride], [v.dilation, h.dilation]);
    let pad = [v.before as i32, h.before as i32];
    Task { n, c, h: height, w, k, r, s, p, q, stride, dilation, pad, spread: [1, 1], flip: false }.flattened()
}

fn input_grad_task(z: &Sizes) -> Task {
    let (v, h) = (z.window.vertical, z.window.horizontal);
    let pad = |taps: usize, dilation: usize, before: usize| ((taps - 1) * dilation) as i32 - before as i32;
    Task {
        n: z.n,
        c: z.k,
        h: z.p,
        w: z.q,
        k: z.c,
        r: z.r,
        s: z.s,
        p: z.h,
        q: z.w,
        stride: [1, 1],
        dilation: [v.dilation, h.dilation],
        pad: [pad(z.r, v.dilation, v.before), pad(z.s, h.dilation, h.before)],
        spread: [v.stride, h.stride],
        flip: true,
    }
    .flattened()
}

fn octet_bytes(octets: usize) -> u64 {
    (32 * octets as u64).next_multiple_of(ALIGN)
}

/// The copy of a task's images into blocks, with its bytes; `None` when the octets lie in memory as they
/// should.
fn gather(t: &Task, layout: Layout, rows: Gathered) -> Option<(Dispatch, u64)> {
    let whole = layout.tile == layout.size() * 8 && t.w == layout.blocks * layout.tile && rows.rows == t.h;
    if whole && t.s == 1 && rows.top == 0 && t.pad[1] == 0 && t.stride[1] == 1 && t.spread[1] == 1 {
        return None;
    }
    let count = t.n * t.c * rows.rows * layout.blocks;
    let dispatch = gather_rows::dispatch(gather_rows::Params {
        count: count as u32,
        height: t.h as u32,
        width: t.w as u32,
        rows: rows.rows as u32,
        blocks: layout.blocks as u32,
        block: layout.tile as u32,
        pad_top: -rows.top,
        pad_left: t.pad[1],
        spread: t.spread[1] as u32,
        last: ((t.n * t.c * t.h * t.w - 1) / 8) as u32,
    })
    .constant("OCTETS", layout.octets as u32)
    .constant("PHASES", layout.phases as u32)
    .constant("STRIDE", t.stride[1] as u32)
    .constant("SPREAD", t.spread[1] != 1)
    .groups(count.div_ceil(64) as u64);
    Some((dispatch, octet_bytes(count * layout.size())))
}

/// The copy of a task's weights in the order in which `convolve` reads them, with its bytes.
fn arrange(t: &Task, tile_k: usize, channels: usize, loads: usize) -> (Dispatch, u64) {
    let (tiles, steps_c) = (t.k.div_ceil(tile_k), t.c.div_ceil(channels));
    let total = tiles * steps_c * t.r * loads * 8;
    let weights = t.c * t.r * t.s;
    if !t.flip && weights.is_multiple_of(8) && t.c.is_multiple_of(channels) {
        let dispatch = gather_weights_octets::dispatch(gather_weights_octets::Params {
            octets: (weights / 8) as u32,
            out_channels: t.k as u32,
            tiles: tiles as u32,
            r: t.r as u32,
            s: t.s as u32,
            loads: loads as u32,
            steps_c: steps_c as u32,
        })
        .constant("TILE_K", tile_k as u32)
        .constant("CHANNELS", channels as u32)
        .groups((tiles * tile_k / 8 * weights / 8).div_ceil(8) as u64);
        return (dispatch, octet_bytes(total));
    }
    let dispatch = gather_weights::dispatch(gather_weights::Params {
        total: total as u32,
        out_channels: t.k as u32,
        in_channels: t.c as u32,
        r: t.r as u32,
        s: t.s as u32,
        loads: loads as u32,
        steps_c: steps_c as u32,
    })
    .constant("TILE_K", tile_k as u32)
    .constant("CHANNELS", channels as u32)
    .constant("FLIP", t.flip)
    .groups(total.div_ceil(8) as u64);
    (dispatch, octet_bytes(total))
}

pub(super) fn forward(z: &Sizes, op: &Conv2d) -> Option<Candidate> {
    let bias = (op.bias == Bias::Channels).then_some(Bind::Input(2));
    convolution(z, forward_task, bias, op.activation)
}

pub(super) fn input_grad(z: &Sizes) -> Option<Candidate> {
    convolution(z, input_grad_task, None, Activation::None)
}

/// Whether the kernels of this module serve a convolution at all: one group, nothing empty.
fn served(z: &Sizes) -> bool {
    z.window.groups == 1 && z.multiply_adds() > 0 && z.h * z.w > 0
}

fn convolution(
    z: &Sizes,
    task: impl Fn(&Sizes) -> Task,
    bias: Option<Bind>,
    activation: Activation,
) -> Option<Candidate> {
    let t = served(z).then(|| task(z))?;
    let layout = t.layout()?;
    // Two channels at a time where there is one tap only: each step has to load and store all sums.
    let channels = if t.s == 1 && t.c > 1 { 2 } else { 1 };
    let pairs = layout.tile.is_multiple_of(2) && t.q.is_multiple_of(2);
    let stores = |k: usize| k * layout.tile / if pairs { 2 } else { 1 };
    let fits = |k: usize| {
        let limit = if k == 8 { UNROLLED } else { DECODED };
        k * layout.tile * channels * t.s <= limit && stores(k) <= STORES && (k == 8 || t.k > k / 2)
    };
    let tile_k = [64, 32, 16, 8].into_iter().find(|&k| fits(k))?;
    let (tiles_k, steps_c) = (t.k.div_ceil(tile_k), t.c.div_ceil(channels));
    let loads = (channels * t.s * tile_k).div_ceil(64);
    let (arranged, bytes) = arrange(&t, tile_k, channels, loads);
    let mut candidate = Candidate::new("subgroup8")
        .needs(Needs::SUBGROUP8)
        .scratch(bytes)
        .dispatch(arranged.bind(&[Bind::Input(1), Bind::Scratch(0)]));
    let (bands, gathered) = t.bands();
    let x = match gather(&t, layout, gathered) {
        None => Bind::Input(0),
        Some((copy, bytes)) => {
            candidate = candidate.scratch(bytes).dispatch(copy.bind(&[Bind::Input(0), Bind::Scratch(1)]));
            Bind::Scratch(1)
        }
    };
    let row = layout.blocks * layout.size();
    for band in bands {
        let units = t.n * band.rows * layout.blocks;
        // The two kernels have the same parameters, but each its own type for them.
        macro_rules! convolve {
            ($kernel:ident) => {
                $kernel::dispatch($kernel::Params {
                    units: units as u32,
                    blocks: layout.blocks as u32,
                    rows: band.rows as u32,
                    in_channels: t.c as u32,
                    steps_c: steps_c as u32,
                    r: t.r as u32,
                    taps: band.taps as u32,
                    tap_first: band.tap_first as u32,
                    tap_step: band.tap_step as u32,
                    k: t.k as u32,
                    out_rows: t.p as u32,
                    out_columns: t.q as u32,
                    out_first: band.first as u32,
                    out_step: t.spread[0] as u32,
                    tiles_k: tiles_k as u32,
                    x_first: (band.row_first * row) as u32,
                    x_row: (t.stride[0] * row) as u32,
                    x_tap: (band.rows_per_tap * row) as u32,
                    x_channel: (gathered.rows * row) as u32,
                    x_image: (t.c * gathered.rows * row) as u32,
                    bias: bias.is_some() as u32,
                })
            };
        }
        let convolve = if pairs { convolve!(convolve_pairs) } else { convolve!(convolve) }
            .constant("TILE_K", tile_k as u32)
            .constant("TILE_Q", layout.tile as u32)
            .constant("CHANNELS", channels as u32)
            .constant("S", t.s as u32)
            .constant("STRIDE", t.stride[1] as u32)
            .constant("DILATION", t.dilation[1] as u32)
            .constant("PHASES", layout.phases as u32)
            .constant("OCTETS", layout.octets as u32)
            .constant("LOADS", loads as u32)
            .constant("ACTIVATION", activation as u32)
            .bind(&[x, Bind::Scratch(0), bias.unwrap_or(Bind::Input(1)), Bind::Output(0)])
            .groups((units.div_ceil(8) * tiles_k) as u64)
            .trips((steps_c * (band.taps + 1)) as u64);
        candidate = candidate.dispatch(convolve);
    }
    Some(candidate)
}

/// The part of dw that a workgroup of `correlate` sums: `8 * k8` by `c` channels.
#[derive(Clone, Copy, Debug)]
struct Tile {
    k8: usize,
    c: usize,
    /// Octets of x that each lane loads per step.
    loads: usize,
}

impl Tile {
    /// The tile with the least work for all of dw, by the cost of its loads and multiply-adds.
    fn of(t: &Task, layout: Layout) -> Option<Tile> {
        let tiles = [1, 2, 4].into_iter().flat_map(|k8| [1, 2, 4, 8, 16].map(|c| (k8, c)));
        let tiles = tiles.filter(|(k8, c)| k8 * c * t.r * t.s * layout.tile <= UNROLLED);
        let tiles = tiles.map(|(k8, c)| Tile { k8, c, loads: (c * t.r * layout.size()).div_ceil(8) });
        tiles.min_by_key(|tile| {
            let loads = tile.loads + tile.k8 * (layout.tile.div_ceil(8) + 1);
            let step = loads * LOAD + tile.k8 * tile.c * t.r * t.s * layout.tile;
            step * t.k.div_ceil(8 * tile.k8) * t.c.div_ceil(tile.c)
        })
    }
}

pub(super) fn weight_grad(z: &Sizes) -> Option<Candidate> {
    let t = served(z).then(|| forward_task(z))?;
    let layout = t.layout()?;
    let tile = Tile::of(&t, layout)?;
    let (tiles_k, tiles_c) = (t.k.div_ceil(8 * tile.k8), t.c.div_ceil(tile.c));
    let units = t.n * t.p * layout.blocks;
    let for_balance = (SPREAD_OVER / (tiles_k * tiles_c)).min(units / 16).max(1);
    let steps = units.div_ceil(for_balance).min(MAX_TRIPS as usize);
    let splits = units.div_ceil(steps);

    let row = layout.blocks * layout.size();
    let (_, gathered) = t.bands();
    let mut candidate = Candidate::new("subgroup8_weight").needs(Needs::SUBGROUP8);
    let x = match gather(&t, layout, gathered) {
        None => Bind::Input(0),
        Some((copy, bytes)) => {
            candidate = candidate.scratch(bytes).dispatch(copy.bind(&[Bind::Input(0), Bind::Scratch(0)]));
            Bind::Scratch(0)
        }
    };
    let to = if splits == 1 { Bind::Output(0) } else { Bind::Scratch(candidate.scratch.len()) };
    let sums = correlate::dispatch(correlate::Params {
        units: units as u32,
        steps: steps as u32,
        blocks: layout.blocks as u32,
        out_rows: t.p as u32,
        out_columns: t.q as u32,
        k: t.k as u32,
        c: t.c as u32,
        tiles_k: tiles_k as u32,
        tiles_c: tiles_c as u32,
        splits: splits as u32,
        row_step: (t.stride[0] * row) as u32,
        channel_step: (gathered.rows * row) as u32,
        image_step: (t.c * gathered.rows * row) as u32,
        tap_step: (t.dilation[0] * row) as u32,
        last: ((t.n * t.k * t.p * t.q - 1) / 8) as u32,
    })
    .constant("TILE_K8", tile.k8 as u32)
    .constant("TILE_C", tile.c as u32)
    .constant("TILE_Q", layout.tile as u32)
    .constant("R", t.r as u32)
    .constant("S", t.s as u32)
    .constant("STRIDE", t.stride[1] as u32)
    .constant("DILATION", t.dilation[1] as u32)
    .constant("PHASES", layout.phases as u32)
    .constant("OCTETS", layout.octets as u32)
    .constant("LOADS", tile.loads as u32)
    .constant("DY_OCTETS", layout.tile.div_ceil(8) as u32)
    .bind(&[x, Bind::Input(1), to])
    .groups((tiles_k * tiles_c * splits) as u64)
    .trips(steps as u64);
    Some(add_splits(candidate, sums, z.weights(), splits))
}
