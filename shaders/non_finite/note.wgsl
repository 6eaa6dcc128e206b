// The smallest of all keys, and the report: of the first step with one, and of how many there were.
const WG: u32 = 64u;
// The key where every value is finite.
const NONE: u32 = 4294967295u;

struct Params {
    n: u32,
    step: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> keys: array<u32>; // [n]
@group(0) @binding(2) var<storage, read_write> found: array<u32>; // []
@group(0) @binding(3) var<storage, read_write> report: array<f32>; // [4]

var<workgroup> shared_keys: array<u32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
    var key = NONE;
    for (var i = lane; i < p.n; i += WG) {
        key = min(key, keys[i]);
    }
    shared_keys[lane] = key;
    workgroupBarrier();
    for (var width = WG / 2u; width > 0u; width /= 2u) {
        if (lane < width) {
            shared_keys[lane] = min(shared_keys[lane], shared_keys[lane + width]);
        }
        workgroupBarrier();
    }
    if (lane == 0u) {
        let first = shared_keys[0];
        found[0] = select(0u, 1u, first != NONE);
        if (first != NONE) {
            let steps = report[0];
            if (steps == 0.0) {
                report[1] = f32(first);
                report[2] = f32(p.step % 65536u);
                report[3] = f32(p.step / 65536u);
            }
            report[0] = min(steps + 1.0, 16777216.0);
        }
    }
}
