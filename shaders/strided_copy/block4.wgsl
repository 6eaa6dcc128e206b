// Copies regularly spaced elements to a dense result where another axis than the result's innermost is contiguous in
// the source: each thread transposes 4 x 4 elements in registers, so both sides move four elements at once.
//!include lib/quotient.wgsl

const WG: u32 = 64u;

// All in units of four elements, but for n (threads), and d2 to d4 (sizes of the other axes, innermost first).
// m and h belong to d, see `quotient`.
struct Params {
    n: u32,
    offset: u32,
    inner_stride: u32, // from element to element of the result's innermost axis, in the source
    across_pitch: u32, // from element to element of the axis that is contiguous in the source, in the result
    d0: u32,           // the result's innermost axis
    m0: u32,
    h0: u32,
    d1: u32, // the axis that is contiguous in the source
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
    s0: u32, // strides of the other axes in the source
    s1: u32,
    s2: u32,
    s3: u32,
    t0: u32, // and in the result
    t1: u32,
    t2: u32,
    t3: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>; // any
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u32>>; // [.., across, .., inner]

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
    let i1 = quotient(i, p.m0, p.h0);
    let i2 = quotient(i1, p.m1, p.h1);
    let i3 = quotient(i2, p.m2, p.h2);
    let i4 = quotient(i3, p.m3, p.h3);
    let c3 = quotient(i4, p.m4, p.h4);
    let a = i - i1 * p.d0;
    let b = i1 - i2 * p.d1;
    let c0 = i2 - i3 * p.d2;
    let c1 = i3 - i4 * p.d3;
    let c2 = i4 - c3 * p.d4;

    let from_stride = p.inner_stride;
    let read_at = p.offset + 4u * a * from_stride + b + c0 * p.s0 + c1 * p.s1 + c2 * p.s2 + c3 * p.s3;
    let r0 = x[read_at];
    let r1 = x[read_at + from_stride];
    let r2 = x[read_at + 2u * from_stride];
    let r3 = x[read_at + 3u * from_stride];

    let pitch = p.across_pitch;
    let write_at = a + 4u * b * pitch + c0 * p.t0 + c1 * p.t1 + c2 * p.t2 + c3 * p.t3;
    y[write_at] = vec4<u32>(r0.x, r1.x, r2.x, r3.x);
    y[write_at + pitch] = vec4<u32>(r0.y, r1.y, r2.y, r3.y);
    y[write_at + 2u * pitch] = vec4<u32>(r0.z, r1.z, r2.z, r3.z);
    y[write_at + 3u * pitch] = vec4<u32>(r0.w, r1.w, r2.w, r3.w);
}
