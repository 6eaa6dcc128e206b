// Parts of dgamma = sum(dy * x^) and dbeta = sum(dy) over the elements of a channel of [N, C, L], where x^ is x normalised
// by its row: [N, groups] rows of C / groups channels. Each thread takes every `parts`-th element of one channel.

const COLUMNS: bool = false; // L = 1: neighbouring threads take neighbouring channels, else neighbours of one

struct Params {
    n: u32,
    c: u32,
    l: u32,
    groups: u32,
    parts: u32, // per channel
    // A step of `parts` elements forward, in steps along n and l.
    step_n: u32,
    step_l: u32,
    trips: u32, // of four elements per thread
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, L]
@group(0) @binding(2) var<storage, read> dy: array<f32>; // [N, C, L]
@group(0) @binding(3) var<storage, read> scales: array<f32>; // [3.., N * groups]: first element, mean less that, 1 / std
@group(0) @binding(4) var<storage, read_write> parts: array<f32>; // [2, parts, C]

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
    var channel = id / p.parts;
    var part = id % p.parts;
    if (COLUMNS) {
        channel = id % p.c;
        part = id / p.c;
    }
    let rows = p.n * p.groups;
    let group = channel / (p.c / p.groups);
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var n = part / p.l;
    var l = part % p.l;
    for (var t = 0u; t < p.trips; t++) {
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            if (n < p.n) {
                let at = (n * p.c + channel) * p.l + l;
                let row = n * p.groups + group;
                let away = (x[at] - scales[row]) - scales[rows + row];
                s0[j] += dy[at] * (away * scales[2u * rows + row]);
                s1[j] += dy[at];
            }
            n += p.step_n;
            l += p.step_l;
            if (l >= p.l) {
                l -= p.l;
                n += 1u;
            }
        }
    }
    parts[part * p.c + channel] = (s0.x + s0.y) + (s0.z + s0.w);
    parts[(p.parts + part) * p.c + channel] = (s1.x + s1.y) + (s1.z + s1.w);
}
