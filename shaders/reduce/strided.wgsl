// Sums or takes maxima over the R axes of [R1, K, R2, I]. Each thread takes every `segments`-th element of one
// result's elements, in eight chains; long reductions run again on what a first pass left, [1, K, segments, I].

const MAXIMUM: bool = false; // maxima instead of sums

struct Params {
    r1: u32,
    k: u32,
    r2: u32,
    inner: u32,
    segments: u32,
    // A step of `segments` elements forward, in steps along r1 and r2.
    step_r1: u32,
    step_r2: u32,
    trips: u32, // of eight elements per thread
    divisor: f32, // 1 for sums, the number of elements for means
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [R1, K, R2, I]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [K, segments, I]

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (id >= p.k * p.segments * p.inner) {
        return;
    }
    let i = id % p.inner;
    let segment = (id / p.inner) % p.segments;
    let k = id / (p.inner * p.segments);

    var r1 = segment / max(p.r2, 1u);
    var r2 = segment % max(p.r2, 1u);
    var acc: array<f32, 8>;
    //!unroll
    for (var j = 0u; j < 8u; j++) {
        acc[j] = 0.0;
        if (MAXIMUM) {
            acc[j] = x[((r1 * p.k + k) * p.r2 + r2) * p.inner + i];
        }
    }
    for (var t = 0u; t < p.trips; t++) {
        //!unroll
        for (var j = 0u; j < 8u; j++) {
            if (r1 < p.r1) {
                let value = x[((r1 * p.k + k) * p.r2 + r2) * p.inner + i];
                if (MAXIMUM) {
                    acc[j] = max(acc[j], value);
                } else {
                    acc[j] += value;
                }
            }
            r2 += p.step_r2;
            r1 += p.step_r1;
            if (r2 >= p.r2) {
                r2 -= p.r2;
                r1 += 1u;
            }
        }
    }
    if (MAXIMUM) {
        y[id] = max(max(max(acc[0], acc[1]), max(acc[2], acc[3])), max(max(acc[4], acc[5]), max(acc[6], acc[7])));
    } else {
        let sum = ((acc[0] + acc[1]) + (acc[2] + acc[3])) + ((acc[4] + acc[5]) + (acc[6] + acc[7]));
        y[id] = sum / p.divisor;
    }
}
