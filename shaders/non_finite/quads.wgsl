// The smallest key of a value that is not finite: fours of elements are dealt out to all threads in turn, then each
// workgroup joins its threads.

struct Params {
    n: u32,
    groups: u32,
    first: u32, // the unit of 64 elements with which the tensors begin
    kind: u32,  // of x0
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x0: array<vec4<u32>>; // [n]
@group(0) @binding(2) var<storage, read> x1: array<vec4<u32>>; // [n]
@group(0) @binding(3) var<storage, read> x2: array<vec4<u32>>; // [n]
@group(0) @binding(4) var<storage, read> x3: array<vec4<u32>>; // [n]
@group(0) @binding(5) var<storage, read> x4: array<vec4<u32>>; // [n]
@group(0) @binding(6) var<storage, read> ranks: array<u32>; // [units]
@group(0) @binding(7) var<storage, read_write> keys: array<u32>; // [groups]

// Elements that are loaded at once.
const WIDTH: u32 = 4u;

// The largest of four bit patterns, without signs and padding.
fn largest(bits: vec4<u32>, i: u32) -> u32 {
    let inside = vec4<u32>(i * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.n);
    let b = select(vec4<u32>(0u), bits & vec4<u32>(0x7fffffffu), inside);
    return max(max(b.x, b.y), max(b.z, b.w));
}

//!include lib/non_finite.wgsl
