// The divisor of the weighted mean: the sum of all rows' weights, one sum per workgroup.

const SOFT: bool = false; // targets are probabilities, not classes
const WEIGHTED: bool = false;

struct Params {
    rows: u32,
    c: u32,
    inner: u32,
    groups: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> labels: array<u32>; // [N, I], or with SOFT bits of f32 [N, C, I]
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [C]
@group(0) @binding(3) var<storage, read_write> divisor: array<f32>; // [groups]

//!include lib/class_weight.wgsl
//!include lib/tree64.wgsl

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>) {
    var sum = 0.0;
    var carry = 0.0;
    var trips = 0u;
    for (var i = wid.x * 64u + lane; i < p.rows; i += p.groups * 64u) {
        var label = 0u;
        if (!SOFT) {
            label = labels[i];
        }
        sum += row_weight(label);
        // Short chains lose less.
        trips += 1u;
        if (trips % 32u == 0u) {
            carry += sum;
            sum = 0.0;
        }
    }
    let total = tree_sum(lane, carry + sum);
    if (lane == 0u) {
        divisor[wid.x] = total;
    }
}
