// y = exp(x - m) / sum(exp(x - m)), or x - m - log(sum(exp(x - m))), along rows of [O, D] with D a multiple of 8, for
// 8-lane software adapters: one subgroup per row, which holds it in registers, HELD octets of floats per lane.

const LOG: bool = false;
// D is at most 64 * HELD.
const HELD: u32 = 1u;

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
    // A lane without an octet of its own holds the first again, and leaves it out of the sum.
    var even: array<vec4<f32>, HELD>;
    var odd: array<vec4<f32>, HELD>;
    var highest = vec4<f32>(LOWEST);
    //!unroll
    for (var j = 0u; j < HELD; j++) {
        let octet = x[row + select(0u, lane + 8u * j, lane + 8u * j < p.octets)];
        even[j] = evens(octet);
        odd[j] = odds(octet);
        highest = max(highest, max(even[j], odd[j]));
    }
    let largest = subgroupMax(max(max(highest.x, highest.y), max(highest.z, highest.w)));
    var sums = vec4<f32>(0.0);
    //!unroll
    for (var j = 0u; j < HELD; j++) {
        if (LOG) {
            let terms = exp(even[j] - largest) + exp(odd[j] - largest);
            sums += select(vec4<f32>(0.0), terms, lane + 8u * j < p.octets);
        } else {
            even[j] = exp(even[j] - largest);
            odd[j] = exp(odd[j] - largest);
            sums += select(vec4<f32>(0.0), even[j] + odd[j], lane + 8u * j < p.octets);
        }
    }
    let sum = subgroupAdd((sums.x + sums.y) + (sums.z + sums.w));
    // Nothing but minus infinity: no probability anywhere.
    let empty = sum == 0.0;
    let divisor = select(sum, 1.0, empty);
    let lower = select(largest, 0.0, empty);
    let rest = log(divisor);
    //!unroll
    for (var j = 0u; j < HELD; j++) {
        let o = lane + 8u * j;
        if (o < p.octets) {
            if (LOG) {
                y[row + o] = octet_of(even[j] - lower - rest, odd[j] - lower - rest);
            } else {
                y[row + o] = octet_of(even[j] / divisor, odd[j] / divisor);
            }
        }
    }
}
