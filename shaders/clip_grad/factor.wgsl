// The norm of partial norms, and the factor that brings it down to the largest one allowed.
const WG: u32 = 64u;
// 0 largest, 1 sum, 2 sum of squares, 3 sum of powers.
const NORM: u32 = 2u;

struct Params {
    n: u32,
    power: f32,
    max_norm: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>; // [n]
@group(0) @binding(2) var<storage, read_write> norm: array<f32>; // []
@group(0) @binding(3) var<storage, read_write> factor: array<f32>; // []

var<workgroup> shared_sums: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < p.n; i += WG) {
        if (NORM == 0u) {
            sum = max(sum, partial[i]);
        } else {
            sum += partial[i];
        }
    }
    shared_sums[lane] = sum;
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
        var total = shared_sums[0];
        if (NORM == 2u) {
            total = sqrt(total);
        }
        if (NORM == 3u) {
            total = select(0.0, exp2(log2(max(total, 1.1754944e-38)) / p.power), total > 0.0);
        }
        norm[0] = total;
        factor[0] = min(p.max_norm / (total + 1e-6), 1.0);
    }
}
