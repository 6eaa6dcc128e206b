// y = exp(x - m) / sum(exp(x - m)), or x - m - log(sum(exp(x - m))), along rows of [O, D] with D a multiple of 8, for
// 8-lane software adapters: one subgroup per row, an octet of floats per lane and load.

const LOG: bool = false;

struct Params {
    outer: u32,
    octets: u32, // D / 8
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [O, D]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u64>>; // [O, D]

const LOWEST: f32 = -3.4028234e38;

//!include lib/octet.wgsl

@compute @workgroup_size(8)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = wid.x + wid.y * nwg.x;
    if (id >= p.outer) {
        return;
    }
    let row = id * p.octets;
    var highest = vec4<f32>(LOWEST);
    for (var o = lane; o < p.octets; o += 8u) {
        let octet = x[row + o];
        highest = max(highest, max(evens(octet), odds(octet)));
    }
    let largest = subgroupMax(max(max(highest.x, highest.y), max(highest.z, highest.w)));
    // Short chains of additions lose less.
    var sums = vec4<f32>(0.0);
    var carry = vec4<f32>(0.0);
    for (var o = lane; o < p.octets; o += 8u) {
        let octet = x[row + o];
        sums += exp(evens(octet) - largest) + exp(odds(octet) - largest);
        if ((o / 8u) % 16u == 15u) {
            carry += sums;
            sums = vec4<f32>(0.0);
        }
    }
    sums += carry;
    let sum = subgroupAdd((sums.x + sums.y) + (sums.z + sums.w));
    // Nothing but minus infinity: no probability anywhere.
    let empty = sum == 0.0;
    let divisor = select(sum, 1.0, empty);
    let lower = select(largest, 0.0, empty);
    let rest = log(divisor);
    for (var o = lane; o < p.octets; o += 8u) {
        let octet = x[row + o];
        let even = evens(octet) - lower;
        let odd = odds(octet) - lower;
        if (LOG) {
            y[row + o] = octet_of(even - rest, odd - rest);
        } else {
            y[row + o] = octet_of(exp(even) / divisor, exp(odd) / divisor);
        }
    }
}
