// Means of 2 x 2 windows side by side in rows whose length is a multiple of 4, for 8-lane software adapters: a vec2<u64>
// holds the upper or the lower halves of two windows. One thread per two results.

//!include lib/quotient.wgsl

struct Params {
    len: u32, // N * C * P * Q / 2
    out_w: u32, // Q / 2
    magic: u32, // for quotients by out_w
    shift: u32,
    divisor: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec2<u64>>; // [N, C, 2 P, 2 Q]
@group(0) @binding(2) var<storage, read_write> y: array<vec2<f32>>; // [N, C, P, Q]

fn sum(pairs: vec2<u64>) -> vec2<f32> {
    return bitcast<vec2<f32>>(vec2<u32>(pairs)) + bitcast<vec2<f32>>(vec2<u32>(pairs >> vec2<u32>(32u)));
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
    // Two rows of x for each row of y.
    let at = id + quotient(id, p.magic, p.shift) * p.out_w;
    y[id] = (sum(x[at]) + sum(x[at + p.out_w])) / p.divisor;
}
