// Blends one vector into another, four elements per thread.
const WG: u32 = 64u;

struct Params {
    n: u32,
    keep: f32,
    share: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [n]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // [n]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (wid.x + wid.y * nwg.x) * WG + lane;
    if (i * 4u >= p.n) {
        return;
    }
    // What lies behind the end stays zero.
    let inside = vec4<u32>(i * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.n);
    y[i] = select(vec4<f32>(0.0), p.keep * y[i] + p.share * x[i], inside);
}
