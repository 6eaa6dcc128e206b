//! The variants for convolutions of channels one by one: as many groups as input channels, any number of results of
//! each. A multiply-add needs a load or two of its own there, so what counts is that a thread loads a run of pixels once
//! for all results and taps that see it. The gradient of the input is a convolution of dy, spread out by the stride,
//! with the weights turned round: the same kernels serve it.

use super::direct::add_splits;
use super::{Bias, Conv2d, SMALL, Sizes};
use crate::kernel::{Bind, Candidate, MAX_TRIPS, Needs, Target};
use crate::op::Activation;
use crate::pointwise::Divisor;

crate::kernel! {
    /// A tile of a row of y per thread.
    mod tiles = "shaders/conv2d/depthwise.wgsl";
    params {
        n: u32, k: u32, out_h: u32, out_w: u32, c: u32, in_h: u32, in_w: u32, divide: u32, terms: u32, r: u32,
        stride_h: u32, spread_h: u32, dilation_h: u32, pad_top: i32, first: i32,
    }
    bind { x: Read, w: Read, bias: Read, y: ReadWrite }
}

crate::kernel! {
    /// Octets of y per lane.
    mod octets = "shaders/conv2d/depthwise_octets.wgsl";
    params {
        total: u32, plane: u32, plane_m: u32, plane_h: u32, k: u32, k_m: u32, k_h: u32,
        columns: u32, columns_m: u32, columns_h: u32, whole: u32, c: u32, in_plane: u32,
        divide_m: u32, divide_h: u32, terms: u32, above: i32, down: u32, x_last: u32, w_last: u32, bias: u32,
    }
    bind { x: Read, w: Read, bias: Read, y: ReadWrite }
}

crate::kernel! {
    /// A row of weights per thread, over a share of the tiles of dy.
    mod weight_tiles = "shaders/conv2d/depthwise_weight.wgsl";
    params {
        k: u32, out_h: u32, out_w: u32, c: u32, in_h: u32, in_w: u32, divide: u32, r: u32,
        stride_h: u32, dilation_h: u32, pad_top: u32, pad_left: u32, units: u32, splits: u32,
    }
    bind { x: Read, dy: Read, dw: ReadWrite }
}

crate::kernel! {
    /// A channel's weights per workgroup, over a share of the octets of dy.
    mod weight_octets = "shaders/conv2d/depthwise_weight_octets.wgsl";
    params {
        units: u32, steps: u32, splits: u32, blocks: u32, blocks_m: u32, blocks_h: u32,
        rows: u32, rows_m: u32, rows_h: u32, segment: u32, columns: u32, columns_m: u32, columns_h: u32,
        k: u32, divide: u32, c: u32, in_h: u32, in_w: u32, stride_h: u32, dilation_h: u32,
        pad_top: i32, x_last: u32, dy_last: u32,
    }
    bind { x: Read, dy: Read, dw: ReadWrite }
}

/// Threads of a workgroup of the portable kernels.
const WORKGROUP: usize = 64;

/// Threads that keep a GPU busy.
const THREADS: usize = 1 << 14;

/// Multiply-adds that one step of a kernel's loop may unroll to.
const UNROLLED: usize = 512;

/// Pixels of x that a thread may hold.
const HELD: usize = 96;

/// Workgroups that a weight gradient is split into where it has fewer channels.
const SPREAD_OVER: usize = 64;

/// Whether the kernels of this module serve a convolution at all: channels one by one, nothing empty. A single channel
/// is a convolution like any other, whose pixels are better shared among the results.
fn served(z: &Sizes) -> bool {
    z.window.groups == z.c && z.c > 1 && z.multiply_adds() > 0 && z.h * z.w > 0
}

/// A convolution as these kernels see it: forward, or the gradient of the input.
#[derive(Clone, Copy, Debug)]
struct Task {
    n: usize,
    /// Channels and sizes of the result.
    k: usize,
    out: [usize; 2],
    /// Channels and sizes of what it is computed from.
    c: usize,
    from: [usize; 2],
    /// Channel k begins with channel `k / divide * terms`.
    divide: usize,
    terms: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    spread: [usize; 2],
    dilation: [usize; 2],
    pad: [i32; 2],
    flip: bool,
}

