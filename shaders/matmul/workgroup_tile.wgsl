// C[b] = A[b] x B[b] for discrete GPUs: tiles in workgroup memory. Any shape and layout, one float at a time.

const TRANS_A: bool = false; // A is stored as [K, M]: neighbouring threads read along m
const TRANS_B: bool = false; // B is stored as [N, K]: neighbouring threads read along k
const EDGES: bool = true; // M and N are not whole tiles
const K_TAIL: bool = true; // a part of K is not whole steps
const BIAS: bool = false;
const ACTIVATION: u32 = 0u; // 0 none, 1 relu, 2 sigmoid, 3 tanh

const A_ALONG_K: bool = true;
const A_LANES_ALONG_K: bool = !TRANS_A;
const B_ALONG_K: bool = true;
const B_LANES_ALONG_K: bool = TRANS_B;
const BLOCKED: bool = false;

struct Params {
    batch: u32,
    m: u32,
    n: u32,
    k: u32,
    splits: u32, // parts of K, each summed by its own workgroups into its own copy of C
    k_split: u32, // length of a part, a multiple of STEP
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

//!include lib/workgroup_product.wgsl
//!include lib/activation.wgsl

// Of the first step: where this thread's quads begin, and at which k.
var<private> a_at: array<u32, A_LOADS>;
var<private> a_from: array<u32, A_LOADS>;
var<private> b_at: array<u32, B_LOADS>;
var<private> b_from: array<u32, B_LOADS>;
var<private> k_end: u32;

fn prepare(step: u32) {}

fn below_end(first: u32, step: u32) -> vec4<bool> {
    return vec4<u32>(first + step * STEP) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(k_end);
}

fn a_quad(load: u32, step: u32) -> vec4<f32> {
    let at = vec4<u32>(a_at[load] + step * STEP * p.a_k) + vec4<u32>(0u, 1u, 2u, 3u) * p.a_k;
    let safe = select(vec4<u32>(0u), at, vec4<bool>(!K_TAIL) | below_end(a_from[load], step));
    return vec4<f32>(a[safe.x], a[safe.y], a[safe.z], a[safe.w]);
}

fn a_inside(load: u32, step: u32, quad: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(0.0), quad, vec4<bool>(!K_TAIL) | below_end(a_from[load], step));
}

fn b_quad(load: u32, step: u32) -> vec4<f32> {
    let at = vec4<u32>(b_at[load] + step * STEP * p.b_k) + vec4<u32>(0u, 1u, 2u, 3u) * p.b_k;
    let safe = select(vec4<u32>(0u), at, vec4<bool>(!K_TAIL) | below_end(b_from[load], step));
    return vec4<f32>(b[safe.x], b[safe.y], b[safe.z], b[safe.w]);
}

fn b_inside(load: u32, step: u32, quad: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(0.0), quad, vec4<bool>(!K_TAIL) | below_end(b_from[load], step));
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

    // Past an edge the last row or column is read again; what comes of it is not stored.
    //!unroll
    for (var i = 0u; i < A_LOADS; i++) {
        let q = i * THREADS + t;
        a_from[i] = k_first + a_k(q);
        a_at[i] = batch * p.a_batch + min(m0 + a_position(q), p.m - 1u) * p.a_m + a_from[i] * p.a_k;
    }
    //!unroll
    for (var i = 0u; i < B_LOADS; i++) {
        let q = i * THREADS + t;
        b_from[i] = k_first + b_k(q);
        b_at[i] = batch * p.b_batch + min(n0 + b_position(q), p.n - 1u) * p.b_n + b_from[i] * p.b_k;
    }
    product((k_last - k_first + STEP - 1u) / STEP, t);

    //!unroll
    for (var h = 0u; h < COLUMN_QUADS; h++) {
        let n = vec4<u32>(
            owned(column_thread(t), COLUMN_THREADS, h * 4u),
            owned(column_thread(t), COLUMN_THREADS, h * 4u + 1u),
            owned(column_thread(t), COLUMN_THREADS, h * 4u + 2u),
            owned(column_thread(t), COLUMN_THREADS, h * 4u + 3u),
        ) + n0;
        var add = vec4<f32>(0.0);
        if (BIAS) {
            let last = min(n, vec4<u32>(p.n - 1u));
            add = vec4<f32>(bias[last.x], bias[last.y], bias[last.z], bias[last.w]);
        }
        //!unroll
        for (var e = 0u; e < ROWS; e++) {
            let m = m0 + owned(row_thread(t), ROW_THREADS, e);
            let y = activate(sums[e * COLUMN_QUADS + h] + add);
            let row = ((split * p.batch + batch) * p.m + m) * p.n;
            //!unroll
            for (var j = 0u; j < 4u; j++) {
                if (!EDGES || (m < p.m && n[j] < p.n)) {
                    c[row + n[j]] = y[j];
                }
            }
        }
    }
}
