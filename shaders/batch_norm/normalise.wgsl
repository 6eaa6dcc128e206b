// y = ((x - first element) - (mean - first element)) * gamma / std + beta: one thread per element.

const AFFINE: bool = false;
const ACTIVATION: u32 = 0u; // 0 none, 1 relu

struct Params {
    len: u32,
    c: u32,
    l: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, L]
@group(0) @binding(2) var<storage, read> scales: array<f32>; // [3, C]: first element, mean less that, gamma / std
@group(0) @binding(3) var<storage, read> beta: array<f32>; // [C]
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [N, C, L]

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
    let channel = (id / p.l) % p.c;
    var value = ((x[id] - scales[channel]) - scales[p.c + channel]) * scales[2u * p.c + channel];
    if (AFFINE) {
        value += beta[channel];
    }
    if (ACTIVATION == 1u) {
        value = max(value, 0.0);
    }
    y[id] = value;
}
