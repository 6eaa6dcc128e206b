// The index of the first maximum along D of [O, D, I], in two passes: with SECOND false, each thread searches one of
// `segments` stretches of D; with SECOND true, it compares what those found.

const SECOND: bool = false;

struct Params {
    outer: u32,
    d: u32,
    inner: u32,
    segments: u32,
    length: u32, // of a stretch
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [O, D, I]
@group(0) @binding(2) var<storage, read> found: array<u32>; // [O, segments, I]; read in the second pass
@group(0) @binding(3) var<storage, read_write> y: array<u32>; // [O, segments, I], then [O, I]

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 64u + lane;
    let results = select(p.segments, 1u, SECOND);
    if (id >= p.outer * results * p.inner) {
        return;
    }
    let i = id % p.inner;
    let segment = (id / p.inner) % results;
    let o = id / (p.inner * results);
    let at = o * p.d * p.inner + i;
    if (SECOND) {
        var best = found[o * p.segments * p.inner + i];
        var largest = x[at + best * p.inner];
        for (var s = 1u; s < p.segments; s++) {
            let candidate = found[(o * p.segments + s) * p.inner + i];
            let value = x[at + candidate * p.inner];
            if (value > largest) {
                largest = value;
                best = candidate;
            }
        }
        y[id] = best;
    } else {
        var best = segment * p.length;
        var largest = x[at + best * p.inner];
        let end = min(best + p.length, p.d);
        for (var d = best + 1u; d < end; d++) {
            let value = x[at + d * p.inner];
            if (value > largest) {
                largest = value;
                best = d;
            }
        }
        y[id] = best;
    }
}
