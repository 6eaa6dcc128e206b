// dx of nearest-neighbour resampling: each element adds up dy of the results that repeat it. One thread per element.

//!include lib/source.wgsl

struct Params {
    len: u32, // N * C * H * W
    h: u32,
    w: u32,
    out_h: u32,
    out_w: u32,
    ratio_h: f32,
    ratio_w: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>; // [N, C, P, Q]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // [N, C, H, W]

// The first of `count` results that repeats element h or one behind it: an estimate, corrected by the rounding that
// source_of does.
fn first_from(h: u32, ratio: f32, size: u32, count: u32) -> u32 {
    if (h == 0u || h == size) {
        return select(0u, count, h == size);
    }
    var i = u32(min(f32(h) / ratio, f32(count)));
    while (i > 0u && source_of(i - 1u, ratio, size) >= h) {
        i--;
    }
    while (i < count && source_of(i, ratio, size) < h) {
        i++;
    }
    return i;
}

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
    let rows = id / p.w;
    let h = rows % p.h;
    let w = id % p.w;
    let plane = rows / p.h * p.out_h;
    let row_end = first_from(h + 1u, p.ratio_h, p.h, p.out_h);
    let column_first = first_from(w, p.ratio_w, p.w, p.out_w);
    let column_end = first_from(w + 1u, p.ratio_w, p.w, p.out_w);
    var sum = 0.0;
    for (var row = first_from(h, p.ratio_h, p.h, p.out_h); row < row_end; row++) {
        var line = 0.0;
        for (var column = column_first; column < column_end; column++) {
            line += dy[(plane + row) * p.out_w + column];
        }
        sum += line;
    }
    dx[id] = sum;
}
