// dx of adaptive max pooling: each element adds up dy of the parts whose first maximum it is. One thread per element.

//!include lib/parts.wgsl

struct Params {
    len: u32, // N * C * H * W
    h: u32,
    w: u32,
    out_h: u32,
    out_w: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>; // [N, C, P, Q]
@group(0) @binding(2) var<storage, read> found: array<u32>; // [N, C, P, Q], index of the maximum in its plane
@group(0) @binding(3) var<storage, read_write> dx: array<f32>; // [N, C, H, W]

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
    let inside = id % (p.h * p.w);
    let h = inside / p.w;
    let w = inside % p.w;
    let plane = id / (p.h * p.w) * p.out_h * p.out_w;
    let row_end = part_end(h, p.out_h, p.h);
    let column_first = part_first(w, p.out_w, p.w);
    let column_end = part_end(w, p.out_w, p.w);
    var sum = 0.0;
    for (var row = part_first(h, p.out_h, p.h); row < row_end; row++) {
        for (var column = column_first; column < column_end; column++) {
            let at = plane + row * p.out_w + column;
            if (found[at] == inside) {
                sum += dy[at];
            }
        }
    }
    dx[id] = sum;
}
