// dx = y * (dy - sum(y * dy)), or with LOG dx = dy - exp(y) * sum(dy), along rows of [O, D] with D a multiple of 8, for
// 8-lane software adapters: one subgroup per row, an octet of floats per lane and load.

const LOG: bool = false;

struct Params {
    outer: u32,
    octets: u32, // D / 8
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> y: array<vec4<u64>>; // [O, D]
@group(0) @binding(2) var<storage, read> dy: array<vec4<u64>>; // [O, D]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<u64>>; // [O, D]

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
    // Short chains of additions lose less.
    var sums = vec4<f32>(0.0);
    var carry = vec4<f32>(0.0);
    for (var o = lane; o < p.octets; o += 8u) {
        let slopes = dy[row + o];
        if (LOG) {
            sums += evens(slopes) + odds(slopes);
        } else {
            let values = y[row + o];
            sums += evens(values) * evens(slopes) + odds(values) * odds(slopes);
        }
        if ((o / 8u) % 16u == 15u) {
            carry += sums;
            sums = vec4<f32>(0.0);
        }
    }
    sums += carry;
    let sum = subgroupAdd((sums.x + sums.y) + (sums.z + sums.w));
    for (var o = lane; o < p.octets; o += 8u) {
        let slopes = dy[row + o];
        let values = y[row + o];
        if (LOG) {
            dx[row + o] = octet_of(
                evens(slopes) - exp(evens(values)) * sum,
                odds(slopes) - exp(odds(values)) * sum,
            );
        } else {
            dx[row + o] = octet_of(evens(values) * (evens(slopes) - sum), odds(values) * (odds(slopes) - sum));
        }
    }
}
