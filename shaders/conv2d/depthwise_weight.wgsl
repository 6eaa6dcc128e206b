// dw[k, r, s] = sum over n, p, q of dy[n, k, p, q] * x[n, k / divide, p * stride + r * dilation - pad, ..]. Each
// invocation sums a row of S weights over a share of the tiles of TILE neighbouring pixels; invocations side by
// side take tiles side by side.

const TILE: u32 = 8u;
const S: u32 = 3u;
const STRIDE: u32 = 1u; // along the row
const DILATION: u32 = 1u; // along the row
const WG: u32 = 64u;

const RUN: u32 = (TILE - 1u) * STRIDE + (S - 1u) * DILATION + 1u;

struct Params {
    k: u32,
    out_h: u32,
    out_w: u32,
    c: u32,
    in_h: u32,
    in_w: u32,
    divide: u32,
    r: u32,
    stride_h: u32,
    dilation_h: u32,
    pad_top: u32,
    pad_left: u32,
    units: u32, // tiles of all images
    splits: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, in_h, in_w]
@group(0) @binding(2) var<storage, read> dy: array<f32>; // [N, K, out_h, out_w]
@group(0) @binding(3) var<storage, read_write> dw: array<f32>; // [splits, K, R, S]

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * WG + lane;
    let split = id % p.splits;
    let k = id / p.splits / p.r;
    let r = id / p.splits % p.r;
    if (k >= p.k) {
        return;
    }

    var acc: array<f32, S>;
    //!unroll
    for (var s = 0u; s < S; s++) {
        acc[s] = 0.0;
    }
    let tiles = (p.out_w + TILE - 1u) / TILE;
    for (var unit = split; unit < p.units; unit += p.splits) {
        let tile = unit % tiles;
        let row = unit / tiles % p.out_h;
        let image = unit / (tiles * p.out_h);
        let h = row * p.stride_h + r * p.dilation_h - p.pad_top; // before the image: a large one
        if (h < p.in_h) {
            let x_row = ((image * p.c + k / p.divide) * p.in_h + h) * p.in_w;
            let first = tile * (TILE * STRIDE) - p.pad_left;
            var xs: array<f32, RUN>;
            //!unroll
            for (var j = 0u; j < RUN; j++) {
                let column = first + j;
                xs[j] = select(0.0, x[x_row + min(column, p.in_w - 1u)], column < p.in_w);
            }
            let dy_row = ((image * p.k + k) * p.out_h + row) * p.out_w;
            //!unroll
            for (var i = 0u; i < TILE; i++) {
                let q = tile * TILE + i;
                let pixel = select(0.0, dy[dy_row + min(q, p.out_w - 1u)], q < p.out_w);
                //!unroll
                for (var s = 0u; s < S; s++) {
                    acc[s] += pixel * xs[i * STRIDE + s * DILATION];
                }
            }
        }
    }

    let dw_at = ((split * p.k + k) * p.r + r) * S;
    //!unroll
    for (var s = 0u; s < S; s++) {
        dw[dw_at + s] = acc[s];
    }
}
