// dx = a * (dy - b - (x - mean) * d), for 8-lane software adapters: a subgroup takes PLANES neighbouring planes of L
// elements, whose ends together lie on octets.

const PLANES: u32 = 1u; // 1 where L is a multiple of 8, 2 where it is one of 4

struct Params {
    planes: u32, // N * C
    c: u32,
    l: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [N, C, L]
@group(0) @binding(2) var<storage, read> dy: array<vec4<u64>>; // [N, C, L]
@group(0) @binding(3) var<storage, read> scales: array<f32>; // [5, C]: first element, mean less that, a, b, d
@group(0) @binding(4) var<storage, read_write> dx: array<vec4<u64>>; // [N, C, L]

//!include lib/octet.wgsl

@compute @workgroup_size(8)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let plane = (wid.x + wid.y * nwg.x) * PLANES;
    if (plane >= p.planes) {
        return;
    }
    // The coefficients of the first and of the last plane.
    var first: array<f32, 5>;
    var last: array<f32, 5>;
    //!unroll
    for (var j = 0u; j < 5u; j++) {
        first[j] = scales[j * p.c + plane % p.c];
        last[j] = scales[j * p.c + (plane + PLANES - 1u) % p.c];
    }
    let octets = p.l * PLANES / 8u;
    let at = plane / PLANES * octets;
    for (var o = lane; o < octets; o += 8u) {
        let values = x[at + o];
        let slopes = dy[at + o];
        // With two planes, one ends on the fourth element of an octet, after two even and two odd ones, or on its last.
        let low = PLANES == 2u && o * 8u >= p.l;
        let high = PLANES == 2u && o * 8u + 4u >= p.l;
        let second = vec4<bool>(low, low, high, high);
        var s: array<vec4<f32>, 5>;
        //!unroll
        for (var j = 0u; j < 5u; j++) {
            s[j] = select(vec4<f32>(first[j]), vec4<f32>(last[j]), second);
        }
        let even = s[2] * ((evens(slopes) - s[3]) - ((evens(values) - s[0]) - s[1]) * s[4]);
        let odd = s[2] * ((odds(slopes) - s[3]) - ((odds(values) - s[0]) - s[1]) * s[4]);
        // Behind the last plane lies padding, which stays 0.
        let beyond = second & vec4<bool>(plane + 1u >= p.planes);
        if (!beyond.x) {
            dx[at + o] = octet_of(select(even, vec4<f32>(0.0), beyond), select(odd, vec4<f32>(0.0), beyond));
        }
    }
}
