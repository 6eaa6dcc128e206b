// y[p.y_at ..] = x[p.x_at ..], or zeros.

const ZEROS: bool = false;
const WG: u32 = 64u;

struct Params {
    len: u32,
    x_at: u32,
    y_at: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [..]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [..]

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
    if (ZEROS) {
        y[p.y_at + i] = 0.0;
    } else {
        y[p.y_at + i] = x[p.x_at + i];
    }
}
