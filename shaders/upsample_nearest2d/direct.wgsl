// Every result repeats one element. One thread per result.

//!include lib/source.wgsl

struct Params {
    len: u32, // N * C * P * Q
    h: u32,
    w: u32,
    out_h: u32,
    out_w: u32,
    ratio_h: f32,
    ratio_w: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, H, W]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [N, C, P, Q]

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
    let rows = id / p.out_w;
    let h = source_of(rows % p.out_h, p.ratio_h, p.h);
    let w = source_of(id % p.out_w, p.ratio_w, p.w);
    y[id] = x[(rows / p.out_h * p.h + h) * p.w + w];
}
