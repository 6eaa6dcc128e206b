// C[b] = A[b] x B[b] for discrete GPUs: tiles in workgroup memory, four floats at a time. Every row of the operands
// and of C starts on a quad (4 floats, 16 bytes).

const TRANS_A: bool = false; // A is stored as [K, M]
const TRANS_B: bool = false; // B is stored as [N, K]
const EDGES: bool = true; // M and N are not whole tiles
const K_TAIL: bool = true; // a part of K is not whole steps
const BIAS: bool = false;
const ACTIVATION: u32 = 0u; // 0 none, 1 relu, 2 sigmoid, 3 tanh

const A_ALONG_K: bool = !TRANS_A;
const A_LANES_ALONG_K: bool = !TRANS_A;
const B_ALONG_K: bool = TRANS_B;
const B_LANES_ALONG_K: bool = TRANS_B;
const BLOCKED: bool = true;

struct Params {
    batch: u32,
    m: u32,
    n: u32,
    k: u32,
    splits: u32, // parts of K, each summed by its own workgroups into its own copy of C
    k_split: u32, // length of a part, a multiple of STEP
    tiles_m: u32,
    tiles_n: u32,
    a_row: u32, // the strides are in quads
    a_batch: u32,
    b_row: u32,
    b_batch: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>; // [batch, M, K], or [batch, K, M] with TRANS_A
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>; // [batch, K, N], or [batch, N, K] with TRANS_B
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>; // [N]
@group(0) @binding(4) var<storage, read_write> c: array<vec4<f32>>; // [splits, batch, M, N]

//!include lib/workgroup_product.wgsl
//!include lib/activation.wgsl

// Of the first step: where this thread's quads lie, and at which k.
var<private> a_at: array<u32, A_LOADS>;
var<private> a_from: array<u32, A_LOADS>;
var<private> b_at: array<u32, B_LOADS>;
var<private> b_from: array<u32, B_LOADS>;
var<private> k_end: u32;

fn prepare(step: u32) {}

fn a_quad(load: u32, step: u32) -> vec4<f32> {
    let at = a_at[load] + step * select(STEP4, STEP * p.a_row, TRANS_A);
    return a[select(0u, at, !K_TAIL || a_from[load] + step * STEP < k_end)];
}

fn a_inside(load: u32, step: u32, quad: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(0.0), quad, !K_TAIL || a_from[load] + step * STEP < k_end);
}

fn b_quad(load: u32, step: u32) -> vec4<f32> {
    let at = b_at[load] + step * select(STEP * p.b_row, STEP4, TRANS_B);
    return b[select(0u, at, !K_TAIL || b_from[load] + step * STEP < k_end)];
}

fn b_inside(load: u32, step: u32, quad: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(0.0), quad, !K_TAIL || b_from[load] + step * STEP < k_end);
}

@compute @workgroup_size(THREADS)
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
    let m0 = (tile / p.tiles_n) * TILE_M;
    let n0 = (tile % p.tiles_n) * TILE_N;
    let k_first = split * p.k_split;
    let k_last = min(k_first + p.k_split, p.k);
    k_end = k_last;

    // Past an edge the last row or quad is read again; what comes of it is not stored.
    //!unroll
    for (var i = 0u; i < A_LOADS; i++) {
        let q = i * THREADS + t;
        let m = min(m0 + a_position(q), p.m - 1u);
        a_from[i] = k_first + a_k(q);
        let at = select(m * p.a_row + a_from[i] / 4u, a_from[i] * p.a_row + m / 4u, TRANS_A);
        a_at[i] = batch * p.a_batch + at;
    }
    //!unroll
    for (var i = 0u; i < B_LOADS; i++) {
        let q = i * THREADS + t;
        let n = min(n0 + b_position(q), p.n - 1u);
        b_from[i] = k_first + b_k(q);
        let at = select(b_from[i] * p.b_row + n / 4u, n * p.b_row + b_from[i] / 4u, TRANS_B);
        b_at[i] = batch * p.b_batch + at;
    }
    product((k_last - k_first + STEP - 1u) / STEP, t);

    //!unroll
    for (var h = 0u; h < COLUMN_QUADS; h++) {
        let n = n0 + owned(column_thread(t), COLUMN_THREADS, h * 4u);
        var add = vec4<f32>(0.0);
        if (BIAS) {
            add = bias[min(n, p.n - 1u) / 4u];
        }
        //!unroll
        for (var e = 0u; e < ROWS; e++) {
            let m = m0 + owned(row_thread(t), ROW_THREADS, e);
            if (!EDGES || (m < p.m && n < p.n)) {
                let row = ((split * p.batch + batch) * p.m + m) * (p.n / 4u);
                c[row + n / 4u] = activate(sums[e * COLUMN_QUADS + h] + add);
            }
        }
    }
}
