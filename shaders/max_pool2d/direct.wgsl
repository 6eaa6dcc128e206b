// The largest element of each window, or where it is. One thread per result; the window is clipped to the image once,
// and the first maximum in row-major order wins.

const INDICES: bool = false; // write the index in the plane (as bits) instead of the value

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
    dilation_h: u32,
    dilation_w: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, H, W]
@group(0) @binding(2) var<storage, read_write> y: array<u32>; // [N, C, P, Q], bits of f32 or indices

// The first tap whose position start + tap * dilation - pad is not negative.
fn first_tap(start: u32, pad: u32, dilation: u32) -> u32 {
    if (start >= pad) {
        return 0u;
    }
    return (pad - start + dilation - 1u) / dilation;
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
    let q = id % p.out_w;
    let row = (id / p.out_w) % p.out_h;
    let plane = id / (p.out_w * p.out_h) * p.h * p.w;
    let top = row * p.stride_h;
    let left = q * p.stride_w;
    let r_first = first_tap(top, p.pad_h, p.dilation_h);
    let s_first = first_tap(left, p.pad_w, p.dilation_w);

    var best = (top + r_first * p.dilation_h - p.pad_h) * p.w + left + s_first * p.dilation_w - p.pad_w;
    var largest = x[plane + best];
    for (var r = r_first; r < p.kernel_h; r++) {
        let h = top + r * p.dilation_h - p.pad_h;
        if (h >= p.h) {
            break;
        }
        for (var s = s_first; s < p.kernel_w; s++) {
            let w = left + s * p.dilation_w - p.pad_w;
            if (w >= p.w) {
                break;
            }
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
