//! The base variants: for any shape, within WebGPU's default limits.

use super::{Bias, Conv2d, Sizes};
use crate::kernel::{Bind, Candidate, Dispatch, MAX_TRIPS};
use crate::op::Activation;
use crate::shape::ALIGN;

crate::kernel! {
    /// 4 channels x 4 pixels of y per thread.
    mod output = "shaders/conv2d/direct.wgsl";
    params {
        n: u32, c: u32, h: u32, w: u32, k: u32, r: u32, s: u32, p: u32, q: u32, groups: u32,
        stride_h: u32, stride_w: u32, pad_top: u32, pad_left: u32, dilation_h: u32, dilation_w: u32,
        c_begin: u32, c_end: u32,
    }
    bind { x: Read, w: Read, bias: Read, y: ReadWrite }
}

crate::kernel! {
    /// 4 channels x 4 pixels of dx per thread.
    mod input = "shaders/conv2d/direct_input.wgsl";
    params {
        n: u32, c: u32, h: u32, w: u32, k: u32, r: u32, s: u32, p: u32, q: u32, groups: u32,
        stride_h: u32, stride_w: u32, pad_top: u32, pad_left: u32, dilation_h: u32, dilation_w: u32,
        k_begin: u32, k_end: u32,
    }
    bind { dy: Read, w: Read, dx: ReadWrite }
}

crate::kernel! {
    /// 4 output channels x 4 weights per thread, over a share of the pixels.
    mod weight = "shaders/conv2d/direct_weight.wgsl";
    params {
        n: u32, c: u32, h: u32, w: u32, k: u32, r: u32, s: u32, p: u32, q: u32, groups: u32,
        stride_h: u32, stride_w: u32, pad_top: u32, pad_left: u32, dilation_h: u32, dilation_w: u32,
        splits: u32, pixels: u32,
    }
    bind { x: Read, dy: Read, dw: ReadWrite }
}

crate::kernel! {
    /// Adds the parts of a split sum, and finishes it.
    mod sum_splits = "shaders/conv2d/sum_splits.wgsl";
    params { len: u32, splits: u32, channels: u32, plane: u32 }
    bind { parts: Read, bias: Read, y: ReadWrite }
}

/// Threads of a workgroup of these kernels.
const WORKGROUP: usize = 64;

/// Threads that keep a GPU busy: a weight gradient has few weights and is split until it has as many.
const THREADS: usize = 1 << 14;

/// Fills the members that the three kernels have in common.
macro_rules! params {
    ($kernel:ident, $z:expr, $($name:ident : $value:expr),*) => {{
        let (z, v, h) = ($z, $z.window.vertical, $z.window.horizontal);
        $kernel::Params {
            n: z.n as u32, c: z.c as u32, h: z.h as u32, w: z.w as u32, k: z.k as u32,
            r: z.r as u32, s: z.s as u32, p: z.p as u32, q: z.q as u32, groups: z.window.groups as u32,
            stride_h: v.stride as u32, stride_w: h.stride as u32,
            pad_top: v.before as u32, pad_left: h.before as u32,
            dilation_h: v.dilation as u32, dilation_w: h.dilation as u32,
            $($name: $value as u32),*
        }
    }};
}

/// Cuts `0..total` into parts of at most `longest`; an empty range is one part.
fn parts(total: usize, longest: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = total.div_ceil(longest).max(1);
    (0..count).map(move |i| (i * longest, total.min((i + 1) * longest)))
}

pub(super) fn forward(z: &Sizes, op: &Conv2d) -> Candidate {
    let bias = if op.bias == Bias::None { Bind::Input(1) } else { Bind::Input(2) };
    let per_channel = 1 + z.r + z.r * z.s;
    let threads = z.q.div_ceil(4) * z.p * z.k_group().div_ceil(4) * z.window.groups * z.n;
    let longest = (MAX_TRIPS as usize / per_channel).max(1);
    parts(z.c_group(), longest).fold(Candidate::new("direct"), |candidate, (c_begin, c_end)| {
        candidate.dispatch(
            output::dispatch(params!(output, z, c_begin: c_begin, c_end: c_end))
                .constant("BIAS", op.bias == Bias::Channels)
                .constant("ACTIVATION", op.activation as u32)
                .constant("FIRST", c_begin == 0)
                .constant("LAST", c_end == z.c_group())
                .bind(&[Bind::Input(0), Bind::Input(1), bias, Bind::Output(0)])
                .groups(threads.div_ceil(WORKGROUP) as u64)
                .trips(((c_end - c_begin) * per_channel) as u64),
        )
    })
}

