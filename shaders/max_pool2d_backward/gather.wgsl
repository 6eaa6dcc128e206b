// dx of max pooling: each element adds up dy of the windows whose first maximum it is. One thread per element.

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
    dilation_h: u32,
    dilation_w: u32,
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
    let plane = id / (p.h * p.w) * p.out_h * p.out_w;
    let h = inside / p.w + p.pad_h;
    let w = inside % p.w + p.pad_w;
    // The windows that can reach the element start at most (kernel - 1) * dilation before it.
    let reach_h = (p.kernel_h - 1u) * p.dilation_h;
    let reach_w = (p.kernel_w - 1u) * p.dilation_w;
    let row_first = select(0u, (h - reach_h + p.stride_h - 1u) / p.stride_h, h > reach_h);
    let col_first = select(0u, (w - reach_w + p.stride_w - 1u) / p.stride_w, w > reach_w);
    let row_end = min(h / p.stride_h + 1u, p.out_h);
    let col_end = min(w / p.stride_w + 1u, p.out_w);
    var sum = 0.0;
    for (var row = row_first; row < row_end; row++) {
        for (var col = col_first; col < col_end; col++) {
            let at = plane + row * p.out_w + col;
            if (found[at] == inside) {
                sum += dy[at];
            }
        }
    }
    dx[id] = sum;
}
