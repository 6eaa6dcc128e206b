// C[b] = A[b] x B[b] for any shape and layout: each thread owns an 8 x 8 tile of C in registers and reads one
// element at a time, so no row needs any alignment.

const BIAS: bool = false;
const ACTIVATION: u32 = 0u; // 0 none, 1 relu, 2 sigmoid, 3 tanh

struct Params {
    batch: u32,
    m: u32,
    n: u32,
    k: u32,
    splits: u32, // parts of K, each summed by its own threads into its own copy of C
    k_split: u32, // length of a part
    tiles_m: u32,
    tiles_n: u32,
    a_m: u32, // strides of A along m and k: which one is 1 says how A is stored
    a_k: u32,
    a_batch: u32,
    b_k: u32,
    b_n: u32,
    b_batch: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>; // [batch, M, K] or [batch, K, M]
@group(0) @binding(2) var<storage, read> b: array<f32>; // [batch, K, N] or [batch, N, K]
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [N]
@group(0) @binding(4) var<storage, read_write> c: array<f32>; // [splits, batch, M, N]

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
    let n0 = (tile % p.tiles_n) * 8u;
    let k_first = split * p.k_split;
    let k_end = min(k_first + p.k_split, p.k);

    // Past an edge the last row or column is read again; what comes of it is not stored.
    var a_at: array<u32, 8>;
    var b_at: array<u32, 8>;
    var acc: array<vec4<f32>, 16>;
    //!unroll
    for (var i = 0u; i < 8u; i++) {
        a_at[i] = batch * p.a_batch + min(m0 + i, p.m - 1u) * p.a_m + k_first * p.a_k;
        b_at[i] = batch * p.b_batch + min(n0 + i, p.n - 1u) * p.b_n + k_first * p.b_k;
        acc[i * 2u] = vec4<f32>(0.0);
        acc[i * 2u + 1u] = vec4<f32>(0.0);
    }
    var a_step = 0u;
    var b_step = 0u;
    for (var k = k_first; k < k_end; k++) {
        let b_lo = vec4<f32>(b[b_at[0] + b_step], b[b_at[1] + b_step], b[b_at[2] + b_step], b[b_at[3] + b_step]);
        let b_hi = vec4<f32>(b[b_at[4] + b_step], b[b_at[5] + b_step], b[b_at[6] + b_step], b[b_at[7] + b_step]);
        //!unroll
        for (var i = 0u; i < 8u; i++) {
            let x = a[a_at[i] + a_step];
            acc[i * 2u] += x * b_lo;
            acc[i * 2u + 1u] += x * b_hi;
        }
        a_step += p.a_k;
        b_step += p.b_k;
    }

    //!unroll
    for (var h = 0u; h < 2u; h++) {
        var add = vec4<f32>(0.0);
        if (BIAS) {
            //!unroll
            for (var j = 0u; j < 4u; j++) {
                add[j] = bias[min(n0 + h * 4u + j, p.n - 1u)];
            }
        }
        //!unroll
        for (var i = 0u; i < 8u; i++) {
            let y = activate(acc[i * 2u + h] + add);
            let c_at = ((split * p.batch + batch) * p.m + m0 + i) * p.n + n0 + h * 4u;
            //!unroll
            for (var j = 0u; j < 4u; j++) {
                if (m0 + i < p.m && n0 + h * 4u + j < p.n) {
                    c[c_at + j] = y[j];
                }
            }
        }
    }
}
