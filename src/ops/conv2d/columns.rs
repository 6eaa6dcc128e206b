//! Convolutions as one product with gathered columns (Chellapilla et al., High Performance Convolutional Neural Networks
//! for Document Processing, 2006: "im2col"). For software adapters, by the octet kernel of [`matmul`].
//!
//! The weights, as they lie, are a matrix `[K, C·R·S]`; the pixels that each result needs are a column. The gradient of the
//! input goes the other way: a product of the weights' transpose with dy gives what each column adds to its pixels. That
//! takes memory for the columns, but neither the width of images nor a stride leaves lanes without work, so it is for small
//! images of many channels and for strides.

use super::{Bias, Conv2d, Sizes};
use crate::kernel::{Bind, Candidate, Dispatch, MAX_TRIPS, Needs};
use crate::op::Activation;
use crate::ops::matmul::{self, Split, octet_tiles, pack, padded, split, subgroup8, subgroup8_quads};

crate::kernel! {
    /// Gathers columns.
    mod gather_columns = "shaders/conv2d/gather_columns.wgsl";
    params {
        octets: u32, columns: u32, plane: u32, out_columns: u32, channels: u32, height: u32, width: u32, r: u32, s: u32,
        stride_h: u32, stride_w: u32, dilation_h: u32, dilation_w: u32, pad_top: i32, pad_left: i32,
    }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// Gathers columns of one pixel each.
    mod gather_pixels = "shaders/conv2d/gather_pixels.wgsl";
    params { octets: u32, quads: u32, plane_quads: u32, channels: u32 }
    bind { x: Read, y: ReadWrite }
}

crate::kernel! {
    /// Deals out the product to images.
    mod place_columns = "shaders/conv2d/place_columns.wgsl";
    params { len: u32, channels: u32, plane: u32, pitch: u32, splits: u32 }
    bind { parts: Read, bias: Read, y: ReadWrite }
}

crate::kernel! {
    /// Adds columns to the pixels that they were gathered from.
    mod add_columns = "shaders/conv2d/add_columns.wgsl";
    params {
        quads: u32, row_quads: u32, channels: u32, height: u32, width: u32, out_rows: u32, out_columns: u32,
        pitch: u32, splits: u32, part: u32, r: u32, s: u32, dilation_h: u32, dilation_w: u32, pad_top: i32, pad_left: i32,
    }
    bind { parts: Read, dx: ReadWrite }
}

/// Bytes that columns and what becomes of them may take.
const MAX_COLUMNS: usize = 96 << 20;

/// What the product is of.
struct Product {
    m: usize,
    n: usize,
    k: usize,
    transposed_a: bool,
    /// Products of as many columns each, one after the other in the result.
    batch: usize,
    /// Whether the result's rows are stored in quads.
    quads: bool,
}

impl Product {
    fn tile(&self) -> usize {
        octet_tiles(self.m, self.batch * self.m * self.n * self.k)[0].rows
    }

    fn split(&self) -> Split {
        let tiles = self.m.div_ceil(self.tile()) * self.n.div_ceil(64) * self.batch;
        split(self.k, tiles, 16, 256, 8 * (MAX_TRIPS as usize - 8), 8)
    }

    /// The product of `a`, whose rows are `a_row` octets apart, with panels.
    fn dispatch(&self, a_row: usize, split: &Split) -> Dispatch {
        let tile = self.tile();
        let (tiles_m, tiles_n) = (self.m.div_ceil(tile), self.n.div_ceil(64));
        // Rows that are no whole octets, but whole quads, are stored where they belong.
        let wide = if self.quads { 4 } else { 8 };
        let c_row = self.n.div_ceil(wide);
        // The two kernels have the same parameters, but each its own type for them.
        macro_rules! product {
            ($kernel:ident) => {
                $kernel::dispatch($kernel::Params {
                    batch: self.batch as u32,
                    m: self.m as u32,
                    n: self.n as u32,
                    k: self.k as u32,
                    splits: split.splits as u32,
                    k_split: split.length as u32,
                    tiles_m: tiles_m as u32,
                    tiles_n: tiles_n as u32,
                    a_row: a_row as u32,
                    a_batch: 0,
                    b_row: 8,
                    b_tile: (8 * self.k) as u32,
                    b_batch: (8 * self.k * tiles_n) as u32,
                    c_row: c_row as u32,
                    c_batch: (self.m * c_row) as u32,
                    c_split: (self.batch * self.m * c_row) as u32,
                })
            };
        }
        let product = if self.quads { product!(subgroup8_quads) } else { product!(subgroup8) };
        product
            .constant("TILE_M", tile as u32)
            .constant("TRANS_A", self.transposed_a)
            .constant("TRANS_B", false)
            .constant("K_TAIL", !self.k.is_multiple_of(8))
            .constant("BIAS", false)
            .groups((tiles_m * tiles_n * split.splits * self.batch) as u64)
            .trips((split.length / 8) as u64)
    }

