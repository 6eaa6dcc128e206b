// The gradient of a convolution's image from that of its gathered columns: each pixel is the sum of all places that it
// was gathered to.

const WG: u32 = 64u;
const STRIDE_H: u32 = 1u;
const STRIDE_W: u32 = 1u;

struct Params {
    len: u32, // N * C * H * W
    channels: u32,
    height: u32,
    width: u32,
    out_rows: u32, // P
    out_columns: u32, // Q
    pitch: u32, // columns of a row of a part
    splits: u32,
    part: u32, // elements of a part
    r: u32,
    s: u32,
    dilation_h: u32,
    dilation_w: u32,
    pad_top: i32,
    pad_left: i32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>; // [splits, C, R, S, pitch]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // [N, C, H, W]

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let i = (wid.x + wid.y * nwg.x) * WG + lane;
    if (i >= p.len) {
        return;
    }
    let image_row = i / p.width;
    let w = i - image_row * p.width;
    let plane = image_row / p.height;
    let h = image_row - plane * p.height;
    let image = plane / p.channels;
    let channel = plane - image * p.channels;
    let first = channel * p.r * p.s * p.pitch + image * p.out_rows * p.out_columns;

    var sum = 0.0;
    for (var r = 0u; r < p.r; r++) {
        // What lies above or left of all results becomes a large number.
        let down = u32(i32(h) + p.pad_top - i32(r * p.dilation_h));
        let row = down / STRIDE_H;
        let meets_row = row * STRIDE_H == down && row < p.out_rows;
        for (var s = 0u; s < p.s; s++) {
            let right = u32(i32(w) + p.pad_left - i32(s * p.dilation_w));
            let column = right / STRIDE_W;
            let meets = meets_row && column * STRIDE_W == right && column < p.out_columns;
            let at = select(0u, first + (r * p.s + s) * p.pitch + row * p.out_columns + column, meets);
            for (var split = 0u; split < p.splits; split++) {
                let value = parts[split * p.part + at];
                sum += select(0.0, value, meets);
            }
        }
    }
    dx[i] = sum;
}
