// dx of average pooling: each element adds up dy / divisor of the windows that cover it. One thread per element.

const DIVISOR: u32 = 0u; // 0: positions inside the padded image, 1: inside the image, 2: p.divisor

struct Params {
    len: u32, // N * C * H * W
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
@group(0) @binding(1) var<storage, read> dy: array<f32>; // [N, C, P, Q]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // [N, C, H, W]

// How many positions of a window that starts at `start` count along an axis.
fn extent(start: u32, kernel: u32, size: u32, pad: u32) -> u32 {
    if (DIVISOR == 0u) {
        return min(start + kernel, size + 2u * pad) - start;
    }
    return min(start + kernel, size + pad) - max(start, pad);
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
    let h = (id / p.w) % p.h + p.pad_h;
    let w = id % p.w + p.pad_w;
    let plane = id / (p.h * p.w) * p.out_h * p.out_w;
    let row_first = select(0u, (h - p.kernel_h) / p.stride_h + 1u, h >= p.kernel_h);
    let col_first = select(0u, (w - p.kernel_w) / p.stride_w + 1u, w >= p.kernel_w);
    let row_end = min(h / p.stride_h + 1u, p.out_h);
    let col_end = min(w / p.stride_w + 1u, p.out_w);
    var sum = 0.0;
    for (var row = row_first; row < row_end; row++) {
        let high = extent(row * p.stride_h, p.kernel_h, p.h, p.pad_h);
        for (var col = col_first; col < col_end; col++) {
            let wide = extent(col * p.stride_w, p.kernel_w, p.w, p.pad_w);
            let count = select(high * wide, p.divisor, DIVISOR == 2u);
            sum += dy[plane + row * p.out_w + col] / f32(count);
        }
    }
    dx[id] = sum;
}
