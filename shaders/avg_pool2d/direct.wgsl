// The mean of each window: one thread per result; the window is clipped to the image once.

const DIVISOR: u32 = 0u; // 0: positions inside the padded image, 1: inside the image, 2: p.divisor

struct Params {
    len: u32, // N * C * P * Q
    h: u32,
    w: u32,
    out_h: u32,
    out_w: u32,
    kernel_h: u32,
    kernel_w: u32,
    stride_h: u32,
    stride_w: u32,
    pad_h: u32,
    pad_w: u32,
    divisor: u32,
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
    let q = id % p.out_w;
    let row = (id / p.out_w) % p.out_h;
    let plane = id / (p.out_w * p.out_h) * p.h * p.w;
    // Positions count from the padding's upper left corner.
    let top = row * p.stride_h;
    let left = q * p.stride_w;
    let bottom = min(top + p.kernel_h, p.h + 2u * p.pad_h);
    let right = min(left + p.kernel_w, p.w + 2u * p.pad_w);
    let h_first = max(top, p.pad_h);
    let w_first = max(left, p.pad_w);
    let h_end = min(bottom, p.h + p.pad_h);
    let w_end = min(right, p.w + p.pad_w);
    var sum = 0.0;
    for (var h = h_first; h < h_end; h++) {
        // A sum per row keeps the chains of additions short.
        var line = 0.0;
        for (var w = w_first; w < w_end; w++) {
            line += x[plane + (h - p.pad_h) * p.w + w - p.pad_w];
        }
        sum += line;
    }
    var count = (bottom - top) * (right - left);
    if (DIVISOR == 1u) {
        count = (h_end - h_first) * (w_end - w_first);
    } else if (DIVISOR == 2u) {
        count = p.divisor;
    }
    y[id] = sum / f32(count);
}
