//! Convolutions of single pixels as products: with weights `W` `[K, C]` and images `X` `[C, H·W]`, the result is `W·X` for
//! each image, the gradient of the input `Wᵀ·dY`, and that of the weights the sum of `dY·Xᵀ` over the images. For
//! software adapters, by the octet kernel of [`matmul`].

use super::{Bias, Conv2d, Sizes};
use crate::kernel::{Bind, Candidate, Dispatch, Needs};
use crate::op::Activation;
use crate::ops::matmul::{self, OctetTile, octet_tiles, split_sum, subgroup8};
use crate::shape::ALIGN;

/// Bytes that the gradients of the weights of single images may take before they are summed.
const MAX_PARTS: usize = 64 << 20;

/// One product per image.
struct Product {
    m: usize,
    n: usize,
    k: usize,
    transposed_a: bool,
    transposed_b: bool,
    /// Whether A is the same for all images.
    shared_a: bool,
    images: usize,
}

impl Product {
    /// A candidate per height of tile: `finish` gives the product's dispatch its buffers and what follows it.
    fn candidates(&self, finish: impl Fn(Candidate, Dispatch) -> Candidate) -> Vec<Candidate> {
        let tiles = octet_tiles(self.m, self.images * self.m * self.n * self.k);
        let candidate = |tile: OctetTile| {
            let variant = if tile.variant == "subgroup8" { "octet_product" } else { "octet_product_tall" };
            finish(Candidate::new(variant).needs(Needs::SUBGROUP8), self.dispatch(tile.rows))
        };
        tiles.into_iter().map(candidate).collect()
    }

    fn dispatch(&self, tile_m: usize) -> Dispatch {
        let (tiles_m, tiles_n) = (self.m.div_ceil(tile_m), self.n.div_ceil(64));
        let octets = |rows: usize, columns: usize, transposed: bool| match transposed {
            true => ((rows / 8) as u32, (columns * rows / 8) as u32),
            false => ((columns / 8) as u32, (rows * columns / 8) as u32),
        };
        let (a_row, a_batch) = octets(self.m, self.k, self.transposed_a);
        let (b_row, b_batch) = octets(self.k, self.n, self.transposed_b);
        let params = subgroup8::Params {
            batch: self.images as u32,
            m: self.m as u32,
            n: self.n as u32,
            k: self.k as u32,
            splits: 1,
            k_split: self.k as u32,
            tiles_m: tiles_m as u32,
            tiles_n: tiles_n as u32,
            a_row,
            a_batch: if self.shared_a { 0 } else { a_batch },
            b_row,
            b_tile: 8,
            b_batch,
            c_row: (self.n / 8) as u32,
            c_batch: (self.m * self.n / 8) as u32,
            c_split: 0,
        };
        subgroup8::dispatch(params)
            .constant("TILE_M", tile_m as u32)
            .constant("TRANS_A", self.transposed_a)
            .constant("TRANS_B", self.transposed_b)
            .constant("K_TAIL", false)
            .constant("BIAS", false)
            .groups((tiles_m * tiles_n * self.images) as u64)
            .trips((self.k / 8) as u64)
    }
}

/// Whether the kernel serves the convolution: it reads whole octets only.
fn served(z: &Sizes) -> bool {
    let unit = [z.window.vertical, z.window.horizontal].iter().all(|s| (s.stride, s.before, s.after) == (1, 0, 0));
    let octets = [z.h * z.w, z.c, z.k].iter().all(|n| n.is_multiple_of(8));
    unit && z.r * z.s == 1 && z.window.groups == 1 && octets && z.multiply_adds() >= matmul::SMALL
}

pub(super) fn forward(z: &Sizes, op: &Conv2d) -> Vec<Candidate> {
    if !served(z) {
        return Vec::new();
    }
    let product = Product {
        m: z.k,
        n: z.h * z.w,
        k: z.c,
        transposed_a: false,
        transposed_b: false,
        shared_a: true,
        images: z.n,
    };
    let bias = op.bias == Bias::Channels;
    let bind = [Bind::Input(1), Bind::Input(0), Bind::Input(if bias { 2 } else { 1 }), Bind::Output(0)];
    product.candidates(|candidate, dispatch| {
        let dispatch =
            dispatch.constant("BIAS_ROWS", bias).constant("ACTIVATION", op.activation as u32).bind(&bind);
        candidate.dispatch(dispatch)
    })
}

pub(super) fn input_grad(z: &Sizes) -> Vec<Candidate> {
    if !served(z) {
        return Vec::new();
    }
    let product = Product {
        m: z.c,
        n: z.h * z.w,
        k: z.k,
        transposed_a: true,
        transposed_b: false,
        shared_a: true,
        images: z.n,
    };
    let bind = [Bind::Input(1), Bind::Input(0), Bind::Input(1), Bind::Output(0)];
    product.candidates(|candidate, dispatch| candidate.dispatch(bare(dispatch).bind(&bind)))
}

pub(super) fn weight_grad(z: &Sizes) -> Vec<Candidate> {
    let bytes = z.n * z.weights() * 4;
    if !served(z) || bytes > MAX_PARTS {
        return Vec::new();
    }
    let product = Product {
        m: z.k,
        n: z.c,
        k: z.h * z.w,
        transposed_a: false,
        transposed_b: true,
        shared_a: false,
        images: z.n,
    };
    let bind = [Bind::Input(1), Bind::Input(0), Bind::Input(1), Bind::Scratch(0)];
    let sum = split_sum::Params { rows: z.k as u32, n: z.c as u32, pitch: z.c as u32, splits: z.n as u32 };
    let sum = split_sum::dispatch(sum)
        .constant("BIAS", false)
        .constant("ACTIVATION", Activation::None as u32)
        .bind(&[Bind::Scratch(0), Bind::Input(1), Bind::Output(0)])
        .groups((z.k * z.c).div_ceil(64) as u64)
        .trips(z.n as u64);
    product.candidates(|candidate, dispatch| {
        let candidate = candidate.scratch((bytes as u64).next_multiple_of(ALIGN));
        candidate.dispatch(bare(dispatch).bind(&bind)).dispatch(sum.clone())
    })
}

fn bare(dispatch: Dispatch) -> Dispatch {
    dispatch.constant("BIAS_ROWS", false).constant("ACTIVATION", Activation::None as u32)
}