impl Task {
    fn forward(z: &Sizes) -> Task {
        let (v, h) = (z.window.vertical, z.window.horizontal);
        Task {
            n: z.n,
            k: z.k,
            out: [z.p, z.q],
            c: z.c,
            from: [z.h, z.w],
            divide: z.k_group(),
            terms: 1,
            kernel: [z.r, z.s],
            stride: [v.stride, h.stride],
            spread: [1, 1],
            dilation: [v.dilation, h.dilation],
            pad: [v.before as i32, h.before as i32],
            flip: false,
        }
    }

    fn input_grad(z: &Sizes) -> Task {
        let (v, h) = (z.window.vertical, z.window.horizontal);
        let pad = |taps: usize, dilation: usize, before: usize| ((taps - 1) * dilation) as i32 - before as i32;
        Task {
            n: z.n,
            k: z.c,
            out: [z.h, z.w],
            c: z.k,
            from: [z.p, z.q],
            divide: 1,
            terms: z.k_group(),
            kernel: [z.r, z.s],
            stride: [1, 1],
            spread: [v.stride, h.stride],
            dilation: [v.dilation, h.dilation],
            pad: [pad(z.r, v.dilation, v.before), pad(z.s, h.dilation, h.before)],
            flip: true,
        }
    }

    /// Elements of the result.
    fn total(&self) -> usize {
        self.n * self.k * self.out[0] * self.out[1]
    }

    /// Pixels that `results` results of a row see between the first and the last, when they begin `shift` before one.
    fn run(&self, results: usize, shift: usize) -> usize {
        let covered = (results - 1) * self.stride[1] + (self.kernel[1] - 1) * self.dilation[1] + shift;
        covered / self.spread[1] + 1
    }

    /// A tile of a row for each thread of the portable kernel.
    fn tiles(&self, bias: Option<Bind>, activation: Activation) -> Option<Candidate> {
        let spread = self.spread[1];
        let tile = if self.out[1] <= 4 { 4 } else { 8usize }.next_multiple_of(spread);
        let shift = (-self.pad[1]).rem_euclid(spread as i32) as usize;
        let unrolled = tile.div_ceil(spread) * self.kernel[1];
        if tile > 16 || unrolled > UNROLLED || self.run(tile, shift) > HELD {
            return None;
        }
        let threads = self.out[1].div_ceil(tile) * self.out[0] * self.k * self.n;
        let dispatch = tiles::dispatch(tiles::Params {
            n: self.n as u32,
            k: self.k as u32,
            out_h: self.out[0] as u32,
            out_w: self.out[1] as u32,
            c: self.c as u32,
            in_h: self.from[0] as u32,
            in_w: self.from[1] as u32,
            divide: self.divide as u32,
            terms: self.terms as u32,
            r: self.kernel[0] as u32,
            stride_h: self.stride[0] as u32,
            spread_h: self.spread[0] as u32,
            dilation_h: self.dilation[0] as u32,
            pad_top: self.pad[0],
            first: (-self.pad[1]).div_euclid(spread as i32),
        })
        .constant("TILE", tile as u32)
        .constant("S", self.kernel[1] as u32)
        .constant("STRIDE", self.stride[1] as u32)
        .constant("SPREAD", spread as u32)
        .constant("DILATION", self.dilation[1] as u32)
        .constant("SHIFT", shift as u32)
        .constant("FLIP", self.flip)
        .constant("BIAS", bias.is_some())
        .constant("ACTIVATION", activation as u32)
        .bind(&[Bind::Input(0), Bind::Input(1), bias.unwrap_or(Bind::Input(1)), Bind::Output(0)])
        .groups(threads.div_ceil(WORKGROUP) as u64)
        .trips((self.terms * (1 + self.kernel[0])) as u64);
        Some(Candidate::new(if self.flip { "depthwise_input" } else { "depthwise" }).dispatch(dispatch))
    }

    /// Whether rows are as long before as after and every tap moves along with its result: what a tap meets is then
    /// one run in memory, across the ends of rows. Kernels count its place in 31 bits.
    fn flat(&self) -> bool {
        let rows = self.pad[0].unsigned_abs() as usize + (self.kernel[0] - 1) * self.dilation[0];
        let near = rows.saturating_mul(self.from[1]) < 1 << 29;
        [self.stride, self.spread] == [[1, 1]; 2] && self.out[1] == self.from[1] && near
    }

