// y = (x - mean) / std * gamma + beta along rows of [R, D] with D a multiple of 8, with the mean and the biased variance
// of each row, for 8-lane software adapters: one subgroup per row, which holds it in registers, HELD octets of floats
// per lane. Values count from the row's first element, so a large mean costs no digits.

// D is at most 64 * HELD.
const HELD: u32 = 1u;
// What gamma and beta have an element for: 0 there are none, 1 each of a row's elements, 2 `inner` >= 8 neighbours.
const AFFINE: u32 = 0u;
const ACTIVATION: u32 = 0u; // 0 none, 1 relu

struct Params {
    rows: u32,
    octets: u32, // D / 8
    inner: u32, // with what `quotient` takes
    magic: u32,
    shift: u32,
    channels: u32, // D / inner
    groups: u32, // rows after which gamma and beta begin anew
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [R, D]
@group(0) @binding(2) var<storage, read> gamma: array<vec4<u64>>; // [groups * channels]
@group(0) @binding(3) var<storage, read> beta: array<vec4<u64>>; // [groups * channels]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<u64>>; // [R, D]
@group(0) @binding(5) var<storage, read_write> variance: array<f32>; // [R]

//!include lib/octet.wgsl
//!include lib/octet_channels.wgsl

fn sum4(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

fn biases(first: u32, o: u32) -> Factors {
    if (AFFINE == 1u) {
        let b = beta[first / 8u + o];
        return Factors(evens(b), odds(b));
    }
    if (AFFINE == 2u) {
        let channels = channels_of(o);
        let c = first + channels.x;
        let d = first + channels.y;
        return spread(o, channels, vec2<f32>(element(beta[c / 8u], c % 8u), element(beta[d / 8u], d % 8u)));
    }
    return Factors(vec4<f32>(0.0), vec4<f32>(0.0));
}

fn finish(value: vec4<f32>) -> vec4<f32> {
    return select(value, max(value, vec4<f32>(0.0)), ACTIVATION == 1u);
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
    let count = f32(8u * p.octets);
    let shift = evens(x[at]).x;
    // A lane without an octet of its own holds the first again, and leaves it out.
    var even: array<vec4<f32>, HELD>;
    var odd: array<vec4<f32>, HELD>;
    var sums = vec4<f32>(0.0);
    //!unroll
    for (var j = 0u; j < HELD; j++) {
        let own = lane + 8u * j < p.octets;
        let octet = x[at + select(0u, lane + 8u * j, own)];
        even[j] = evens(octet) - shift;
        odd[j] = odds(octet) - shift;
        sums += select(vec4<f32>(0.0), even[j] + odd[j], own);
    }
    let offset = subgroupAdd(sum4(sums)) / count;
    sums = vec4<f32>(0.0);
    //!unroll
    for (var j = 0u; j < HELD; j++) {
        even[j] -= offset;
        odd[j] -= offset;
        sums += select(vec4<f32>(0.0), even[j] * even[j] + odd[j] * odd[j], lane + 8u * j < p.octets);
    }
    let biased = subgroupAdd(sum4(sums)) / count;
    if (lane == 0u) {
        variance[row] = biased;
    }
    let scale = 1.0 / sqrt(biased + p.eps);
    let first = (row % p.groups) * p.channels;
    //!unroll
    for (var j = 0u; j < HELD; j++) {
        let o = lane + 8u * j;
        if (o < p.octets) {
            let w = weights(first, o);
            let b = biases(first, o);
            y[at + o] = octet_of(
                finish(even[j] * scale * w.even + b.even),
                finish(odd[j] * scale * w.odd + b.odd),
            );
        }
    }
}
