// The convolution of channels one by one: y[n, k, p, q] = act(bias[k] + sum over r, s of x[n, c, ..] * w[k, r, s])
// with channel c = k / divide; or its gradient with respect to x, which sums over several channels (terms), with
// the weights turned round. Each invocation computes TILE neighbouring pixels of a row: of x it loads what they
// see between them once for all taps of that row.
//
// Tap s of pixel q meets column (q * STRIDE + s * DILATION - pad) / SPREAD of x where that is a whole number.
// Tiles begin at multiples of SPREAD, so which taps meet something is known here; `first` and SHIFT are the whole
// part and the rest of -pad / SPREAD.

const TILE: u32 = 8u; // a multiple of SPREAD
const S: u32 = 3u;
const STRIDE: u32 = 1u; // along the row; 1 when SPREAD is not
const SPREAD: u32 = 1u; // along the row
const DILATION: u32 = 1u; // along the row
const SHIFT: u32 = 0u; // along the row, below SPREAD
const FLIP: bool = false; // weights turned round, one kernel for each channel of x instead of y
const BIAS: bool = false;
const ACTIVATION: u32 = 0u; // 0 none, 1 relu, 2 sigmoid, 3 tanh
const WG: u32 = 64u;

const RUN: u32 = ((TILE - 1u) * STRIDE + (S - 1u) * DILATION + SHIFT) / SPREAD + 1u;

struct Params {
    n: u32,
    k: u32,
    out_h: u32,
    out_w: u32,
    c: u32,
    in_h: u32,
    in_w: u32,
    divide: u32, // channel k of y begins with channel k / divide * terms of x
    terms: u32,
    r: u32,
    stride_h: u32,
    spread_h: u32,
    dilation_h: u32,
    pad_top: i32,
    first: i32, // the column of x that the first tap of the first pixel meets
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, in_h, in_w]
@group(0) @binding(2) var<storage, read> w: array<f32>; // [K, R, S], or [C, R, S] with FLIP
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [K]
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [N, K, out_h, out_w]

//!include lib/activation.wgsl

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * WG + lane;
    let tiles = (p.out_w + TILE - 1u) / TILE;
    let tile = id % tiles;
    let row = id / tiles % p.out_h;
    let plane = id / (tiles * p.out_h);
    let image = plane / p.k;
    let k = plane % p.k;
    if (image >= p.n) {
        return;
    }

    var acc: array<f32, TILE>;
    //!unroll
    for (var i = 0u; i < TILE; i++) {
        acc[i] = 0.0;
    }
    let first = p.first + i32(tile * (TILE / SPREAD * STRIDE));
    for (var term = 0u; term < p.terms; term++) {
        let c = k / p.divide * p.terms + term;
        let x_plane = (image * p.c + c) * p.in_h;
        let w_plane = select(k, c, FLIP) * p.r;
        for (var r = 0u; r < p.r; r++) {
            let above = i32(row * p.stride_h + r * p.dilation_h) - p.pad_top;
            let h = u32(above) / p.spread_h;
            if (above >= 0 && h * p.spread_h == u32(above) && h < p.in_h) {
                let x_row = (x_plane + h) * p.in_w;
                var xs: array<f32, RUN>;
                //!unroll
                for (var j = 0u; j < RUN; j++) {
                    let column = u32(first + i32(j)); // one before the row becomes a large one
                    xs[j] = select(0.0, x[x_row + min(column, p.in_w - 1u)], column < p.in_w);
                }
                let w_row = (w_plane + select(r, p.r - 1u - r, FLIP)) * S;
                //!unroll
                for (var s = 0u; s < S; s++) {
                    let weight = w[w_row + select(s, S - 1u - s, FLIP)];
                    //!unroll
                    for (var i = (SPREAD - (s * DILATION + SHIFT) % SPREAD) % SPREAD; i < TILE; i += SPREAD) {
                        acc[i] += weight * xs[(i * STRIDE + s * DILATION + SHIFT) / SPREAD];
                    }
                }
            }
        }
    }

    let y_at = (plane * p.out_h + row) * p.out_w + tile * TILE;
    let columns = p.out_w - tile * TILE;
    var add = 0.0;
    if (BIAS) {
        add = bias[k];
    }
    //!unroll
    for (var i = 0u; i < TILE; i += 4u) {
        // Results past the tile are copies of its last one, and not stored.
        let four = activate(vec4<f32>(
            acc[i],
            acc[min(i + 1u, TILE - 1u)],
            acc[min(i + 2u, TILE - 1u)],
            acc[min(i + 3u, TILE - 1u)],
        ) + add);
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            if (i + j < min(TILE, columns)) {
                y[y_at + i + j] = four[j];
            }
        }
    }
}
