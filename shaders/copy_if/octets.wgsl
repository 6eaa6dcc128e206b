// Copies all or nothing, four times eight words per thread, for software adapters: they load 64-bit integers best.
const WG: u32 = 64u;
// Whether a tensor says if anything is copied, instead of a parameter.
const TENSOR: bool = true;

//!include lib/octet_range.wgsl

struct Params {
    n: u32,
    wanted: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [n]
@group(0) @binding(2) var<storage, read> found: array<u32>; // []
@group(0) @binding(3) var<storage, read_write> y: array<vec4<u64>>; // [n]

// Few threads have little to do when nothing is copied.
const TIMES: u32 = 4u;

fn copy(i: u32) {
    if (i * 8u >= p.n) {
        return;
    }
    let words = x[i];
    // What lies behind the end stays zero.
    let even = select(vec4<u32>(0u), vec4<u32>(words), evens_inside(i, 0u, p.n));
    let odd = select(vec4<u32>(0u), vec4<u32>(words >> vec4<u32>(32u)), odds_inside(i, 0u, p.n));
    y[i] = vec4<u64>(even) | (vec4<u64>(odd) << vec4<u32>(32u));
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    var wanted = p.wanted;
    if (TENSOR) {
        wanted = found[0];
    }
    if (wanted == 0u) {
        return;
    }
    let first = (wid.x + wid.y * nwg.x) * WG * TIMES + lane;
    //!unroll
    for (var k = 0u; k < TIMES; k++) {
        copy(first + k * WG);
    }
}
