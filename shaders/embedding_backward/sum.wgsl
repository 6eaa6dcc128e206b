// Adds up the tables of all parts: one thread per element.

struct Params {
    len: u32,
    parts: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> tables: array<f32>; // [parts, V, E]
@group(0) @binding(2) var<storage, read_write> dtable: array<f32>; // [V, E]

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (id >= p.len) {
        return;
    }
    var sums = vec4<f32>(0.0);
    for (var t = 0u; t < (p.parts + 3u) / 4u; t++) {
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            if (t * 4u + j < p.parts) {
                sums[j] += tables[(t * 4u + j) * p.len + id];
            }
        }
    }
    dtable[id] = (sums.x + sums.y) + (sums.z + sums.w);
}
