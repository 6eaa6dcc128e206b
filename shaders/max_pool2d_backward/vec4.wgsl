// dx of max pooling over windows of 2 x 2 side by side in rows whose length is a multiple of 4: a vec4 holds the upper or
// the lower halves of two windows. One thread per two windows.

//!include lib/quotient.wgsl

struct Params {
    len: u32, // N * C * P * Q / 2
    out_w: u32, // Q / 2
    magic: u32, // for quotients by out_w
    shift: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [N, C, 2 P, 2 Q]
@group(0) @binding(2) var<storage, read> dy: array<vec2<f32>>; // [N, C, P, Q]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [N, C, 2 P, 2 Q]

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
    // The first maximum: larger than those before it, not smaller than those behind.
    let slope = dy[id];
    let zero = vec2<f32>(0.0);
    let up = max(upper.xz, upper.yw) >= max(lower.xz, lower.yw);
    let first = select(lower.xz >= lower.yw, upper.xz >= upper.yw, up);
    let left = select(zero, slope, first);
    let right = select(slope, zero, first);
    let a = select(zero, left, up);
    let b = select(zero, right, up);
    let c = select(left, zero, up);
    let d = select(right, zero, up);
    dx[at] = vec4<f32>(a.x, b.x, a.y, b.y);
    dx[at + p.out_w] = vec4<f32>(c.x, d.x, c.y, d.y);
}
