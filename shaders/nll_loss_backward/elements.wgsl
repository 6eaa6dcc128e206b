// dx = -g * weight of the class where it is the row's, else 0; g is dy of the row, or dy of the whole over the divisor of
// the mean. Rows are the lines along C of [N, C, I]. One thread per element.

const WEIGHTED: bool = false;
const SOFT: bool = false; // targets are classes
const MEAN: bool = false;
const EACH: bool = false; // each row has its dy

struct Params {
    len: u32,
    c: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> labels: array<u32>; // [N, I]
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [C]
@group(0) @binding(3) var<storage, read> dy: array<f32>; // [], or with EACH [N, I]
@group(0) @binding(4) var<storage, read> divisor: array<f32>; // []
@group(0) @binding(5) var<storage, read_write> dx: array<f32>; // [N, C, I]

//!include lib/class_weight.wgsl

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (id >= p.len) {
        return;
    }
    let line = id / p.inner;
    let row = (line / p.c) * p.inner + (id - line * p.inner);
    let label = labels[row];
    var value = 0.0;
    if (label == line % p.c) {
        var g = dy[0];
        if (EACH) {
            g = dy[row];
        }
        if (MEAN) {
            g /= divisor[0];
        }
        value = -g * weight_of(label);
    } else if (label >= p.c && label != IGNORED) {
        // No class: the gradient must not look right. Any word with these bits is NaN.
        value = bitcast<f32>(0x7fc00000u | label);
    }
    dx[id] = value;
}
