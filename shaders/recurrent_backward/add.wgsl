// carry's second half += dc of a step. One thread per element.

const WG: u32 = 64u;

struct Params {
    size: u32, // B * H
    t: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dc: array<f32>; // [T, B, H]
@group(0) @binding(2) var<storage, read_write> carry: array<f32>; // [2, B, H]: dh; dc

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let i = (wid.x + wid.y * nwg.x) * WG + lane;
    if (i < p.size) {
        carry[p.size + i] += dc[p.t * p.size + i];
    }
}
