// C[b] = A[b] x B[b], for adapters that run a subgroup of exactly 8 lanes as one vector register. The including kernel
// declares `c` and `put(row, n8, even, odd)`, which stores columns 8 * n8 and those after it in the row that begins at `row`.
//
// Each lane owns 8 neighbouring columns of a TILE_M x 64 tile. Every load fetches different data in every lane
// (one vec4<u64> = 8 floats); the values of A that all lanes need come by shuffle.
//
// Every row starts on an octet (8 floats, 32 bytes); rows that do not are packed into scratch first.
// In a vec4<u64> octet the low halves are elements 0, 2, 4, 6 and the high halves 1, 3, 5, 7.

const TILE_M: u32 = 32u; // a multiple of 8
const TRANS_A: bool = false; // A is stored as [K, M]
const TRANS_B: bool = false; // B is stored as [N, K]
const K_TAIL: bool = false; // K is not a multiple of 8: rows of [K, ..] operands past K count as 0
const BIAS: bool = false;
const BIAS_ROWS: bool = false; // the bias is [M], one value per row
const ACTIVATION: u32 = 0u; // 0 none, 1 relu, 2 sigmoid, 3 tanh

const GROUPS: u32 = TILE_M / 8u;

struct Params {
    batch: u32,
    m: u32,
    n: u32,
    k: u32,
    splits: u32, // parts of K, each summed by its own workgroups into its own copy of C
    k_split: u32, // length of a part, a multiple of 8
    tiles_m: u32,
    tiles_n: u32,
    a_row: u32, // the strides of A and B are in octets, those of C in elements of its array
    a_batch: u32,
    b_row: u32,
    b_tile: u32, // from one 64 columns to the next; without TRANS_B
    b_batch: u32,
    c_row: u32,
    c_batch: u32,
    c_split: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<u64>>; // [batch, M, K], or [batch, K, M] with TRANS_A
@group(0) @binding(2) var<storage, read> b: array<vec4<u64>>; // [batch, K, N] or panels [batch, N / 64, K, 64], or [batch, N, K] with TRANS_B
@group(0) @binding(3) var<storage, read> bias: array<vec4<u64>>; // [N], or [M] with BIAS_ROWS

//!include lib/octet.wgsl
//!include lib/activation.wgsl

@compute @workgroup_size(8)
fn main(
    @builtin(local_invocation_index) lane: u32,
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
    let m0 = (tile % p.tiles_m) * TILE_M;
    let tile_n = tile / p.tiles_m;
    let n8 = tile_n * 8u + lane;
    let k_first = split * p.k_split;
    let k_end = min(k_first + p.k_split, p.k);

    // Lanes past an edge read the last row or column again; what they compute is not stored.
    var a_at: array<u32, GROUPS>;
    //!unroll
    for (var g = 0u; g < GROUPS; g++) {
        if (TRANS_A) {
            a_at[g] = batch * p.a_batch + min(m0 / 8u + g, (p.m + 7u) / 8u - 1u);
        } else {
            a_at[g] = batch * p.a_batch + min(m0 + g * 8u + lane, p.m - 1u) * p.a_row;
        }
    }
    var b_at: array<u32, 8>;
    //!unroll
    for (var j = 0u; j < 8u; j++) {
        if (TRANS_B) {
            b_at[j] = batch * p.b_batch + min(n8 * 8u + j, p.n - 1u) * p.b_row;
        } else {
            b_at[j] = batch * p.b_batch + tile_n * p.b_tile + min(n8, (p.n + 7u) / 8u - 1u) - tile_n * 8u;
        }
    }

    var acc_lo: array<vec4<f32>, TILE_M>;
    var acc_hi: array<vec4<f32>, TILE_M>;
    //!unroll
    for (var r = 0u; r < TILE_M; r++) {
        acc_lo[r] = vec4<f32>(0.0);
        acc_hi[r] = vec4<f32>(0.0);
    }

    for (var k = k_first; k < k_end; k += 8u) {
        // Row j of the 8 x 64 block of B: columns 0, 2, 4, 6 of this lane in lo, 1, 3, 5, 7 in hi.
        var b_lo: array<vec4<f32>, 8>;
        var b_hi: array<vec4<f32>, 8>;
        if (TRANS_B) {
            var t_lo: array<vec4<f32>, 8>;
            var t_hi: array<vec4<f32>, 8>;
            //!unroll
            for (var j = 0u; j < 8u; j++) {
                let octet = b[b_at[j] + k / 8u];
                t_lo[j] = evens(octet);
                t_hi[j] = odds(octet);
            }
            //!unroll
            for (var j = 0u; j < 4u; j++) {
                b_lo[j * 2u] = vec4<f32>(t_lo[0][j], t_lo[2][j], t_lo[4][j], t_lo[6][j]);
                b_hi[j * 2u] = vec4<f32>(t_lo[1][j], t_lo[3][j], t_lo[5][j], t_lo[7][j]);
                b_lo[j * 2u + 1u] = vec4<f32>(t_hi[0][j], t_hi[2][j], t_hi[4][j], t_hi[6][j]);
                b_hi[j * 2u + 1u] = vec4<f32>(t_hi[1][j], t_hi[3][j], t_hi[5][j], t_hi[7][j]);
            }
        } else {
            //!unroll
            for (var j = 0u; j < 8u; j++) {
                if (K_TAIL) {
                    let octet = b[b_at[j] + min(k + j, p.k - 1u) * p.b_row];
                    b_lo[j] = select(vec4<f32>(0.0), evens(octet), k + j < k_end);
                    b_hi[j] = select(vec4<f32>(0.0), odds(octet), k + j < k_end);
                } else {
                    let octet = b[b_at[j] + (k + j) * p.b_row];
                    b_lo[j] = evens(octet);
                    b_hi[j] = odds(octet);
                }
            }
        }
        let p0 = b_lo[0];
        let q0 = b_hi[0];
        let p1 = b_lo[1];
        let q1 = b_hi[1];
        let p2 = b_lo[2];
        let q2 = b_hi[2];
        let p3 = b_lo[3];
        let q3 = b_hi[3];
        let p4 = b_lo[4];
        let q4 = b_hi[4];
        let p5 = b_lo[5];
        let q5 = b_hi[5];
        let p6 = b_lo[6];
        let q6 = b_hi[6];
        let p7 = b_lo[7];
        let q7 = b_hi[7];
        // One statement per row and half, all eight steps of k: compilers work longer on more, shorter ones.
        //!unroll
        for (var g = 0u; g < GROUPS; g++) {
            if (TRANS_A) {
                // This lane holds row k + lane of the stored A: 8 rows of the tile.
                let octet = a[a_at[g] + select(k + lane, min(k + lane, p.k - 1u), K_TAIL) * p.a_row];
                let a_lo = select(vec4<f32>(0.0), evens(octet), !K_TAIL || k + lane < k_end);
                let a_hi = select(vec4<f32>(0.0), odds(octet), !K_TAIL || k + lane < k_end);
                let t0 = subgroupShuffle(a_lo, 0u);
                let u0 = subgroupShuffle(a_hi, 0u);
                let t1 = subgroupShuffle(a_lo, 1u);
                let u1 = subgroupShuffle(a_hi, 1u);
                let t2 = subgroupShuffle(a_lo, 2u);
                let u2 = subgroupShuffle(a_hi, 2u);
                let t3 = subgroupShuffle(a_lo, 3u);
                let u3 = subgroupShuffle(a_hi, 3u);
                let t4 = subgroupShuffle(a_lo, 4u);
                let u4 = subgroupShuffle(a_hi, 4u);
                let t5 = subgroupShuffle(a_lo, 5u);
                let u5 = subgroupShuffle(a_hi, 5u);
                let t6 = subgroupShuffle(a_lo, 6u);
                let u6 = subgroupShuffle(a_hi, 6u);
                let t7 = subgroupShuffle(a_lo, 7u);
                let u7 = subgroupShuffle(a_hi, 7u);
                //!unroll
                for (var i = 0u; i < 4u; i++) {
                    acc_lo[g * 8u + i * 2u] += t0[i] * p0 + t1[i] * p1 + t2[i] * p2 + t3[i] * p3
                        + t4[i] * p4 + t5[i] * p5 + t6[i] * p6 + t7[i] * p7;
                    acc_hi[g * 8u + i * 2u] += t0[i] * q0 + t1[i] * q1 + t2[i] * q2 + t3[i] * q3
                        + t4[i] * q4 + t5[i] * q5 + t6[i] * q6 + t7[i] * q7;
                    acc_lo[g * 8u + i * 2u + 1u] += u0[i] * p0 + u1[i] * p1 + u2[i] * p2 + u3[i] * p3
                        + u4[i] * p4 + u5[i] * p5 + u6[i] * p6 + u7[i] * p7;
                    acc_hi[g * 8u + i * 2u + 1u] += u0[i] * q0 + u1[i] * q1 + u2[i] * q2 + u3[i] * q3
                        + u4[i] * q4 + u5[i] * q5 + u6[i] * q6 + u7[i] * q7;
                }
            } else {
                // This lane holds row g * 8 + lane of the tile: 8 values along k.
                let octet = a[a_at[g] + k / 8u];
                let a_lo = evens(octet);
                let a_hi = odds(octet);
                //!unroll
                for (var r = 0u; r < 8u; r++) {
                    let t = subgroupShuffle(a_lo, r);
                    let u = subgroupShuffle(a_hi, r);
                    acc_lo[g * 8u + r] += t.x * p0 + u.x * p1 + t.y * p2 + u.y * p3
                        + t.z * p4 + u.z * p5 + t.w * p6 + u.w * p7;
                    acc_hi[g * 8u + r] += t.x * q0 + u.x * q1 + t.y * q2 + u.y * q3
                        + t.z * q4 + u.z * q5 + t.w * q6 + u.w * q7;
                }
            }
        }
    }

    var bias_lo = vec4<f32>(0.0);
    var bias_hi = vec4<f32>(0.0);
    if (BIAS) {
        let octet = bias[min(n8, (p.n + 7u) / 8u - 1u)];
        bias_lo = evens(octet);
        bias_hi = odds(octet);
    }
    var rows_lo: vec4<f32>;
    var rows_hi: vec4<f32>;
    if (BIAS_ROWS) {
        let octet = bias[min(m0 / 8u + lane, (p.m + 7u) / 8u - 1u)];
        rows_lo = evens(octet);
        rows_hi = odds(octet);
    }
    let c_at = split * p.c_split + batch * p.c_batch;
    //!unroll
    for (var r = 0u; r < TILE_M; r++) {
        if (BIAS_ROWS) {
            let row = vec4<f32>(subgroupShuffle(select(rows_hi, rows_lo, r % 2u == 0u)[r % 8u / 2u], r / 8u));
            acc_lo[r] += row;
            acc_hi[r] += row;
        }
        if (m0 + r < p.m && n8 * 8u < p.n) {
            put(c_at + (m0 + r) * p.c_row, n8, activate(acc_lo[r] + bias_lo), activate(acc_hi[r] + bias_hi));
        }
    }
}
