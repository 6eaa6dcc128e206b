// Sums over the rows of [R, K] for 8-lane software adapters: a subgroup adds up some rows of 64 columns, an octet of floats per
// lane and load, in four chains.

struct Params {
    r: u32,
    k8: u32, // octets of a row
    per_part: u32, // rows that one subgroup adds up
    parts: u32,
    divisor: f32, // 1, or the number of elements where this gives the mean
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [R, K]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u64>>; // [parts, K]

//!include lib/octet.wgsl

@compute @workgroup_size(8)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = wid.x + wid.y * nwg.x;
    let panel = id / p.parts;
    let k = panel * 8u + lane;
    if (panel * 8u >= p.k8 || k >= p.k8) {
        return;
    }
    let first = (id % p.parts) * p.per_part;
    let end = min(first + p.per_part, p.r);
    var even: array<vec4<f32>, 4>;
    var odd: array<vec4<f32>, 4>;
    for (var row = first; row < end; row += 4u) {
        //!unroll
        for (var c = 0u; c < 4u; c++) {
            if (row + c < end) {
                let octet = x[(row + c) * p.k8 + k];
                even[c] += evens(octet);
                odd[c] += odds(octet);
            }
        }
    }
    let all_even = (even[0] + even[1]) + (even[2] + even[3]);
    let all_odd = (odd[0] + odd[1]) + (odd[2] + odd[3]);
    y[(id % p.parts) * p.k8 + k] = octet_of(all_even / p.divisor, all_odd / p.divisor);
}