    /// Floats of all parts of the result.
    fn parts(&self, split: &Split) -> usize {
        split.splits * self.batch * self.m * self.n.next_multiple_of(8)
    }
}

/// The weights as `[K, C·R·S]` with rows of whole octets, and those octets.
fn weights(candidate: Candidate, z: &Sizes) -> (Candidate, Bind, usize) {
    let columns = z.c * z.r * z.s;
    if columns.is_multiple_of(8) {
        return (candidate, Bind::Input(1), columns / 8);
    }
    let (pitch, to) = (columns.next_multiple_of(8), Bind::Scratch(candidate.scratch.len()));
    let params = pack::Params { rows: z.k as u32, columns: columns as u32, pitch: pitch as u32 };
    let dispatch =
        pack::dispatch(params).bind(&[Bind::Input(1), to]).groups((z.k * pitch).div_ceil(64) as u64);
    (candidate.scratch(padded(z.k * pitch)).dispatch(dispatch), to, pitch / 8)
}

/// Whether the kernels of this module come before those of [`subgroup8`](super::subgroup8): see benches/README.md. The others
/// multiply zeros in the gradient of the input where there is a stride.
pub(super) fn better(z: &Sizes, input_grad: bool) -> bool {
    let (columns, strides) = (z.n * z.p * z.q, z.window.vertical.stride * z.window.horizontal.stride);
    let channels = z.k.min(z.c);
    z.r * z.s == 1 || channels >= 128 && columns <= 256 * strides || input_grad && strides > 1 && channels >= 64
}

/// Whether the kernels of this module serve a convolution at all.
fn served(z: &Sizes) -> bool {
    let columns = (z.n * z.p * z.q).next_multiple_of(64).saturating_mul(z.c * z.r * z.s).saturating_mul(4);
    z.window.groups == 1 && z.multiply_adds() >= matmul::SMALL && columns <= MAX_COLUMNS && z.h * z.w > 0
}

/// The gathering of columns.
fn gather(params: gather_columns::Params, to: Bind) -> Dispatch {
    let (threads, taps) = (params.octets as u64 * params.channels as u64, params.r * params.s);
    let still = [params.stride_h, params.stride_w] == [1; 2] && [params.pad_top, params.pad_left] == [0; 2];
    let same = params.plane == params.height * params.width;
    if taps == 1 && still && same && params.plane.is_multiple_of(4) {
        let pixels = gather_pixels::Params {
            octets: params.octets,
            quads: params.columns / 4,
            plane_quads: params.plane / 4,
            channels: params.channels,
        };
        return gather_pixels::dispatch(pixels).bind(&[Bind::Input(0), to]).groups(threads.div_ceil(64));
    }
    gather_columns::dispatch(params)
        .bind(&[Bind::Input(0), to])
        .groups(threads.div_ceil(64))
        .trips((params.r + taps) as u64)
}

