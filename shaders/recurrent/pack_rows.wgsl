// Copies the recurrent weights of some gates so that neighbouring threads, which own neighbouring units, read neighbouring
// vectors of four inner indices; what a unit needs beside its products follows. One vector per thread.

const GATES: u32 = 1u; // to copy
const EXTRA: u32 = 0u; // numbers per unit beside the products

struct Params {
    h: u32,
    h4: u32, // vectors of a row
    first: u32, // the first of these gates
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>; // [G * H, H]
@group(0) @binding(2) var<storage, read> extra: array<f32>; // [EXTRA, H]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [H / 4, GATES, H], then [H]

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let i = (wid.x + wid.y * nwg.x) * 64u + lane;
    let weights = p.h4 * GATES * p.h;
    if (i >= weights + p.h) {
        return;
    }
    let j = i % p.h;
    var value: vec4<f32>;
    if (i < weights) {
        let gate = p.first + i / p.h % GATES;
        let k = i / (p.h * GATES) * 4u;
        //!unroll
        for (var e = 0u; e < 4u; e++) {
            if (k + e < p.h) {
                value[e] = w[(gate * p.h + j) * p.h + k + e];
            }
        }
    } else {
        //!unroll
        for (var e = 0u; e < EXTRA; e++) {
            value[e] = extra[e * p.h + j];
        }
    }
    y[i] = value;
}
