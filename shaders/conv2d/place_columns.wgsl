// Brings the product of weights and gathered columns to its place: columns are results of all images one after the
// other, images have their channels outside. Parts of a split sum are added in order; then bias and activation.

const WG: u32 = 64u;
const BIAS: bool = false;
const ACTIVATION: u32 = 0u; // 0 none, 1 relu, 2 sigmoid, 3 tanh

struct Params {
    len: u32, // N * K * plane
    channels: u32, // K
    plane: u32, // P * Q
    pitch: u32, // columns of a row of a part
    splits: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>; // [splits, K, pitch]
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [K]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [N, K, P, Q]

//!include lib/activation.wgsl

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let i = (wid.x + wid.y * nwg.x) * WG + lane;
    if (i >= p.len) {
        return;
    }
    let row = i / p.plane; // of all images
    let image = row / p.channels;
    let channel = row - image * p.channels;
    let at = channel * p.pitch + image * p.plane + i - row * p.plane;
    var sum = 0.0;
    for (var split = 0u; split < p.splits; split++) {
        sum += parts[split * p.channels * p.pitch + at];
    }
    if (BIAS) {
        sum += bias[channel];
    }
    y[i] = activate(vec4<f32>(sum)).x;
}
