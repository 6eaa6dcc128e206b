// Parts of dgamma = sum(dy * x^) and dbeta = sum(dy) over the planes of a channel of [N, C, L], where x^ is x normalised by
// its row: [N, groups] rows of C / groups channels. For 8-lane software adapters: a subgroup takes planes of L elements,
// which may start anywhere, an octet of floats per lane and load.

struct Params {
    n: u32,
    c: u32,
    l: u32,
    groups: u32,
    parts: u32, // per channel
    per_part: u32, // planes of one part
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [N, C, L]
@group(0) @binding(2) var<storage, read> dy: array<vec4<u64>>; // [N, C, L]
@group(0) @binding(3) var<storage, read> scales: array<f32>; // [3.., N * groups]: first element, mean less that, 1 / std
@group(0) @binding(4) var<storage, read_write> parts: array<f32>; // [2, parts, C]

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
    let part = id % p.parts;
    let rows = p.n * p.groups;
    let group = channel / (p.c / p.groups);
    let end = min((part + 1u) * p.per_part, p.n);
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    for (var n = part * p.per_part; n < end; n++) {
        let row = n * p.groups + group;
        let first = scales[row];
        let offset = scales[rows + row];
        let rstd = scales[2u * rows + row];
        let begin = (n * p.c + channel) * p.l;
        let stop = begin + p.l;
        var t0 = vec4<f32>(0.0);
        var t1 = vec4<f32>(0.0);
        for (var o = begin / 8u + lane; o * 8u < stop; o += 8u) {
            let values = x[o];
            let slopes = dy[o];
            let even = evens_inside(o, begin, stop);
            let odd = odds_inside(o, begin, stop);
            let du = select(vec4<f32>(0.0), evens(slopes), even);
            let dv = select(vec4<f32>(0.0), odds(slopes), odd);
            let u = select(vec4<f32>(0.0), (evens(values) - first) - offset, even);
            let v = select(vec4<f32>(0.0), (odds(values) - first) - offset, odd);
            t0 += du * u + dv * v;
            t1 += du + dv;
        }
        s0 += t0 * rstd;
        s1 += t1;
    }
    let slope = subgroupAdd(sum4(s0));
    let sum = subgroupAdd(sum4(s1));
    if (lane == 0u) {
        parts[part * p.c + channel] = slope;
        parts[(p.parts + part) * p.c + channel] = sum;
    }
}