pub(super) fn forward(z: &Sizes, op: &Conv2d) -> Option<Candidate> {
    if !served(z) {
        return None;
    }
    let (taps, columns) = (z.c * z.r * z.s, z.n * z.p * z.q);
    let (v, h) = (z.window.vertical, z.window.horizontal);
    let candidate = Candidate::new("columns_product").needs(Needs::SUBGROUP8);
    let (candidate, a, a_row) = weights(candidate, z);
    let panels = Bind::Scratch(candidate.scratch.len());
    let candidate = candidate.scratch(padded(columns.next_multiple_of(64) * taps)).dispatch(gather(
        gather_columns::Params {
            octets: columns.div_ceil(8) as u32,
            columns: columns as u32,
            plane: (z.p * z.q) as u32,
            out_columns: z.q as u32,
            channels: z.c as u32,
            height: z.h as u32,
            width: z.w as u32,
            r: z.r as u32,
            s: z.s as u32,
            stride_h: v.stride as u32,
            stride_w: h.stride as u32,
            dilation_h: v.dilation as u32,
            dilation_w: h.dilation as u32,
            pad_top: v.before as i32,
            pad_left: h.before as i32,
        },
        panels,
    ));
    let bias = (op.bias == Bias::Channels).then_some(Bind::Input(2));
    // Images of whole panels can come out where they belong.
    let plane = z.p * z.q;
    let mut product = Product { m: z.k, n: plane, k: taps, transposed_a: false, batch: z.n, quads: false };
    let in_place = plane.is_multiple_of(64) || z.n == 1 && plane.is_multiple_of(4);
    let whole = in_place && product.split().splits == 1 && (bias.is_none() || z.k.is_multiple_of(8));
    match whole {
        true => product.quads = !plane.is_multiple_of(8),
        false => (product.n, product.batch) = (columns, 1),
    }
    let split = product.split();
    let to = if whole { Bind::Output(0) } else { Bind::Scratch(candidate.scratch.len()) };
    // A sum in one part is finished by the product itself, where the bias is whole octets.
    let finished = split.splits == 1 && (bias.is_none() || z.k.is_multiple_of(8));
    let finish = |yes: bool| if yes { (bias, op.activation) } else { (None, Activation::None) };
    let (rows, activation) = finish(finished);
    let dispatch = product
        .dispatch(a_row, &split)
        .constant("BIAS_ROWS", rows.is_some())
        .constant("ACTIVATION", activation as u32)
        .bind(&[a, panels, rows.unwrap_or(a), to]);
    if whole {
        return Some(candidate.dispatch(dispatch));
    }
    let pitch = product.n.next_multiple_of(8);
    let params = place_columns::Params {
        len: (z.n * z.k * z.p * z.q) as u32,
        channels: z.k as u32,
        plane: plane as u32,
        pitch: pitch as u32,
        splits: split.splits as u32,
    };
    let (bias, activation) = finish(!finished);
    let place = place_columns::dispatch(params)
        .constant("BIAS", bias.is_some())
        .constant("ACTIVATION", activation as u32)
        .bind(&[to, bias.unwrap_or(to), Bind::Output(0)])
        .groups((z.n * z.k * z.p * z.q).div_ceil(64) as u64)
        .trips(split.splits as u64);
    Some(candidate.scratch(padded(product.parts(&split))).dispatch(dispatch).dispatch(place))
}

pub(super) fn input_grad(z: &Sizes) -> Option<Candidate> {
    let (taps, columns) = (z.c * z.r * z.s, z.n * z.p * z.q);
    let product = Product { m: taps, n: columns, k: z.k, transposed_a: true, batch: 1, quads: false };
    if !served(z) {
        return None;
    }
    let split = product.split();
    if product.parts(&split).saturating_mul(4) > MAX_COLUMNS {
        return None;
    }
    let candidate = Candidate::new("columns_product").needs(Needs::SUBGROUP8);
    let (candidate, a, a_row) = weights(candidate, z);
    let panels = Bind::Scratch(candidate.scratch.len());
    let candidate = candidate.scratch(padded(columns.next_multiple_of(64) * z.k)).dispatch(gather(
        gather_columns::Params {
            octets: columns.div_ceil(8) as u32,
            columns: columns as u32,
            plane: (z.p * z.q) as u32,
            out_columns: z.q as u32,
            channels: z.k as u32,
            height: z.p as u32,
            width: z.q as u32,
            r: 1,
            s: 1,
            stride_h: 1,
            stride_w: 1,
            dilation_h: 1,
            dilation_w: 1,
            pad_top: 0,
            pad_left: 0,
        },
        panels,
    ));
    let parts = Bind::Scratch(candidate.scratch.len());
    let dispatch = product
        .dispatch(a_row, &split)
        .constant("BIAS_ROWS", false)
        .constant("ACTIVATION", Activation::None as u32)
        .bind(&[a, panels, a, parts]);
    let (v, h) = (z.window.vertical, z.window.horizontal);
    let (row_quads, rows) = (z.w.div_ceil(4), z.n * z.c * z.h);
    let pitch = columns.next_multiple_of(8);
    let params = add_columns::Params {
        quads: (rows * row_quads) as u32,
        row_quads: row_quads as u32,
        channels: z.c as u32,
        height: z.h as u32,
        width: z.w as u32,
        out_rows: z.p as u32,
        out_columns: z.q as u32,
        pitch: pitch as u32,
        splits: split.splits as u32,
        part: (taps * pitch) as u32,
        r: z.r as u32,
        s: z.s as u32,
        dilation_h: v.dilation as u32,
        dilation_w: h.dilation as u32,
        pad_top: v.before as i32,
        pad_left: h.before as i32,
    };
    let add = add_columns::dispatch(params)
        .constant("STRIDE_H", v.stride as u32)
        .constant("STRIDE_W", h.stride as u32)
        .constant("EVERY", (v.dilation, h.dilation) != (1, 1))
        .bind(&[parts, Bind::Output(0)])
        .groups((rows * row_quads).div_ceil(64) as u64)
        .trips((z.r + z.r * z.s * (1 + 4 * split.splits)) as u64);
    Some(candidate.scratch(padded(product.parts(&split))).dispatch(dispatch).dispatch(add))
}
