// dx = (g - mean(g) - x^ * mean(g * x^)) / std along rows of [R, D] with D a multiple of 8, where g = dy * gamma and x^ is
// the normalised x, for 8-lane software adapters: one subgroup per row, which holds it in registers, HELD
// octets of floats per lane.

// D is at most 64 * HELD.
const HELD: u32 = 1u;
// What gamma has an element for: 0 there is none, 1 each of a row's elements, 2 `inner` >= 8 neighbours.
const AFFINE: u32 = 0u;

struct Params {
    rows: u32,
    octets: u32, // D / 8
    inner: u32, // with what `quotient` takes
    magic: u32,
    shift: u32,
    channels: u32, // D / inner
    groups: u32, // rows after which gamma begins anew
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [R, D]
@group(0) @binding(2) var<storage, read> dy: array<vec4<u64>>; // [R, D]
@group(0) @binding(3) var<storage, read> variance: array<f32>; // [R]
@group(0) @binding(4) var<storage, read> gamma: array<vec4<u64>>; // [groups * channels]
@group(0) @binding(5) var<storage, read_write> scales: array<f32>; // [3, R]: first element, mean less that, 1 / std
@group(0) @binding(6) var<storage, read_write> dx: array<vec4<u64>>; // [R, D]

//!include lib/octet.wgsl
//!include lib/octet_channels.wgsl

fn sum4(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

@compute @workgroup_size(8)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let row = wid.x + wid.y * nwg.x;
    if (row >= p.rows) {
        return;
    }
    let at = row * p.octets;
    let first = (row % p.groups) * p.channels;
    let shift = evens(x[at]).x;
    // x, g and g * x, with x from the row's first element. A lane without an octet of its own takes the first again, and
    // leaves it out.
    var x_even: array<vec4<f32>, HELD>;
    var x_odd: array<vec4<f32>, HELD>;
    var g_even: array<vec4<f32>, HELD>;
    var g_odd: array<vec4<f32>, HELD>;
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    //!unroll
    for (var j = 0u; j < HELD; j++) {
        let own = lane + 8u * j < p.octets;
        let o = select(0u, lane + 8u * j, own);
        let values = x[at + o];
        let slopes = dy[at + o];
        let w = weights(first, o);
        x_even[j] = evens(values) - shift;
        x_odd[j] = odds(values) - shift;
        g_even[j] = evens(slopes) * w.even;
        g_odd[j] = odds(slopes) * w.odd;
        s0 += select(vec4<f32>(0.0), x_even[j] + x_odd[j], own);
        s1 += select(vec4<f32>(0.0), g_even[j] + g_odd[j], own);
        s2 += select(vec4<f32>(0.0), g_even[j] * x_even[j] + g_odd[j] * x_odd[j], own);
    }
    let count = f32(8u * p.octets);
    let offset = subgroupAdd(sum4(s0)) / count;
    let mean_g = subgroupAdd(sum4(s1)) / count;
    let mean_gx = subgroupAdd(sum4(s2)) / count;
    let rstd = 1.0 / sqrt(variance[row] + p.eps);
    let slope = (mean_gx - offset * mean_g) * rstd * rstd;
    if (lane == 0u) {
        scales[row] = shift;
        scales[p.rows + row] = offset;
        scales[2u * p.rows + row] = rstd;
    }
    //!unroll
    for (var j = 0u; j < HELD; j++) {
        let o = lane + 8u * j;
        if (o < p.octets) {
            dx[at + o] = octet_of(
                rstd * ((g_even[j] - mean_g) - (x_even[j] - offset) * slope),
                rstd * ((g_odd[j] - mean_g) - (x_odd[j] - offset) * slope),
            );
        }
    }
}
