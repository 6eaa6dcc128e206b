// Parts of the three sums over a row of [R, D] that dx needs: of x - first element, of g = dy * gamma and of their
// product. Each thread takes every `parts`-th element of one row.

const AFFINE: bool = false;

struct Params {
    rows: u32,
    d: u32,
    inner: u32, // gamma has an element per `inner` neighbours
    groups: u32, // rows after which gamma begins anew
    parts: u32, // per row
    trips: u32, // of four elements per thread
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [R, D]
@group(0) @binding(2) var<storage, read> dy: array<f32>; // [R, D]
@group(0) @binding(3) var<storage, read> gamma: array<f32>; // [groups * D / inner]
@group(0) @binding(4) var<storage, read_write> parts: array<f32>; // [3, R, parts]

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (id >= p.rows * p.parts) {
        return;
    }
    let row = id / p.parts;
    let at = row * p.d;
    let first = (row % p.groups) * (p.d / p.inner);
    let shift = x[at];
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    var k = id % p.parts;
    for (var t = 0u; t < p.trips; t++) {
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            if (k < p.d) {
                let value = x[at + k] - shift;
                var g = dy[at + k];
                if (AFFINE) {
                    g *= gamma[first + k / p.inner];
                }
                s0[j] += value;
                s1[j] += g;
                s2[j] += g * value;
            }
            k += p.parts;
        }
    }
    let plane = p.rows * p.parts;
    parts[id] = (s0.x + s0.y) + (s0.z + s0.w);
    parts[plane + id] = (s1.x + s1.y) + (s1.z + s1.w);
    parts[2u * plane + id] = (s2.x + s2.y) + (s2.z + s2.w);
}
