// Writes out, for each result of a convolution, the pixels that it is a sum of: a matrix of as many rows as taps of all
// channels, with a column per result, those of all images one after the other. It lies in panels of 64 columns.
//
// Each invocation fills an octet of columns for all taps of one channel.

const WG: u32 = 64u;

struct Params {
    octets: u32, // of a row: columns / 8, rounded up
    columns: u32, // N * P * Q
    plane: u32, // P * Q
    out_columns: u32, // Q
    channels: u32,
    height: u32,
    width: u32,
    r: u32,
    s: u32,
    stride_h: u32,
    stride_w: u32,
    dilation_h: u32,
    dilation_w: u32,
    pad_top: i32,
    pad_left: i32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, H, W]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u64>>; // [columns / 64, C, R, S, 64]

//!include lib/octet.wgsl

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * WG + lane;
    if (id >= p.octets * p.channels) {
        return;
    }
    let channel = id / p.octets;
    let octet = id - channel * p.octets;

    // Where the first tap of each column meets its image.
    var image = octet * 8u / p.plane;
    let pixel = octet * 8u - image * p.plane;
    var row = pixel / p.out_columns;
    var column = pixel - row * p.out_columns;
    let rows = p.plane / p.out_columns;
    var top: array<i32, 8>;
    var left: array<i32, 8>;
    var first: array<u32, 8>;
    //!unroll
    for (var e = 0u; e < 8u; e++) {
        // Columns past the last one meet nothing.
        top[e] = select(i32(p.height), i32(row * p.stride_h) - p.pad_top, octet * 8u + e < p.columns);
        left[e] = i32(column * p.stride_w) - p.pad_left;
        first[e] = (image * p.channels + channel) * p.height * p.width;
        column++;
        let next_row = column == p.out_columns;
        column = select(column, 0u, next_row);
        row = select(row, row + 1u, next_row);
        let next_image = row == rows;
        row = select(row, 0u, next_image);
        image = select(image, image + 1u, next_image);
    }

    let taps = p.r * p.s;
    var at = (octet / 8u * p.channels + channel) * taps * 8u + octet % 8u;
    for (var r = 0u; r < p.r; r++) {
        for (var s = 0u; s < p.s; s++) {
            var v: array<f32, 8>;
            //!unroll
            for (var e = 0u; e < 8u; e++) {
                // What lies above or left of the image becomes a large number.
                let h = u32(top[e] + i32(r * p.dilation_h));
                let w = u32(left[e] + i32(s * p.dilation_w));
                let inside = h < p.height && w < p.width;
                let value = x[select(0u, first[e] + h * p.width + w, inside)];
                v[e] = select(0.0, value, inside);
            }
            y[at] = octet_of(vec4<f32>(v[0], v[2], v[4], v[6]), vec4<f32>(v[1], v[3], v[5], v[7]));
            at += 8u;
        }
    }
}
