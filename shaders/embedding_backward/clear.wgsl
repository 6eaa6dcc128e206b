// Zeros, for sums to be added to: four per thread, those behind the end in its padding.

struct Params {
    len: u32, // in units of four
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>; // [len]

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (id < p.len) {
        y[id] = vec4<f32>(0.0);
    }
}
