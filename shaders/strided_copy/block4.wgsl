// Copies regularly spaced elements to a dense result where another axis than the result's innermost is contiguous in
// the source: each thread transposes 4 x 4 elements in registers, so both sides move four elements at once.
const WG: u32 = 64u;

// All in units of four elements, but for n (threads), d0 to d2 (sizes of the other axes, innermost first).
struct Params {
    n: u32,
    offset: u32,
    inner: u32,        // the result's innermost axis
    inner_stride: u32, // from element to element in the source
    across: u32,       // the axis that is contiguous in the source
    across_pitch: u32, // from element to element in the result
    d0: u32,
    d1: u32,
    d2: u32,
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
    let a = i % p.inner;
    var rest = i / p.inner;
    let b = rest % p.across;
    rest = rest / p.across;
    let c0 = rest % p.d0;
    rest = rest / p.d0;
    let c1 = rest % p.d1;
    rest = rest / p.d1;
    let c2 = rest % p.d2;
    let c3 = rest / p.d2;

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
