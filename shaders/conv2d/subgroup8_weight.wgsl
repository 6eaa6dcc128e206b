// dw[k, c, r, s] = sum over n, p, q of dy[n, k, p, q] * x[n, c, p * stride + r * dilation, ..], for adapters that run a
// subgroup of exactly 8 lanes as one vector register.
//
// A workgroup owns TILE_K x TILE_C pairs of channels and a share of the rows; each lane sums over its own rows, and the
// lanes are added at the end. x and dy come from `gather_rows`, which has dealt with padding and edges.

const TILE_K: u32 = 8u;
const TILE_C: u32 = 2u;
const TILE_Q: u32 = 14u;
const R: u32 = 3u;
const S: u32 = 3u;
const STRIDE: u32 = 1u; // along the row
const DILATION: u32 = 1u; // along the row
const PHASES: u32 = 1u;
const OCTETS: u32 = 2u; // of a phase of a block of x
const DY_OCTETS: u32 = 2u; // of a block of dy

struct Params {
    units: u32, // N * P * blocks
    steps: u32, // of 8 units, for each workgroup
    blocks: u32,
    out_rows: u32,
    k: u32,
    c: u32,
    tiles_k: u32,
    tiles_c: u32,
    splits: u32,
    row_step: u32, // the steps are in octets
    channel_step: u32,
    tap_step: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [N, C, rows, blocks, PHASES, OCTETS]
@group(0) @binding(2) var<storage, read> dy: array<vec4<u64>>; // [N, K, P, blocks, DY_OCTETS], then a block of zeros
@group(0) @binding(3) var<storage, read_write> dw: array<f32>; // [splits, K, C, R, S]

//!include lib/octet.wgsl

@compute @workgroup_size(8)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = wid.x + wid.y * nwg.x;
    if (id >= p.tiles_k * p.tiles_c * p.splits) {
        return;
    }
    let k_first = id % p.tiles_k * TILE_K;
    let c_first = id / p.tiles_k % p.tiles_c * TILE_C;
    let split = id / (p.tiles_k * p.tiles_c);

    var acc: array<f32, TILE_K * TILE_C * R * S>;
    //!unroll
    for (var i = 0u; i < TILE_K * TILE_C * R * S; i++) {
        acc[i] = 0.0;
    }

    let dy_plane = p.out_rows * p.blocks * DY_OCTETS;
    let dy_zero = p.units * p.k * DY_OCTETS;
    for (var step = 0u; step < p.steps; step++) {
        let unit = (split * p.steps + step) * 8u + lane;
        let mine = min(unit, p.units - 1u);
        let image_row = mine / p.blocks;
        let block = mine - image_row * p.blocks;
        let image = image_row / p.out_rows;
        let row = image_row - image * p.out_rows;

        // Channels past the last one are those of the last again: what comes of them is not stored.
        var g: array<f32, TILE_K * DY_OCTETS * 8u>;
        //!unroll
        for (var k = 0u; k < TILE_K; k++) {
            let plane_at = (image * p.k + min(k_first + k, p.k - 1u)) * dy_plane;
            let dy_at = select(dy_zero, plane_at + (row * p.blocks + block) * DY_OCTETS, unit < p.units);
            //!unroll
            for (var o = 0u; o < DY_OCTETS; o++) {
                let octet = dy[dy_at + o];
                let even = evens(octet);
                let odd = odds(octet);
                //!unroll
                for (var j = 0u; j < 4u; j++) {
                    g[(k * DY_OCTETS + o) * 8u + j * 2u] = even[j];
                    g[(k * DY_OCTETS + o) * 8u + j * 2u + 1u] = odd[j];
                }
            }
        }
        //!unroll
        for (var c = 0u; c < TILE_C; c++) {
            let channel = image * p.c + min(c_first + c, p.c - 1u);
            let x_first = channel * p.channel_step + row * p.row_step + block * (PHASES * OCTETS);
            //!unroll
            for (var r = 0u; r < R; r++) {
                var xs: array<f32, PHASES * OCTETS * 8u>;
                //!unroll
                for (var o = 0u; o < PHASES * OCTETS; o++) {
                    let octet = x[x_first + r * p.tap_step + o];
                    let even = evens(octet);
                    let odd = odds(octet);
                    //!unroll
                    for (var j = 0u; j < 4u; j++) {
                        xs[o * 8u + j * 2u] = even[j];
                        xs[o * 8u + j * 2u + 1u] = odd[j];
                    }
                }
                //!unroll
                for (var k = 0u; k < TILE_K; k++) {
                    //!unroll
                    for (var s = 0u; s < S; s++) {
                        //!unroll
                        for (var q = 0u; q < TILE_Q; q++) {
                            acc[((k * TILE_C + c) * R + r) * S + s] += g[k * DY_OCTETS * 8u + q]
                                * xs[(s * DILATION) % STRIDE * OCTETS * 8u + s * DILATION / STRIDE + q];
                        }
                    }
                }
            }
        }
    }

    let dw_first = split * (p.k * p.c * R * S);
    //!unroll
    for (var k = 0u; k < TILE_K; k++) {
        //!unroll
        for (var c = 0u; c < TILE_C; c++) {
            let inside = k_first + k < p.k && c_first + c < p.c;
            let dw_at = dw_first + ((k_first + k) * p.c + c_first + c) * (R * S);
            //!unroll
            for (var i = 0u; i < R * S; i++) {
                let sum = subgroupAdd(acc[(k * TILE_C + c) * R * S + i]);
                if (inside && lane == 0u) {
                    dw[dw_at + i] = sum;
                }
            }
        }
    }
}
