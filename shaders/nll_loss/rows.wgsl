// The negative logarithm of the probability of each row's class, times the class's weight, and the row's weight. Rows are
// the lines along C of [N, C, I]. One thread per row.

const SOFT: bool = false; // targets are classes
const WEIGHTED: bool = false;

struct Params {
    rows: u32, // N * I
    c: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, I]
@group(0) @binding(2) var<storage, read> labels: array<u32>; // [N, I]
@group(0) @binding(3) var<storage, read> weight: array<f32>; // [C]
@group(0) @binding(4) var<storage, read_write> losses: array<f32>; // [N, I]
@group(0) @binding(5) var<storage, read_write> weights: array<f32>; // [N, I]

//!include lib/class_weight.wgsl

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
    let label = labels[id];
    var loss = 0.0;
    if (label < p.c) {
        loss = -weight_of(label) * x[((id / p.inner) * p.c + label) * p.inner + id % p.inner];
    } else if (label != IGNORED) {
        // No class: the loss must not look right. Any word with these bits is NaN.
        loss = bitcast<f32>(0x7fc00000u | label);
    }
    losses[id] = loss;
    weights[id] = row_weight(label);
}
