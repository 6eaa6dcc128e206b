// dx of the means of 2 x 2 windows side by side in rows whose length is a multiple of 8, for 8-lane software adapters: a
// vec4<u64> holds the upper or the lower halves of four windows. One thread per four windows.

//!include lib/quotient.wgsl
//!include lib/octet.wgsl

struct Params {
    len: u32, // N * C * P * Q / 4
    out_w: u32, // Q / 4
    magic: u32, // for quotients by out_w
    shift: u32,
    divisor: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec2<u64>>; // [N, C, P, Q]
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<u64>>; // [N, C, 2 P, 2 Q]

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
    // Two rows of x for each row of y.
    let at = id + quotient(id, p.magic, p.shift) * p.out_w;
    let low = vec2<u32>(dy[id]);
    let high = vec2<u32>(dy[id] >> vec2<u32>(32u));
    let share = bitcast<vec4<f32>>(vec4<u32>(low.x, high.x, low.y, high.y)) / p.divisor;
    let octet = octet_of(share, share);
    dx[at] = octet;
    dx[at + p.out_w] = octet;
}
