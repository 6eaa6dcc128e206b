// The mean of each part of an image. One thread per result.

//!include lib/parts.wgsl

struct Params {
    len: u32, // N * C * P * Q
    h: u32,
    w: u32,
    out_h: u32,
    out_w: u32,
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
    let column = id % p.out_w;
    let row = (id / p.out_w) % p.out_h;
    let plane = id / (p.out_w * p.out_h) * p.h * p.w;
    let h_first = part_first(row, p.h, p.out_h);
    let h_end = part_end(row, p.h, p.out_h);
    let w_first = part_first(column, p.w, p.out_w);
    let w_end = part_end(column, p.w, p.out_w);
    var sum = 0.0;
    for (var h = h_first; h < h_end; h++) {
        // A sum per row keeps the chains of additions short.
        var line = 0.0;
        for (var w = w_first; w < w_end; w++) {
            line += x[plane + h * p.w + w];
        }
        sum += line;
    }
    y[id] = sum / f32((h_end - h_first) * (w_end - w_first));
}
