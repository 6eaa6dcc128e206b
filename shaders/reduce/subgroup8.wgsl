// Sums over the R axes of [R1, K, R2] for 8-lane software adapters: a subgroup adds up pieces of rows, an octet of
// floats per lane and load. Rows may start anywhere: elements outside a piece count as 0.

struct Params {
    r1: u32,
    k: u32,
    r2: u32,
    piece: u32, // a row is cut into pieces of this length
    pieces: u32, // per row
    per_group: u32, // pieces that one subgroup adds up
    groups: u32, // subgroups per result
    divisor: f32, // 1, or the number of elements where this gives the mean
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [R1, K, R2]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [K, groups]

//!include lib/octet.wgsl
//!include lib/octet_range.wgsl

@compute @workgroup_size(8)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = wid.x + wid.y * nwg.x;
    if (id >= p.k * p.groups) {
        return;
    }
    let k = id / p.groups;
    let first = (id % p.groups) * p.per_group;
    let end = min(first + p.per_group, p.r1 * p.pieces);
    var even = vec4<f32>(0.0);
    var odd = vec4<f32>(0.0);
    for (var q = first; q < end; q++) {
        let offset = (q % p.pieces) * p.piece;
        let row = ((q / p.pieces) * p.k + k) * p.r2;
        let begin = row + offset;
        let stop = row + min(offset + p.piece, p.r2);
        for (var o = begin / 8u + lane; o * 8u < stop; o += 8u) {
            let octet = x[o];
            even += select(vec4<f32>(0.0), evens(octet), evens_inside(o, begin, stop));
            odd += select(vec4<f32>(0.0), odds(octet), odds_inside(o, begin, stop));
        }
    }
    let s = even + odd;
    let sum = subgroupAdd((s.x + s.y) + (s.z + s.w));
    if (lane == 0u) {
        y[id] = sum / p.divisor;
    }
}
