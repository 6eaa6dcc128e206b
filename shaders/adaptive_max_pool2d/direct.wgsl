// The largest element of each part of an image, or where it is: the first in row-major order wins. One thread per
// result.

//!include lib/parts.wgsl

const INDICES: bool = false; // write the index in the plane (as bits) instead of the value

struct Params {
    len: u32, // N * C * P * Q
    h: u32,
    w: u32,
    out_h: u32,
    out_w: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, H, W]
@group(0) @binding(2) var<storage, read_write> y: array<u32>; // [N, C, P, Q], bits of f32 or indices

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
    var best = h_first * p.w + w_first;
    var largest = x[plane + best];
    for (var h = h_first; h < h_end; h++) {
        for (var w = w_first; w < w_end; w++) {
            let value = x[plane + h * p.w + w];
            if (value > largest) {
                largest = value;
                best = h * p.w + w;
            }
        }
    }
    if (INDICES) {
        y[id] = best;
    } else {
        y[id] = bitcast<u32>(largest);
    }
}
