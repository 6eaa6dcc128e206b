// Parts of the three sums over a channel of [N, C, L] that batch norm's gradient needs: of dy, of dy * (x - first
// element) and of x - first element. For 8-lane software adapters: an octet of floats per lane and load.

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
@group(0) @binding(2) var<storage, read> dy: array<vec4<u64>>; // [N, C, L]
@group(0) @binding(3) var<storage, read_write> parts: array<f32>; // [3, C, parts]

//!include lib/octet.wgsl
//!include lib/octet_range.wgsl

fn sum4(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

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
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    for (var q = first; q < end; q++) {
        let offset = (q % p.pieces) * p.piece;
        let plane = ((q / p.pieces) * p.c + channel) * p.l;
        let begin = plane + offset;
        let stop = plane + min(offset + p.piece, p.l);
        for (var o = begin / 8u + lane; o * 8u < stop; o += 8u) {
            let values = x[o];
            let slopes = dy[o];
            let even = evens_inside(o, begin, stop);
            let odd = odds_inside(o, begin, stop);
            let u = select(vec4<f32>(0.0), evens(values) - shift, even);
            let v = select(vec4<f32>(0.0), odds(values) - shift, odd);
            let du = select(vec4<f32>(0.0), evens(slopes), even);
            let dv = select(vec4<f32>(0.0), odds(slopes), odd);
            s0 += du + dv;
            s1 += du * u + dv * v;
            s2 += u + v;
        }
    }
    let t0 = subgroupAdd(sum4(s0));
    let t1 = subgroupAdd(sum4(s1));
    let t2 = subgroupAdd(sum4(s2));
    if (lane == 0u) {
        parts[id] = t0;
        parts[p.c * p.parts + id] = t1;
        parts[2u * p.c * p.parts + id] = t2;
    }
}