    /// How many octets a lane takes at a time, of `segment` elements in a row.
    fn octets_of(&self, segment: usize) -> Option<usize> {
        let taps = self.kernel[0] * self.kernel[1];
        let fits = |n: &usize| taps * 8 * n <= UNROLLED && self.run(8 * n, 0) <= HELD;
        (1..=segment.div_ceil(8).min(MOST_OCTETS)).rev().find(fits)
    }

    /// Octets of the result for each lane of a software adapter.
    fn octets(&self, bias: Option<Bind>, activation: Activation) -> Option<Candidate> {
        let plane = self.out[0] * self.out[1];
        let octets = self.octets_of(plane).filter(|_| self.flat() && plane >= SMALLEST)?;
        let (tile, total) = (8 * octets, self.total());
        let [by_plane, by_k, by_columns, by_divide] =
            [plane, self.k, self.out[1], self.divide].map(Divisor::new);
        let weights = if self.flip { self.c } else { self.k } * self.kernel[0] * self.kernel[1];
        let dispatch = octets::dispatch(octets::Params {
            total: total as u32,
            plane: by_plane.size,
            plane_m: by_plane.magic,
            plane_h: by_plane.shift,
            k: by_k.size,
            k_m: by_k.magic,
            k_h: by_k.shift,
            columns: by_columns.size,
            columns_m: by_columns.magic,
            columns_h: by_columns.shift,
            whole: tile.next_multiple_of(self.out[1]) as u32,
            c: self.c as u32,
            in_plane: (self.from[0] * self.from[1]) as u32,
            divide_m: by_divide.magic,
            divide_h: by_divide.shift,
            terms: self.terms as u32,
            above: self.pad[0] * self.from[1] as i32 + self.pad[1],
            down: (self.dilation[0] * self.from[1]) as u32,
            x_last: last_octet(self.n * self.c * self.from[0] * self.from[1]),
            w_last: last_octet(weights),
            bias: bias.is_some() as u32,
        })
        .constant("OCTETS", octets as u32)
        .constant("R", self.kernel[0] as u32)
        .constant("S", self.kernel[1] as u32)
        .constant("DILATION", self.dilation[1] as u32)
        .constant("PAD", self.pad[1])
        .constant("FLIP", self.flip)
        .constant("ACTIVATION", activation as u32)
        .bind(&[Bind::Input(0), Bind::Input(1), bias.unwrap_or(Bind::Input(1)), Bind::Output(0)])
        .groups(total.div_ceil(8 * tile) as u64)
        .trips(((tile / plane + 2) * self.terms) as u64);
        let variant = if self.flip { "depthwise_input_octets" } else { "depthwise_octets" };
        Some(Candidate::new(variant).needs(Needs::SUBGROUP8).dispatch(dispatch))
    }

}

/// Octets that a lane takes at a time: with more, compiling takes longer than the shared loads are worth.
const MOST_OCTETS: usize = 4;

/// Planes smaller than this keep a lane busy with what belongs to others.
const SMALLEST: usize = 16;

fn last_octet(elements: usize) -> u32 {
    ((elements - 1) / 8) as u32
}

/// The candidates that there are for `target`, best first. Small convolutions do not repay the time that compiling the
/// octets takes.
fn order(z: &Sizes, target: &Target, octets: Option<Candidate>, tiles: Option<Candidate>) -> Vec<Candidate> {
    let octets = octets.filter(|_| target.software_subgroup8());
    let both = if z.multiply_adds() < SMALL { [tiles, octets] } else { [octets, tiles] };
    both.into_iter().flatten().collect()
}

pub(super) fn forward(z: &Sizes, op: &Conv2d, target: &Target) -> Vec<Candidate> {
    if !served(z) {
        return Vec::new();
    }
    let bias = (op.bias == Bias::Channels).then_some(Bind::Input(2));
    let t = Task::forward(z);
    order(z, target, t.octets(bias, op.activation), t.tiles(bias, op.activation))
}

pub(super) fn input_grad(z: &Sizes, target: &Target) -> Vec<Candidate> {
    if !served(z) {
        return Vec::new();
    }
    let t = Task::input_grad(z);
    order(z, target, t.octets(None, Activation::None), t.tiles(None, Activation::None))
}

