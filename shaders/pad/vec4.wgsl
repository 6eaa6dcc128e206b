// Surrounds a tensor with a constant, four neighbours per thread.
//!include lib/quotient.wgsl

const WG: u32 = 64u;
// Axes, 1 to 6. Axis 0 is the innermost.
const RANK: u32 = 6u;

// n and the sizes of axis 0 count units of four elements.
struct Params {
    n: u32,
    value: u32, // the bits of the constant
    d0: u32,    // sizes of y, with what `quotient` takes
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
    b0: u32, // where x begins in y
    b1: u32,
    b2: u32,
    b3: u32,
    b4: u32,
    b5: u32,
    x0: u32, // sizes of x
    x1: u32,
    x2: u32,
    x3: u32,
    x4: u32,
    x5: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>; // [.., x1, x0]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u32>>; // [.., d1, d0]

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
    // Coordinates in x, innermost first; those before its beginning wrap around to huge numbers.
    var rest = i;
    var outer = 0u;
    var c = rest;
    if (RANK > 1u) {
        outer = quotient(rest, p.m0, p.h0);
        c = rest - outer * p.d0;
        rest = outer;
    }
    c -= p.b0;
    var inside = c < p.x0;
    var at = c;
    var stride = p.x0;
    if (RANK > 1u) {
        c = rest;
        if (RANK > 2u) {
            outer = quotient(rest, p.m1, p.h1);
            c = rest - outer * p.d1;
            rest = outer;
        }
        c -= p.b1;
        inside = inside && c < p.x1;
        at += c * stride;
        stride *= p.x1;
    }
    if (RANK > 2u) {
        c = rest;
        if (RANK > 3u) {
            outer = quotient(rest, p.m2, p.h2);
            c = rest - outer * p.d2;
            rest = outer;
        }
        c -= p.b2;
        inside = inside && c < p.x2;
        at += c * stride;
        stride *= p.x2;
    }
    if (RANK > 3u) {
        c = rest;
        if (RANK > 4u) {
            outer = quotient(rest, p.m3, p.h3);
            c = rest - outer * p.d3;
            rest = outer;
        }
        c -= p.b3;
        inside = inside && c < p.x3;
        at += c * stride;
        stride *= p.x3;
    }
    if (RANK > 4u) {
        c = rest;
        if (RANK > 5u) {
            outer = quotient(rest, p.m4, p.h4);
            c = rest - outer * p.d4;
            rest = outer;
        }
        c -= p.b4;
        inside = inside && c < p.x4;
        at += c * stride;
        stride *= p.x4;
    }
    if (RANK > 5u) {
        c = rest - p.b5;
        inside = inside && c < p.x5;
        at += c * stride;
    }
    var v = vec4<u32>(p.value);
    if (inside) {
        v = x[at];
    }
    y[i] = v;
}
