// Cross-entropy of each row of logits: sum over classes of share * (log(sum(exp(x - m))) - (x - m)), and the row's
// weight. Rows are the lines along C of [N, C, I]. One thread per row.

const SOFT: bool = false; // targets are probabilities, not classes
const WEIGHTED: bool = false;

struct Params {
    rows: u32, // N * I
    c: u32,
    inner: u32,
    smoothing: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, I]
@group(0) @binding(2) var<storage, read> labels: array<u32>; // [N, I], or with SOFT bits of f32 [N, C, I]
@group(0) @binding(3) var<storage, read> weight: array<f32>; // [C]
@group(0) @binding(4) var<storage, read_write> losses: array<f32>; // [N, I]
@group(0) @binding(5) var<storage, read_write> weights: array<f32>; // [N, I]

const LOWEST: f32 = -3.4028234e38;

//!include lib/class_share.wgsl

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (id >= p.rows) {
        return;
    }
    let line = (id / p.inner) * p.c * p.inner + id % p.inner;
    var label = 0u;
    if (!SOFT) {
        label = labels[id];
    }
    var largest = LOWEST;
    for (var c = 0u; c < p.c; c++) {
        largest = max(largest, x[line + c * p.inner]);
    }
    // exp(x - m), share * (m - x) and share, summed in short chains.
    var sums = vec3<f32>(0.0);
    var carry = vec3<f32>(0.0);
    for (var c = 0u; c < p.c; c++) {
        let below = largest - x[line + c * p.inner];
        let q = share(line, label, c);
        // A class that does not count must not matter, even at minus infinity.
        sums += vec3<f32>(exp(-below), select(0.0, q * below, q != 0.0), q);
        if (c % 32u == 31u) {
            carry += sums;
            sums = vec3<f32>(0.0);
        }
    }
    sums += carry;
    losses[id] = sums.y + sums.z * log(sums.x);
    weights[id] = row_weight(label);
}
