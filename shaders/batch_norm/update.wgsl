// Running statistics: r = (1 - momentum) * r + momentum * batch statistic; the variance as an unbiased estimate.

struct Params {
    c: u32,
    momentum: f32,
    unbias: f32, // n / (n - 1)
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> mean: array<f32>; // [C]
@group(0) @binding(2) var<storage, read> variance: array<f32>; // [C]
@group(0) @binding(3) var<storage, read_write> running_mean: array<f32>; // [C]
@group(0) @binding(4) var<storage, read_write> running_var: array<f32>; // [C]

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (id >= p.c) {
        return;
    }
    let keep = 1.0 - p.momentum;
    running_mean[id] = keep * running_mean[id] + p.momentum * mean[id];
    running_var[id] = keep * running_var[id] + p.momentum * (variance[id] * p.unbias);
}
