// dw[k, c, r, s] = sum over n, p, q of dy[n, k, p, q] * x[n, c, p * stride + r * dilation, ..], for adapters
// that run a subgroup of exactly 8 lanes as one vector register.
//
// Each lane owns TILE_K8 output channels and reads their pixels where they lie. All lanes need the same
// pixels of TILE_C input channels: each loads other octets and they pass them round by shuffle. x comes from
// `gather_rows`, which has dealt with its padding. A workgroup goes through a share of the blocks of all
// rows.

const TILE_K8: u32 = 2u; // channels of dy in a lane
const TILE_C: u32 = 4u;
const TILE_Q: u32 = 14u;
const R: u32 = 3u;
const S: u32 = 3u;
const STRIDE: u32 = 1u; // along the row
const DILATION: u32 = 1u; // along the row
const PHASES: u32 = 1u;
const OCTETS: u32 = 2u; // of a phase of a block of x
const LOADS: u32 = 3u; // octets of x per lane and step: TILE_C * R * PHASES * OCTETS / 8, rounded up
const DY_OCTETS: u32 = 2u; // TILE_Q / 8, rounded up

const BLOCK: u32 = PHASES * OCTETS;

struct Params {
    units: u32, // N * P * blocks
    steps: u32, // units of a workgroup
    blocks: u32,
    out_rows: u32,
    out_columns: u32,
    k: u32,
    c: u32,
    tiles_k: u32,
    tiles_c: u32,
    splits: u32,
    row_step: u32, // the steps are in octets
    channel_step: u32,
    image_step: u32,
    tap_step: u32,
    last: u32, // index of the last octet of dy
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [N, C, rows, blocks, PHASES, OCTETS]
@group(0) @binding(2) var<storage, read> dy: array<vec4<u64>>; // [N, K, P, Q]
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
    let k_first = id % p.tiles_k * (TILE_K8 * 8u) + lane;
    let c_first = id / p.tiles_k % p.tiles_c * TILE_C;
    let split = id / (p.tiles_k * p.tiles_c);

    var acc: array<f32, TILE_K8 * TILE_C * R * S>;
    //!unroll
    for (var i = 0u; i < TILE_K8 * TILE_C * R * S; i++) {
        acc[i] = 0.0;
    }
    // Channels past the last one are those of the last again: what comes of them is not stored.
    let plane = p.out_rows * p.out_columns;
    var dy_channel: array<u32, TILE_K8>;
    //!unroll
    for (var k8 = 0u; k8 < TILE_K8; k8++) {
        dy_channel[k8] = min(k_first + k8 * 8u, p.k - 1u) * plane;
    }
    var x_octet: array<u32, LOADS>;
    //!unroll
    for (var i = 0u; i < LOADS; i++) {
        let octet = min(i * 8u + lane, TILE_C * R * BLOCK - 1u);
        let channel = min(c_first + octet / (R * BLOCK), p.c - 1u);
        x_octet[i] = channel * p.channel_step + octet / BLOCK % R * p.tap_step + octet % BLOCK;
    }

    let begin = split * p.steps;
    let end = min(begin + p.steps, p.units);
    var block = begin % p.blocks;
    var row = begin / p.blocks % p.out_rows;
    var image = begin / (p.blocks * p.out_rows);
    for (var unit = begin; unit < end; unit++) {
        var x_lo: array<vec4<f32>, LOADS>;
        var x_hi: array<vec4<f32>, LOADS>;
        let x_at = image * p.image_step + row * p.row_step + block * BLOCK;
        //!unroll
        for (var i = 0u; i < LOADS; i++) {
            let octet = x[x_at + x_octet[i]];
            x_lo[i] = evens(octet);
            x_hi[i] = odds(octet);
        }

        // The results of dy begin `shift` floats into an octet: three conditional moves bring them to the
        // front.
        let dy_first = image * p.k * plane + row * p.out_columns + block * TILE_Q;
        let columns = p.out_columns - block * TILE_Q;
        var g: array<f32, TILE_K8 * (DY_OCTETS + 1u) * 8u>;
        //!unroll
        for (var k8 = 0u; k8 < TILE_K8; k8++) {
            let at = dy_first + dy_channel[k8];
            //!unroll
            for (var o = 0u; o < DY_OCTETS + 1u; o++) {
                let octet = dy[min(at / 8u + o, p.last)];
                let even = evens(octet);
                let odd = odds(octet);
                //!unroll
                for (var j = 0u; j < 4u; j++) {
                    g[(k8 * (DY_OCTETS + 1u) + o) * 8u + j * 2u] = even[j];
                    g[(k8 * (DY_OCTETS + 1u) + o) * 8u + j * 2u + 1u] = odd[j];
                }
            }
            //!unroll
            for (var i = k8 * (DY_OCTETS + 1u) * 8u; i < (k8 * (DY_OCTETS + 1u) + DY_OCTETS) * 8u + 4u; i++) {
                g[i] = select(g[i], g[i + 4u], (at & 4u) != 0u);
            }
            //!unroll
            for (var i = k8 * (DY_OCTETS + 1u) * 8u; i < (k8 * (DY_OCTETS + 1u) + DY_OCTETS) * 8u + 2u; i++) {
                g[i] = select(g[i], g[i + 2u], (at & 2u) != 0u);
            }
            //!unroll
            for (var q = 0u; q < TILE_Q; q++) {
                let moved = select(
                    g[k8 * (DY_OCTETS + 1u) * 8u + q],
                    g[k8 * (DY_OCTETS + 1u) * 8u + q + 1u],
                    (at & 1u) != 0u,
                );
                g[k8 * (DY_OCTETS + 1u) * 8u + q] = select(0.0, moved, q < columns);
            }
        }

        //!unroll
        for (var cr = 0u; cr < TILE_C * R; cr++) {
            var xs: array<f32, BLOCK * 8u>;
            //!unroll
            for (var e = 0u; e < BLOCK * 8u; e += 2u) {
                let octet = cr * BLOCK + e / 8u;
                xs[e] = subgroupShuffle(x_lo[octet / 8u][e % 8u / 2u], octet % 8u);
                xs[e + 1u] = subgroupShuffle(x_hi[octet / 8u][e % 8u / 2u], octet % 8u);
            }
            //!unroll
            for (var k8 = 0u; k8 < TILE_K8; k8++) {
                //!unroll
                for (var s = 0u; s < S; s++) {
                    //!unroll
                    for (var q = 0u; q < TILE_Q; q++) {
                        acc[(k8 * TILE_C * R + cr) * S + s] += g[k8 * (DY_OCTETS + 1u) * 8u + q]
                            * xs[(s * DILATION) % STRIDE * OCTETS * 8u + s * DILATION / STRIDE + q];
                    }
                }
            }
        }

        block++;
        if (block == p.blocks) {
            block = 0u;
            row++;
            if (row == p.out_rows) {
                row = 0u;
                image++;
            }
        }
    }

    let dw_first = split * (p.k * p.c * R * S);
    //!unroll
    for (var k8 = 0u; k8 < TILE_K8; k8++) {
        let k = k_first + k8 * 8u;
        //!unroll
        for (var c = 0u; c < TILE_C; c++) {
            if (k < p.k && c_first + c < p.c) {
                let dw_at = dw_first + (k * p.c + c_first + c) * (R * S);
                //!unroll
                for (var i = 0u; i < R * S; i++) {
                    dw[dw_at + i] = acc[(k8 * TILE_C + c) * R * S + i];
                }
            }
        }
    }
}
