// Mean and sum of squared deviations of parts of a channel of [N, C, L]. Each thread takes every `parts`-th element of
// one channel, twice: first for the mean of the part, then for the deviations from it. Values count from the channel's
// first element, so a large mean costs no digits.

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
@group(0) @binding(2) var<storage, read_write> parts: array<f32>; // [3, C, parts]: elements, mean, squared deviations

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
    let count = f32((p.n * p.l - part + p.parts - 1u) / p.parts);

    var sums = vec4<f32>(0.0);
    var n = part / p.l;
    var l = part % p.l;
    for (var t = 0u; t < p.trips; t++) {
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            if (n < p.n) {
                sums[j] += x[(n * p.c + channel) * p.l + l] - shift;
            }
            n += p.step_n;
            l += p.step_l;
            if (l >= p.l) {
                l -= p.l;
                n += 1u;
            }
        }
    }
    let mean = ((sums.x + sums.y) + (sums.z + sums.w)) / count;

    var squares = vec4<f32>(0.0);
    n = part / p.l;
    l = part % p.l;
    for (var t = 0u; t < p.trips; t++) {
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            if (n < p.n) {
                let deviation = (x[(n * p.c + channel) * p.l + l] - shift) - mean;
                squares[j] += deviation * deviation;
            }
            n += p.step_n;
            l += p.step_l;
            if (l >= p.l) {
                l -= p.l;
                n += 1u;
            }
        }
    }
    parts[id] = count;
    parts[p.c * p.parts + id] = mean;
    parts[2u * p.c * p.parts + id] = (squares.x + squares.y) + (squares.z + squares.w);
}
