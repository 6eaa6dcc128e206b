// C[b] = A[b] x B[b]: each thread owns an 8 x 8 tile of C in registers and reads four floats at a time.
// No barriers and no workgroup memory, which software adapters and small GPUs like.
//
// Every row starts on a quad (4 floats, 16 bytes); rows that do not are packed into scratch first.

const TRANS_A: bool = false; // A is stored as [K, M]
const TRANS_B: bool = false; // B is stored as [N, K]
const K_TAIL: bool = false; // K is not a multiple of 4: rows of [K, ..] operands past K count as 0
const BIAS: bool = false;
const ACTIVATION: u32 = 0u; // 0 none, 1 relu, 2 sigmoid, 3 tanh

struct Params {
    batch: u32,
    m: u32,
    n: u32,
    k: u32,
    splits: u32, // parts of K, each summed by its own threads into its own copy of C
    k_split: u32, // length of a part, a multiple of 4
    tiles_m: u32,
    tiles_n: u32,
    a_row: u32, // the strides are in quads
    a_batch: u32,
    b_row: u32,
    b_batch: u32,
    c_row: u32,
    c_batch: u32,
    c_split: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>; // [batch, M, K], or [batch, K, M] with TRANS_A
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>; // [batch, K, N], or [batch, N, K] with TRANS_B
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>; // [N]
@group(0) @binding(4) var<storage, read_write> c: array<vec4<f32>>; // [splits, batch, M, N]

//!include lib/activation.wgsl

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 64u + lane;
    let tiles = p.tiles_m * p.tiles_n;
    if (id >= tiles * p.splits * p.batch) {
        return;
    }
    let tile = id % tiles;
    let split = (id / tiles) % p.splits;
    let batch = id / (tiles * p.splits);
    let m0 = (tile / p.tiles_n) * 8u;
    let n4 = (tile % p.tiles_n) * 2u;
    let k_first = split * p.k_split;
    let k_end = min(k_first + p.k_split, p.k);
    let last_m4 = (p.m + 3u) / 4u - 1u;
    let last_n4 = (p.n + 3u) / 4u - 1u;
    let a0 = batch * p.a_batch;
    let b0 = batch * p.b_batch;

    var acc: array<vec4<f32>, 16>;
    //!unroll
    for (var i = 0u; i < 16u; i++) {
        acc[i] = vec4<f32>(0.0);
    }
    for (var k = k_first; k < k_end; k += 4u) {
        // rows[j * 2 + h]: row k + j of B, columns n4 + h.
        var rows: array<vec4<f32>, 8>;
        if (TRANS_B) {
            //!unroll
            for (var h = 0u; h < 2u; h++) {
                let n = (n4 + h) * 4u;
                let t0 = b[b0 + min(n, p.n - 1u) * p.b_row + k / 4u];
                let t1 = b[b0 + min(n + 1u, p.n - 1u) * p.b_row + k / 4u];
                let t2 = b[b0 + min(n + 2u, p.n - 1u) * p.b_row + k / 4u];
                let t3 = b[b0 + min(n + 3u, p.n - 1u) * p.b_row + k / 4u];
                //!unroll
                for (var j = 0u; j < 4u; j++) {
                    rows[j * 2u + h] = vec4<f32>(t0[j], t1[j], t2[j], t3[j]);
                }
            }
        } else {
            //!unroll
            for (var j = 0u; j < 4u; j++) {
                let row = b0 + select(k + j, min(k + j, p.k - 1u), K_TAIL) * p.b_row;
                //!unroll
                for (var h = 0u; h < 2u; h++) {
                    let quad = b[row + min(n4 + h, last_n4)];
                    rows[j * 2u + h] = select(vec4<f32>(0.0), quad, !K_TAIL || k + j < k_end);
                }
            }
        }
        if (TRANS_A) {
            //!unroll
            for (var j = 0u; j < 4u; j++) {
                let row = a0 + select(k + j, min(k + j, p.k - 1u), K_TAIL) * p.a_row;
                //!unroll
                for (var g = 0u; g < 2u; g++) {
                    let quad = a[row + min(m0 / 4u + g, last_m4)];
                    let x = select(vec4<f32>(0.0), quad, !K_TAIL || k + j < k_end);
                    //!unroll
                    for (var i = 0u; i < 4u; i++) {
                        acc[(g * 4u + i) * 2u] += x[i] * rows[j * 2u];
                        acc[(g * 4u + i) * 2u + 1u] += x[i] * rows[j * 2u + 1u];
                    }
                }
            }
        } else {
            //!unroll
            for (var i = 0u; i < 8u; i++) {
                let x = a[a0 + min(m0 + i, p.m - 1u) * p.a_row + k / 4u];
                //!unroll
                for (var j = 0u; j < 4u; j++) {
                    acc[i * 2u] += x[j] * rows[j * 2u];
                    acc[i * 2u + 1u] += x[j] * rows[j * 2u + 1u];
                }
            }
        }
    }

    let c_at = split * p.c_split + batch * p.c_batch + n4;
    //!unroll
    for (var h = 0u; h < 2u; h++) {
        if ((n4 + h) * 4u < p.n) {
            var add = vec4<f32>(0.0);
            if (BIAS) {
                add = bias[n4 + h];
            }
            //!unroll
            for (var i = 0u; i < 8u; i++) {
                if (m0 + i < p.m) {
                    c[c_at + (m0 + i) * p.c_row + h] = activate(acc[i * 2u + h] + add);
                }
            }
        }
    }
}
