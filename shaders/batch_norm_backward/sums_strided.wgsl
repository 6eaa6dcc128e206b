// Parts of the three sums over a channel of [N, C, L] that batch norm's gradient needs: of dy, of dy * (x - first
// element) and of x - first element. Each thread takes every `parts`-th element of one channel.

struct Params {
    n: u32,
    c: u32,
    l: u32,
    parts: u32, // per channel
    // A step of `parts` elements forward, in steps along n and l.
    step_n: u32,
    step_l: u32,
    trips: u32, // of four elements per thread
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, L]
@group(0) @binding(2) var<storage, read> dy: array<f32>; // [N, C, L]
@group(0) @binding(3) var<storage, read_write> parts: array<f32>; // [3, C, parts]

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (id >= p.c * p.parts) {
        return;
    }
    let channel = id / p.parts;
    let part = id % p.parts;
    let shift = x[channel * p.l];
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    var n = part / p.l;
    var l = part % p.l;
    for (var t = 0u; t < p.trips; t++) {
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            if (n < p.n) {
                let at = (n * p.c + channel) * p.l + l;
                let value = x[at] - shift;
                s0[j] += dy[at];
                s1[j] += dy[at] * value;
                s2[j] += value;
            }
            n += p.step_n;
            l += p.step_l;
            if (l >= p.l) {
                l -= p.l;
                n += 1u;
            }
        }
    }
    parts[id] = (s0.x + s0.y) + (s0.z + s0.w);
    parts[p.c * p.parts + id] = (s1.x + s1.y) + (s1.z + s1.w);
    parts[2u * p.c * p.parts + id] = (s2.x + s2.y) + (s2.z + s2.w);
}
