// Copies regularly spaced elements to a dense result, four neighbours per thread.
const WG: u32 = 64u;
// Axes of the result, 1 to 6. Axis 0 is the innermost.
const RANK: u32 = 6u;

// Sizes, strides and n count units of four elements.
struct Params {
    n: u32,
    offset: u32,
    d0: u32,
    d1: u32,
    d2: u32,
    d3: u32,
    d4: u32,
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
    var at = p.offset;
    if (RANK > 1u) {
        at += (rest % p.d0) * p.s0;
        rest = rest / p.d0;
    }
    if (RANK > 2u) {
        at += (rest % p.d1) * p.s1;
        rest = rest / p.d1;
    }
    if (RANK > 3u) {
        at += (rest % p.d2) * p.s2;
        rest = rest / p.d2;
    }
    if (RANK > 4u) {
        at += (rest % p.d3) * p.s3;
        rest = rest / p.d3;
    }
    if (RANK > 5u) {
        at += (rest % p.d4) * p.s4;
        rest = rest / p.d4;
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
