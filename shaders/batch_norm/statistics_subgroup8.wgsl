// Mean and sum of squared deviations of parts of a channel of [N, C, L], for 8-lane software adapters: a subgroup
// goes twice over pieces of planes of L elements, an octet of floats per lane and load. Planes may start anywhere.
// Values count from the channel's first element, so a large mean costs no digits.

struct Params {
    n: u32,
    c: u32,
    l: u32,
    parts: u32, // per channel
    piece: u32, // a plane is cut into pieces of this length
    pieces: u32, // per plane
    per_part: u32, // pieces of one part
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [N, C, L]
@group(0) @binding(2) var<storage, read_write> parts: array<f32>; // [3, C, parts]: elements, mean, squared deviations

//!include lib/octet.wgsl
//!include lib/octet_range.wgsl

@compute @workgroup_size(8)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = wid.x + wid.y * nwg.x;
    if (id >= p.c * p.parts) {
        return;
    }
    let channel = id / p.parts;
    let first = (id % p.parts) * p.per_part;
    let end = min(first + p.per_part, p.n * p.pieces);
    let shift = element(x[channel * p.l / 8u], channel * p.l % 8u);

    var even = vec4<f32>(0.0);
    var odd = vec4<f32>(0.0);
    var count = 0u;
    for (var q = first; q < end; q++) {
        let offset = (q % p.pieces) * p.piece;
        let plane = ((q / p.pieces) * p.c + channel) * p.l;
        let begin = plane + offset;
        let stop = plane + min(offset + p.piece, p.l);
        count += stop - begin;
        for (var o = begin / 8u + lane; o * 8u < stop; o += 8u) {
            let octet = x[o];
            even += select(vec4<f32>(0.0), evens(octet) - shift, evens_inside(o, begin, stop));
            odd += select(vec4<f32>(0.0), odds(octet) - shift, odds_inside(o, begin, stop));
        }
    }
    let s = even + odd;
    let mean = subgroupAdd((s.x + s.y) + (s.z + s.w)) / f32(count);

    even = vec4<f32>(0.0);
    odd = vec4<f32>(0.0);
    for (var q = first; q < end; q++) {
        let offset = (q % p.pieces) * p.piece;
        let plane = ((q / p.pieces) * p.c + channel) * p.l;
        let begin = plane + offset;
        let stop = plane + min(offset + p.piece, p.l);
        for (var o = begin / 8u + lane; o * 8u < stop; o += 8u) {
            let octet = x[o];
            let u = select(vec4<f32>(0.0), (evens(octet) - shift) - mean, evens_inside(o, begin, stop));
            let v = select(vec4<f32>(0.0), (odds(octet) - shift) - mean, odds_inside(o, begin, stop));
            even += u * u;
            odd += v * v;
        }
    }
    let q = even + odd;
    let squares = subgroupAdd((q.x + q.y) + (q.z + q.w));
    if (lane == 0u) {
        parts[id] = f32(count);
        parts[p.c * p.parts + id] = mean;
        parts[2u * p.c * p.parts + id] = squares;
    }
}
