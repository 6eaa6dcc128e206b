// C[b] = A[b] x B[b] where A has at most 8 rows: the time goes into reading B. Neighbouring threads read neighbours in
// memory, each element of B is read once and serves all rows, and the sums of threads that share columns are added
// through workgroup memory. Any strides, so the host may let A and B change places.

const ROWS: u32 = 8u; // rows that are computed, M or more
const LANES_ALONG_K: bool = false; // neighbouring elements of B lie along k, not along n
const K_THREADS: u32 = 8u; // threads that share columns, a power of 2
const BIAS: bool = false;
const ACTIVATION: u32 = 0u; // 0 none, 1 relu, 2 sigmoid, 3 tanh

const THREADS: u32 = 128u;
const COLUMN_THREADS: u32 = THREADS / K_THREADS; // of 4 columns each

struct Params {
    batch: u32,
    m: u32,
    n: u32,
    k: u32,
    splits: u32, // parts of K, each summed by its own workgroups into its own copy of C
    k_split: u32, // length of a part
    tiles: u32, // along N
    a_m: u32,
    a_k: u32,
    a_batch: u32,
    b_k: u32,
    b_n: u32,
    b_batch: u32,
    c_m: u32,
    c_n: u32,
    bias_m: u32, // the bias goes along m or along n
    bias_n: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>; // [batch, M, K] or [batch, K, M]
@group(0) @binding(2) var<storage, read> b: array<f32>; // [batch, K, N] or [batch, N, K]
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [M] or [N]
@group(0) @binding(4) var<storage, read_write> c: array<f32>; // [splits, batch, M, N] or [splits, batch, N, M]

//!include lib/activation.wgsl

var<workgroup> parts: array<vec4<f32>, ROWS * THREADS>;

var<private> sums: array<vec4<f32>, ROWS>;
var<private> a_at: array<u32, ROWS>;
var<private> b_at: vec4<u32>;

fn add(k: u32) {
    let at = b_at + k * p.b_k;
    let y = vec4<f32>(b[at.x], b[at.y], b[at.z], b[at.w]);
    //!unroll
    for (var m = 0u; m < ROWS; m++) {
        sums[m] += a[a_at[m] + k * p.a_k] * y;
    }
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(local_invocation_index) t: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = wid.x + wid.y * nwg.x;
    if (id >= p.tiles * p.splits * p.batch) {
        return;
    }
    let split = (id / p.tiles) % p.splits;
    let batch = id / (p.tiles * p.splits);
    let k_thread = select(t / COLUMN_THREADS, t % K_THREADS, LANES_ALONG_K);
    let column = select(t % COLUMN_THREADS, t / K_THREADS, LANES_ALONG_K);
    // Past an edge the last row or column is read again; what comes of it is not stored.
    let n = vec4<u32>(id % p.tiles * COLUMN_THREADS * 4u + column) + vec4<u32>(0u, 1u, 2u, 3u) * COLUMN_THREADS;
    b_at = batch * p.b_batch + min(n, vec4<u32>(p.n - 1u)) * p.b_n;
    //!unroll
    for (var m = 0u; m < ROWS; m++) {
        a_at[m] = batch * p.a_batch + min(m, p.m - 1u) * p.a_m;
    }

    let k_end = min((split + 1u) * p.k_split, p.k);
    var k = split * p.k_split + k_thread;
    // Four steps at a time: their loads are under way together.
    for (; k + 3u * K_THREADS < k_end; k += 4u * K_THREADS) {
        add(k);
        add(k + K_THREADS);
        add(k + 2u * K_THREADS);
        add(k + 3u * K_THREADS);
    }
    for (; k < k_end; k += K_THREADS) {
        add(k);
    }

    let mine = column * K_THREADS + k_thread;
    //!unroll
    for (var m = 0u; m < ROWS; m++) {
        parts[m * THREADS + mine] = sums[m];
    }
    workgroupBarrier();
    for (var half = K_THREADS / 2u; half > 0u; half /= 2u) {
        if (k_thread < half) {
            //!unroll
            for (var m = 0u; m < ROWS; m++) {
                parts[m * THREADS + mine] += parts[m * THREADS + mine + half];
            }
        }
        workgroupBarrier();
    }
    if (k_thread != 0u) {
        return;
    }
    let c_first = (split * p.batch + batch) * p.m * p.n;
    //!unroll
    for (var m = 0u; m < ROWS; m++) {
        var add_to = vec4<f32>(0.0);
        if (BIAS) {
            let at = min(m, p.m - 1u) * p.bias_m + min(n, vec4<u32>(p.n - 1u)) * p.bias_n;
            add_to = vec4<f32>(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
        }
        let y = activate(parts[m * THREADS + mine] + add_to);
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            if (m < p.m && n[j] < p.n) {
                c[c_first + m * p.c_m + n[j] * p.c_n] = y[j];
            }
        }
    }
}
