// Copies the recurrent weights so that neighbouring threads, which own neighbouring columns, read neighbouring vectors of four
// rows; the peepholes of each column follow. One vector per thread.

const PEEPHOLES: bool = false;

struct Params {
    h: u32,
    h4: u32, // vectors of a gate's rows
    gates: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>; // [G * H, H]
@group(0) @binding(2) var<storage, read> peepholes: array<f32>; // [3, H]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [G, H / 4, H], then [H]

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let i = (wid.x + wid.y * nwg.x) * 64u + lane;
    let weights = p.gates * p.h4 * p.h;
    if (i >= weights + p.h) {
        return;
    }
    let j = i % p.h;
    var value: vec4<f32>;
    if (i < weights) {
        let k = i / p.h % p.h4 * 4u;
        let row = i / (p.h * p.h4) * p.h + k;
        //!unroll
        for (var e = 0u; e < 4u; e++) {
            if (k + e < p.h) {
                value[e] = w[(row + e) * p.h + j];
            }
        }
    } else if (PEEPHOLES) {
        value = vec4<f32>(peepholes[j], peepholes[p.h + j], peepholes[2u * p.h + j], 0.0);
    }
    y[i] = value;
}
