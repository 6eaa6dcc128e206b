// C[b] = A[b] x B[b] for discrete GPUs: 256 threads share a 64 x 64 tile of C through workgroup memory,
// 4 x 4 elements each, 16 steps of k at a time. Any shape and layout.

const TRANS_A: bool = false; // A is stored as [K, M]: neighbouring threads read along m
const TRANS_B: bool = false; // B is stored as [N, K]: neighbouring threads read along k
const BIAS: bool = false;
const ACTIVATION: u32 = 0u; // 0 none, 1 relu, 2 sigmoid, 3 tanh

const TILE: u32 = 64u;
const STEP: u32 = 16u;
const PITCH: u32 = 17u; // quads per row of a tile, one more than used so that rows start in different banks

struct Params {
    batch: u32,
    m: u32,
    n: u32,
    k: u32,
    splits: u32, // parts of K, each summed by its own workgroups into its own copy of C
    k_split: u32, // length of a part
    tiles_m: u32,
    tiles_n: u32,
    a_m: u32,
    a_k: u32,
    a_batch: u32,
    b_k: u32,
    b_n: u32,
    b_batch: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>; // [batch, M, K], or [batch, K, M] with TRANS_A
@group(0) @binding(2) var<storage, read> b: array<f32>; // [batch, K, N], or [batch, N, K] with TRANS_B
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [N]
@group(0) @binding(4) var<storage, read_write> c: array<f32>; // [splits, batch, M, N]

var<workgroup> a_tile: array<vec4<f32>, STEP * PITCH>; // [STEP, TILE]
var<workgroup> b_tile: array<vec4<f32>, STEP * PITCH>; // [STEP, TILE]

//!include lib/activation.wgsl

@compute @workgroup_size(256)
fn main(
    @builtin(local_invocation_index) t: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = wid.x + wid.y * nwg.x;
    let tiles = p.tiles_m * p.tiles_n;
    if (id >= tiles * p.splits * p.batch) {
        return;
    }
    let tile = id % tiles;
    let split = (id / tiles) % p.splits;
    let batch = id / (tiles * p.splits);
    let m0 = (tile / p.tiles_n) * TILE;
    let n0 = (tile % p.tiles_n) * TILE;
    let k_first = split * p.k_split;
    let k_end = min(k_first + p.k_split, p.k);
    let row = t / 16u;
    let column = t % 16u;

    // What this thread carries into workgroup memory: 4 values at (k, m) and 4 at (k, n).
    var a_m = (t / 16u) * 4u;
    var a_k = t % 16u;
    if (TRANS_A) {
        a_m = (t % 16u) * 4u;
        a_k = t / 16u;
    }
    var b_n = (t % 16u) * 4u;
    var b_k = t / 16u;
    if (TRANS_B) {
        b_n = (t / 16u) * 4u;
        b_k = t % 16u;
    }

    var acc: array<vec4<f32>, 4>;
    //!unroll
    for (var i = 0u; i < 4u; i++) {
        acc[i] = vec4<f32>(0.0);
    }
    for (var k = k_first; k < k_end; k += STEP) {
        var x = vec4<f32>(0.0);
        var y = vec4<f32>(0.0);
        //!unroll
        for (var i = 0u; i < 4u; i++) {
            if (m0 + a_m + i < p.m && k + a_k < k_end) {
                x[i] = a[batch * p.a_batch + (m0 + a_m + i) * p.a_m + (k + a_k) * p.a_k];
            }
            if (n0 + b_n + i < p.n && k + b_k < k_end) {
                y[i] = b[batch * p.b_batch + (n0 + b_n + i) * p.b_n + (k + b_k) * p.b_k];
            }
        }
        a_tile[a_k * PITCH + a_m / 4u] = x;
        b_tile[b_k * PITCH + b_n / 4u] = y;
        workgroupBarrier();
        //!unroll
        for (var j = 0u; j < STEP; j++) {
            let u = a_tile[j * PITCH + row];
            let v = b_tile[j * PITCH + column];
            //!unroll
            for (var i = 0u; i < 4u; i++) {
                acc[i] += u[i] * v;
            }
        }
        workgroupBarrier();
    }

    let n = n0 + column * 4u;
    var add = vec4<f32>(0.0);
    if (BIAS) {
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            add[j] = bias[min(n + j, p.n - 1u)];
        }
    }
    //!unroll
    for (var i = 0u; i < 4u; i++) {
        let m = m0 + row * 4u + i;
        let y = activate(acc[i] + add);
        let c_at = ((split * p.batch + batch) * p.m + m) * p.n + n;
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            if (m < p.m && n + j < p.n) {
                c[c_at + j] = y[j];
            }
        }
    }
}
