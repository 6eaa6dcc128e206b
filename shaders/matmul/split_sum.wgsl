// Adds the copies of C that the parts of K left, in order, and finishes the product: bias and activation.

const BIAS: bool = false;
const ACTIVATION: u32 = 0u; // 0 none, 1 relu, 2 sigmoid, 3 tanh

struct Params {
    rows: u32, // batch * M
    n: u32,
    pitch: u32, // columns of a parts row
    splits: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>; // [splits, rows, pitch]
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [N]
@group(0) @binding(3) var<storage, read_write> c: array<f32>; // [rows, N]

//!include lib/activation.wgsl

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let i = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (i >= p.rows * p.n) {
        return;
    }
    let column = i % p.n;
    let at = (i / p.n) * p.pitch + column;
    var sum = 0.0;
    for (var s = 0u; s < p.splits; s++) {
        sum += parts[s * p.rows * p.pitch + at];
    }
    if (BIAS) {
        sum += bias[column];
    }
    c[i] = activate(vec4<f32>(sum)).x;
}