pub(super) fn input_grad(z: &Sizes) -> Candidate {
    let taps = z.r * z.s;
    let threads = z.w.div_ceil(4) * z.h * z.c_group().div_ceil(4) * z.window.groups * z.n;
    let longest = ((MAX_TRIPS as usize).saturating_sub(z.r + taps) / taps.max(1)).max(1);
    parts(z.k_group(), longest).fold(Candidate::new("direct_input"), |candidate, (k_begin, k_end)| {
        candidate.dispatch(
            input::dispatch(params!(input, z, k_begin: k_begin, k_end: k_end))
                .constant("FIRST", k_begin == 0)
                .bind(&[Bind::Input(0), Bind::Input(1), Bind::Output(0)])
                .groups(threads.div_ceil(WORKGROUP) as u64)
                .trips((z.r + taps * (1 + k_end - k_begin)) as u64),
        )
    })
}

pub(super) fn weight_grad(z: &Sizes) -> Candidate {
    let tiles = (z.c_group() * z.r * z.s).div_ceil(4) * z.k_group().div_ceil(4) * z.window.groups;
    let total = z.n * z.p * z.q;
    // A split of fewer than 64 pixels costs more to add up than it saves.
    let for_threads = (THREADS / tiles.max(1)).min(total / 64).max(1);
    let pixels = total.div_ceil(for_threads).clamp(1, MAX_TRIPS as usize);
    let splits = total.div_ceil(pixels).max(1);
    let to = if splits == 1 { Bind::Output(0) } else { Bind::Scratch(0) };
    let sums = weight::dispatch(params!(weight, z, splits: splits, pixels: pixels))
        .bind(&[Bind::Input(0), Bind::Input(1), to])
        .groups((tiles * splits).div_ceil(WORKGROUP) as u64)
        .trips(pixels as u64);
    add_splits(Candidate::new("direct_weight"), sums, z.weights(), splits)
}

/// What is left to do when the parts of a sum have been added.
pub(super) struct Finish {
    /// Added to all elements of a channel.
    pub bias: Option<Bind>,
    pub activation: Activation,
    /// Channels of the result, and elements from one to the next.
    pub channels: usize,
    pub plane: usize,
}

impl Finish {
    const NOTHING: Finish = Finish { bias: None, activation: Activation::None, channels: 1, plane: 1 };
}

/// Appends a dispatch that leaves `splits` partial weight gradients in a scratch buffer of its own (the next
/// one), and the one that adds them. A single part is the gradient itself.
pub(super) fn add_splits(candidate: Candidate, sums: Dispatch, weights: usize, splits: usize) -> Candidate {
    add_parts(candidate, sums, weights, splits, Finish::NOTHING)
}

/// Appends a dispatch that leaves `splits` partial results of `len` elements in a scratch buffer of its own (the next
/// one), and the one that adds and finishes them. A single part is finished by the dispatch itself.
pub(super) fn add_parts(
    candidate: Candidate,
    sums: Dispatch,
    len: usize,
    splits: usize,
    finish: Finish,
) -> Candidate {
    if splits == 1 {
        return candidate.dispatch(sums);
    }
    let from = Bind::Scratch(candidate.scratch.len());
    let params = sum_splits::Params {
        len: len as u32,
        splits: splits as u32,
        channels: finish.channels as u32,
        plane: finish.plane as u32,
    };
    candidate.scratch((4 * len * splits).next_multiple_of(ALIGN as usize) as u64).dispatch(sums).dispatch(
        sum_splits::dispatch(params)
            .constant("BIAS", finish.bias.is_some())
            .constant("ACTIVATION", finish.activation as u32)
            .bind(&[from, finish.bias.unwrap_or(from), Bind::Output(0)])
            .groups(len.div_ceil(WORKGROUP) as u64)
            .trips(splits as u64),
    )
}
