// The smallest key of a value that is not finite: eights of elements are dealt out to all threads in turn, then each
// workgroup joins its threads. For software adapters, which load 64-bit integers best.

struct Params {
    n: u32,
    groups: u32,
    first: u32, // the unit of 64 elements with which the tensors begin
    kind: u32,  // of x0
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x0: array<vec4<u64>>; // [n]
@group(0) @binding(2) var<storage, read> x1: array<vec4<u64>>; // [n]
@group(0) @binding(3) var<storage, read> x2: array<vec4<u64>>; // [n]
@group(0) @binding(4) var<storage, read> x3: array<vec4<u64>>; // [n]
@group(0) @binding(5) var<storage, read> x4: array<vec4<u64>>; // [n]
@group(0) @binding(6) var<storage, read> ranks: array<u32>; // [units]
@group(0) @binding(7) var<storage, read_write> keys: array<u32>; // [groups]

// Elements that are loaded at once.
const WIDTH: u32 = 8u;

// The largest of eight bit patterns, without signs and padding: even and odd elements apart.
fn largest(octet: vec4<u64>, i: u32) -> u32 {
    let at = vec4<u32>(i * 8u) + vec4<u32>(0u, 2u, 4u, 6u);
    let even = select(vec4<u32>(0u), vec4<u32>(octet), at < vec4<u32>(p.n));
    let odd = select(vec4<u32>(0u), vec4<u32>(octet >> vec4<u32>(32u)), at + vec4<u32>(1u) < vec4<u32>(p.n));
    let b = max(even & vec4<u32>(0x7fffffffu), odd & vec4<u32>(0x7fffffffu));
    return max(max(b.x, b.y), max(b.z, b.w));
}

//!include lib/non_finite.wgsl
