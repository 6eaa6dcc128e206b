// Adds up the parts of dgamma and dbeta: one thread per channel.

struct Params {
    c: u32,
    parts: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>; // [2, parts, C]
@group(0) @binding(2) var<storage, read_write> dgamma: array<f32>; // [C]
@group(0) @binding(3) var<storage, read_write> dbeta: array<f32>; // [C]

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let channel = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (channel >= p.c) {
        return;
    }
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    for (var t = 0u; t < (p.parts + 3u) / 4u; t++) {
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            if (t * 4u + j < p.parts) {
                s0[j] += parts[(t * 4u + j) * p.c + channel];
                s1[j] += parts[(p.parts + t * 4u + j) * p.c + channel];
            }
        }
    }
    dgamma[channel] = (s0.x + s0.y) + (s0.z + s0.w);
    dbeta[channel] = (s1.x + s1.y) + (s1.z + s1.w);
}
