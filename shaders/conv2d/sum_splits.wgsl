// Adds the parts of a convolution (or of a gradient) that different workgroups have summed, in a fixed order, and
// finishes it: bias and activation.

const WG: u32 = 64u;
const BIAS: bool = false;
const ACTIVATION: u32 = 0u; // 0 none, 1 relu, 2 sigmoid, 3 tanh

struct Params {
    len: u32,
    splits: u32,
    channels: u32,
    plane: u32, // elements from one channel to the next
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>; // [splits, len]
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [channels]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [len]

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
    var sum = 0.0;
    for (var split = 0u; split < p.splits; split++) {
        sum += parts[split * p.len + i];
    }
    if (BIAS) {
        sum += bias[i / p.plane % p.channels];
    }
    y[i] = activate(vec4<f32>(sum)).x;
}
