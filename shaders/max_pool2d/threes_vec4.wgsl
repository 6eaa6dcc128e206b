// Windows of 3 x 3, two apart, with padding 1, in rows whose length is a multiple of 8: the
// largest elements, or where they are. One thread per four results.

const INDICES: bool = false; // write the index in the plane (as bits) instead of the value

//!include lib/first_maximum.wgsl
//!include lib/quotient.wgsl

struct Params {
    len: u32, // N * C * P * Q / 4
    h: u32,
    octets: u32, // W / 8
    out_h: u32,
    magic_w: u32, // for quotients by octets
    shift_w: u32,
    magic_h: u32, // for quotients by out_h
    shift_h: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [N, C, H, W]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u32>>; // [N, C, P, Q], bits of f32 or indices

// The maxima of one row of the windows that lie over octet `column` of row h, and those before it.
fn along_row(plane: u32, h: u32, column: u32) -> First {
    let at = (plane * p.h + h) * p.octets + column;
    let left_half = x[2u * at];
    let right_half = x[2u * at + 1u];
    let even = vec4<f32>(left_half.xz, right_half.xz);
    let odd = vec4<f32>(left_half.yw, right_half.yw);
    // Before the first column, that column again: a repeated element changes no maximum.
    let before = x[2u * (at - min(column, 1u)) + 1u].w;
    let odd_before = vec4<f32>(select(before, even.x, column == 0u), odd.xyz);
    let w = (h * p.octets + column) * 8u + vec4<u32>(0u, 2u, 4u, 6u);
    let first = First(odd_before, w - vec4<u32>(select(1u, 0u, column == 0u), 1u, 1u, 1u));
    return or_later(or_later(first, even, w), odd, w + 1u);
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
    let rows = quotient(id, p.magic_w, p.shift_w);
    let plane = quotient(rows, p.magic_h, p.shift_h);
    let column = id - rows * p.octets;
    let row = rows - plane * p.out_h;
    // Outside of the image, the nearest row again.
    let upper = along_row(plane, max(2u * row, 1u) - 1u, column);
    let middle = along_row(plane, 2u * row, column);
    let lower = along_row(plane, min(2u * row + 1u, p.h - 1u), column);
    let all = or_later(or_later(upper, middle.value, middle.at), lower.value, lower.at);
    let bits = select(bitcast<vec4<u32>>(all.value), all.at, INDICES);
    y[id] = bits;
}
