// dx = y * (dy - sum(y * dy)), or with LOG dx = dy - exp(y) * sum(dy), along rows of [O, D] with D a multiple of 8, for
// 8-lane software adapters: one subgroup per row, which holds it in registers, HELD octets of floats per lane.

const LOG: bool = false;
// D is at most 64 * HELD.
const HELD: u32 = 1u;

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
    // A lane without an octet of its own holds the first again, and leaves it out of the sum.
    var y_even: array<vec4<f32>, HELD>;
    var y_odd: array<vec4<f32>, HELD>;
    var dy_even: array<vec4<f32>, HELD>;
    var dy_odd: array<vec4<f32>, HELD>;
    var sums = vec4<f32>(0.0);
    //!unroll
    for (var j = 0u; j < HELD; j++) {
        let own = lane + 8u * j < p.octets;
        let at = row + select(0u, lane + 8u * j, own);
        let values = y[at];
        let slopes = dy[at];
        y_even[j] = evens(values);
        y_odd[j] = odds(values);
        dy_even[j] = evens(slopes);
        dy_odd[j] = odds(slopes);
        var terms: vec4<f32>;
        if (LOG) {
            terms = dy_even[j] + dy_odd[j];
        } else {
            terms = y_even[j] * dy_even[j] + y_odd[j] * dy_odd[j];
        }
        sums += select(vec4<f32>(0.0), terms, own);
    }
    let sum = subgroupAdd((sums.x + sums.y) + (sums.z + sums.w));
    //!unroll
    for (var j = 0u; j < HELD; j++) {
        let o = lane + 8u * j;
        if (o < p.octets) {
            if (LOG) {
                dx[row + o] = octet_of(dy_even[j] - exp(y_even[j]) * sum, dy_odd[j] - exp(y_odd[j]) * sum);
            } else {
                dx[row + o] = octet_of(y_even[j] * (dy_even[j] - sum), y_odd[j] * (dy_odd[j] - sum));
            }
        }
    }
}
