// y = ((x - first element) - (mean - first element)) * gamma / std + beta, for 8-lane software adapters: a subgroup
// takes PLANES neighbouring planes of L elements, whose ends together lie on octets.

const PLANES: u32 = 1u; // 1 where L is a multiple of 8, 2 where it is one of 4
const AFFINE: bool = false;
const ACTIVATION: u32 = 0u; // 0 none, 1 relu

struct Params {
    planes: u32, // N * C
    c: u32,
    l: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [N, C, L]
@group(0) @binding(2) var<storage, read> scales: array<f32>; // [3, C]: first element, mean less that, gamma / std
@group(0) @binding(3) var<storage, read> beta: array<f32>; // [C]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<u64>>; // [N, C, L]

//!include lib/octet.wgsl

fn normalise(x: vec4<f32>, shift: vec4<f32>, offset: vec4<f32>, scale: vec4<f32>, add: vec4<f32>) -> vec4<f32> {
    let value = ((x - shift) - offset) * scale + add;
    return select(value, max(value, vec4<f32>(0.0)), ACTIVATION == 1u);
}

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
    let u = plane % p.c;
    let v = (plane + PLANES - 1u) % p.c;
    let shift = vec2<f32>(scales[u], scales[v]);
    let offset = vec2<f32>(scales[p.c + u], scales[p.c + v]);
    let scale = vec2<f32>(scales[2u * p.c + u], scales[2u * p.c + v]);
    var add = vec2<f32>(0.0);
    if (AFFINE) {
        add = vec2<f32>(beta[u], beta[v]);
    }
    let octets = p.l * PLANES / 8u;
    let at = plane / PLANES * octets;
    for (var o = lane; o < octets; o += 8u) {
        let octet = x[at + o];
        if (PLANES == 1u) {
            y[at + o] = octet_of(
                normalise(evens(octet), shift.xxxx, offset.xxxx, scale.xxxx, add.xxxx),
                normalise(odds(octet), shift.xxxx, offset.xxxx, scale.xxxx, add.xxxx),
            );
        } else {
            // A plane ends on the fourth element of an octet, after two even and two odd ones, or on its last.
            let second = vec4<bool>(o * 8u >= p.l, o * 8u >= p.l, o * 8u + 4u >= p.l, o * 8u + 4u >= p.l);
            let shifts = select(shift.xxxx, shift.yyyy, second);
            let offsets = select(offset.xxxx, offset.yyyy, second);
            let slopes = select(scale.xxxx, scale.yyyy, second);
            let adds = select(add.xxxx, add.yyyy, second);
            let even = normalise(evens(octet), shifts, offsets, slopes, adds);
            let odd = normalise(odds(octet), shifts, offsets, slopes, adds);
            // Behind the last plane lies padding, which stays 0.
            let beyond = second & vec4<bool>(plane + 1u >= p.planes);
            if (!beyond.x) {
                y[at + o] = octet_of(
                    select(even, vec4<f32>(0.0), beyond),
                    select(odd, vec4<f32>(0.0), beyond),
                );
            }
        }
    }
}
