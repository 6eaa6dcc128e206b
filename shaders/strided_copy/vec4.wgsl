// Copies regularly spaced elements to a dense result, four neighbours per thread.
//!include lib/quotient.wgsl

const WG: u32 = 64u;
// Axes of the result, 1 to 6. Axis 0 is the innermost.
const RANK: u32 = 6u;

// Sizes, strides and n count units of four elements.
// m and h belong to d, see `quotient`.
struct Params {
    n: u32,
    offset: u32,
    d0: u32,
    m0: u32,
    h0: u32,
    d1: u32,
    m1: u32,
    h1: u32,
    d2: u32,
    m2: u32,
    h2: u32,
    d3: u32,
    m3: u32,
    h3: u32,
    d4: u32,
    m4: u32,
    h4: u32,
    s0: u32,
    s1: u32,
    s2: u32,
    s3: u32,
    s4: u32,
    s5: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>; // any
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u32>>; // [.., d2, d1, d0]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (wid.x + wid.y * nwg.x) * WG + lane;
    if (i >= p.n) {
        return;
    }
    var rest = i;
    var outer = 0u;
    var at = p.offset;
    if (RANK > 1u) {
        outer = quotient(rest, p.m0, p.h0);
        at += (rest - outer * p.d0) * p.s0;
        rest = outer;
    }
    if (RANK > 2u) {
        outer = quotient(rest, p.m1, p.h1);
        at += (rest - outer * p.d1) * p.s1;
        rest = outer;
    }
    if (RANK > 3u) {
        outer = quotient(rest, p.m2, p.h2);
        at += (rest - outer * p.d2) * p.s2;
        rest = outer;
    }
    if (RANK > 4u) {
        outer = quotient(rest, p.m3, p.h3);
        at += (rest - outer * p.d3) * p.s3;
        rest = outer;
    }
    if (RANK > 5u) {
        outer = quotient(rest, p.m4, p.h4);
        at += (rest - outer * p.d4) * p.s4;
        rest = outer;
    }
    var outermost = p.s0;
    if (RANK == 2u) {
        outermost = p.s1;
    } else if (RANK == 3u) {
        outermost = p.s2;
    } else if (RANK == 4u) {
        outermost = p.s3;
    } else if (RANK == 5u) {
        outermost = p.s4;
    } else if (RANK == 6u) {
        outermost = p.s5;
    }
    y[i] = x[at + rest * outermost];
}