pub(super) fn weight_grad(z: &Sizes, target: &Target) -> Vec<Candidate> {
    if !served(z) {
        return Vec::new();
    }
    let t = Task::forward(z);
    order(z, target, weight_by_octets(z, &t), weight_by_tiles(z, &t))
}

fn weight_by_tiles(z: &Sizes, t: &Task) -> Option<Candidate> {
    let tile = if z.q <= 4 { 4 } else { 8 };
    if tile * z.s > UNROLLED || t.run(tile, 0) > HELD {
        return None;
    }
    let units = z.n * z.p * z.q.div_ceil(tile);
    // A split of fewer than 8 tiles costs more to add up than it saves.
    let for_threads = (THREADS / (z.k * z.r)).min(units / 8).max(1);
    let splits = for_threads.max(units.div_ceil(MAX_TRIPS as usize));
    let to = if splits == 1 { Bind::Output(0) } else { Bind::Scratch(0) };
    let sums = weight_tiles::dispatch(weight_tiles::Params {
        k: z.k as u32,
        out_h: z.p as u32,
        out_w: z.q as u32,
        c: z.c as u32,
        in_h: z.h as u32,
        in_w: z.w as u32,
        divide: t.divide as u32,
        r: z.r as u32,
        stride_h: t.stride[0] as u32,
        dilation_h: t.dilation[0] as u32,
        pad_top: t.pad[0] as u32,
        pad_left: t.pad[1] as u32,
        units: units as u32,
        splits: splits as u32,
    })
    .constant("TILE", tile as u32)
    .constant("S", z.s as u32)
    .constant("STRIDE", t.stride[1] as u32)
    .constant("DILATION", t.dilation[1] as u32)
    .bind(&[Bind::Input(0), Bind::Input(1), to])
    .groups((z.k * z.r * splits).div_ceil(WORKGROUP) as u64)
    .trips(units.div_ceil(splits) as u64);
    Some(add_splits(Candidate::new("depthwise_weight"), sums, z.weights(), splits))
}

fn weight_by_octets(z: &Sizes, t: &Task) -> Option<Candidate> {
    let flat = t.flat();
    let (rows, segment) = if flat { (1, z.p * z.q) } else { (z.p, z.q) };
    let octets = t.octets_of(segment)?;
    let blocks = segment.div_ceil(8 * octets);
    let units = z.n * rows * blocks;
    // A split of fewer than 4 steps costs more to add up than it saves.
    let for_balance = (SPREAD_OVER / z.k).min(units / 32).max(1);
    let steps = units.div_ceil(8 * for_balance).min(MAX_TRIPS as usize);
    let splits = units.div_ceil(8 * steps);
    let to = if splits == 1 { Bind::Output(0) } else { Bind::Scratch(0) };
    let [by_blocks, by_rows, by_columns] = [blocks, rows, z.q].map(Divisor::new);
    let sums = weight_octets::dispatch(weight_octets::Params {
        units: units as u32,
        steps: steps as u32,
        splits: splits as u32,
        blocks: by_blocks.size,
        blocks_m: by_blocks.magic,
        blocks_h: by_blocks.shift,
        rows: by_rows.size,
        rows_m: by_rows.magic,
        rows_h: by_rows.shift,
        segment: segment as u32,
        columns: by_columns.size,
        columns_m: by_columns.magic,
        columns_h: by_columns.shift,
        k: z.k as u32,
        divide: t.divide as u32,
        c: z.c as u32,
        in_h: z.h as u32,
        in_w: z.w as u32,
        stride_h: t.stride[0] as u32,
        dilation_h: t.dilation[0] as u32,
        pad_top: t.pad[0],
        x_last: last_octet(z.n * z.c * z.h * z.w),
        dy_last: last_octet(z.n * z.k * z.p * z.q),
    })
    .constant("OCTETS", octets as u32)
    .constant("FLAT", flat)
    .constant("R", z.r as u32)
    .constant("S", z.s as u32)
    .constant("STRIDE", t.stride[1] as u32)
    .constant("DILATION", t.dilation[1] as u32)
    .constant("PAD", t.pad[1])
    .bind(&[Bind::Input(0), Bind::Input(1), to])
    .groups((z.k * splits) as u64)
    .trips(steps as u64);
    let candidate = Candidate::new("depthwise_weight_octets").needs(Needs::SUBGROUP8);
    Some(add_splits(candidate, sums, z.weights(), splits))
}
