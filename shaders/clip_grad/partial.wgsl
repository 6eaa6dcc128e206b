// Partial norms: fours of elements are dealt out to all threads in turn, then each workgroup joins its threads.
const WG: u32 = 64u;
// 0 largest, 1 sum, 2 sum of squares, 3 sum of powers.
const NORM: u32 = 2u;

struct Params {
    n: u32,
    groups: u32,
    power: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [n]
@group(0) @binding(2) var<storage, read_write> partial: array<f32>; // [groups]

var<workgroup> shared_sums: array<f32, WG>;

fn term(v: vec4<f32>) -> vec4<f32> {
    let a = abs(v);
    if (NORM == 2u) {
        return v * v;
    }
    if (NORM == 3u) {
        return select(vec4<f32>(0.0), exp2(p.power * log2(max(a, vec4<f32>(1.1754944e-38)))), a > vec4<f32>(0.0));
    }
    return a;
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let group = wid.x + wid.y * nwg.x;
    if (group >= p.groups) {
        return;
    }
    var sum = vec4<f32>(0.0);
    for (var i = group * WG + lane; i * 4u < p.n; i += p.groups * WG) {
        let inside = vec4<u32>(i * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.n);
        let t = select(vec4<f32>(0.0), term(x[i]), inside);
        if (NORM == 0u) {
            sum = max(sum, t);
        } else {
            sum += t;
        }
    }
    if (NORM == 0u) {
        shared_sums[lane] = max(max(sum.x, sum.y), max(sum.z, sum.w));
    } else {
        shared_sums[lane] = (sum.x + sum.y) + (sum.z + sum.w);
    }
    workgroupBarrier();
    for (var width = WG / 2u; width > 0u; width /= 2u) {
        if (lane < width) {
            let other = shared_sums[lane + width];
            if (NORM == 0u) {
                shared_sums[lane] = max(shared_sums[lane], other);
            } else {
                shared_sums[lane] += other;
            }
        }
        workgroupBarrier();
    }
    if (lane == 0u) {
        partial[group] = shared_sums[0];
    }
}
