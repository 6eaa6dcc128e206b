// y = 1 where the index along the last axis is the class, else 0: one thread per element.

struct Params {
    len: u32,
    classes: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [n]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [n, classes]

const IGNORED: u32 = 0xffffffffu;

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (id >= p.len) {
        return;
    }
    let i = id / p.classes;
    let index = indices[i];
    var value = select(0.0, 1.0, index == id - i * p.classes);
    if (index >= p.classes && index != IGNORED) {
        // No class: the result must not look right. Any word with these bits is NaN.
        value = bitcast<f32>(0x7fc00000u | index);
    }
    y[id] = value;
}
