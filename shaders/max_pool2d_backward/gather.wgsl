// dx of max pooling: each element adds up dy of the windows whose first maximum it is. One thread per element.

const BY_TAP: bool = false; // go through the places in a window, not the windows: there are fewer with dilation

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
    var sum = 0.0;
    if (BY_TAP) {
        for (var r = 0u; r < p.kernel_h; r++) {
            let top = h - r * p.dilation_h;
            let row = top / p.stride_h;
            if (h < r * p.dilation_h) {
                break;
            }
            if (row * p.stride_h != top || row >= p.out_h) {
                continue;
            }
            for (var s = 0u; s < p.kernel_w; s++) {
                let left = w - s * p.dilation_w;
                let column = left / p.stride_w;
                if (w < s * p.dilation_w) {
                    break;
                }
                let at = plane + row * p.out_w + column;
                if (column * p.stride_w == left && column < p.out_w && found[at] == inside) {
                    sum += dy[at];
                }
            }
        }
    } else {
        let row_first = select(0u, (h - p.kernel_h) / p.stride_h + 1u, h >= p.kernel_h);
        let column_first = select(0u, (w - p.kernel_w) / p.stride_w + 1u, w >= p.kernel_w);
        let row_end = min(h / p.stride_h + 1u, p.out_h);
        let column_end = min(w / p.stride_w + 1u, p.out_w);
        for (var row = row_first; row < row_end; row++) {
            for (var column = column_first; column < column_end; column++) {
                let at = plane + row * p.out_w + column;
                if (found[at] == inside) {
                    sum += dy[at];
                }
            }
        }
    }
    dx[id] = sum;
}
