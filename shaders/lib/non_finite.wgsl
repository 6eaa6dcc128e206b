// Keys of values that are not finite, from tensors x0 to x4 whose elements are loaded WIDTH at once. Values are looked at as
// bits: a compiler may assume that no float is NaN or infinite.
// All variants share out the elements alike.
const WG: u32 = 512u / WIDTH;
// How many of the tensors there are; the others are not read.
const COUNT: u32 = 5u;
// Keys of the next tensor begin here.
const KIND: u32 = 1048576u;
// The key where every value is finite.
const NONE: u32 = 4294967295u;
// Bit patterns without signs are infinite or NaN from here on.
const INFINITE: u32 = 0x7f800000u;

var<workgroup> shared_keys: array<u32, WG>;

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
    // Whether there is any comes first, without a branch.
    var most = 0u;
    for (var i = group * WG + lane; i * WIDTH < p.n; i += p.groups * WG) {
        most = max(most, largest(x0[i], i));
        if (COUNT > 1u) {
            most = max(most, largest(x1[i], i));
        }
        if (COUNT > 2u) {
            most = max(most, largest(x2[i], i));
        }
        if (COUNT > 3u) {
            most = max(most, largest(x3[i], i));
        }
        if (COUNT > 4u) {
            most = max(most, largest(x4[i], i));
        }
    }
    // Which it is, only where there is one.
    let end = select(0u, p.n, most >= INFINITE);
    var key = NONE;
    for (var i = group * WG + lane; i * WIDTH < end; i += p.groups * WG) {
        var kind = COUNT;
        if (COUNT > 4u && largest(x4[i], i) >= INFINITE) {
            kind = 4u;
        }
        if (COUNT > 3u && largest(x3[i], i) >= INFINITE) {
            kind = 3u;
        }
        if (COUNT > 2u && largest(x2[i], i) >= INFINITE) {
            kind = 2u;
        }
        if (COUNT > 1u && largest(x1[i], i) >= INFINITE) {
            kind = 1u;
        }
        if (largest(x0[i], i) >= INFINITE) {
            kind = 0u;
        }
        if (kind < COUNT) {
            key = min(key, (p.kind + kind) * KIND + ranks[p.first + i * WIDTH / 64u]);
        }
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
        keys[group] = shared_keys[0];
    }
}
