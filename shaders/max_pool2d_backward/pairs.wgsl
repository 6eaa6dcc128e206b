// dx of max pooling over windows of 2 x 2 side by side in rows of even length, for 8-lane software adapters: a u64
// holds the two upper or the two lower elements of a window. One thread per window.

//!include lib/quotient.wgsl

struct Params {
    len: u32, // N * C * P * Q
    out_w: u32,
    magic: u32, // for quotients by out_w
    shift: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u64>; // [N, C, 2 P, 2 Q]
@group(0) @binding(2) var<storage, read> dy: array<f32>; // [N, C, P, Q]
@group(0) @binding(3) var<storage, read_write> dx: array<u64>; // [N, C, 2 P, 2 Q]

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
    let upper = x[at];
    let lower = x[at + p.out_w];
    let a = bitcast<f32>(u32(upper));
    let b = bitcast<f32>(u32(upper >> 32u));
    let c = bitcast<f32>(u32(lower));
    let d = bitcast<f32>(u32(lower >> 32u));
    // The first maximum: larger than those before it, not smaller than those behind.
    let slope = u64(bitcast<u32>(dy[id]));
    let top = max(a, b);
    let bottom = max(c, d);
    let up = top >= bottom;
    let first = select(c >= d, a >= b, up);
    let pair = select(slope << 32u, slope, first);
    dx[at] = select(0lu, pair, up);
    dx[at + p.out_w] = select(pair, 0lu, up);
}
