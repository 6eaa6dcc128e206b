// Adds the parts of a weight gradient that different workgroups have summed, in a fixed order.

const WG: u32 = 64u;

struct Params {
    len: u32, // K * C * R * S
    splits: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>; // [splits, K, C, R, S]
@group(0) @binding(2) var<storage, read_write> dw: array<f32>; // [K, C, R, S]

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
    dw[i] = sum;
}
