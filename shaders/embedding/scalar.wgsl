// y = rows of a table, by index: one thread per element.

struct Params {
    len: u32,
    e: u32,
    v: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [n]
@group(0) @binding(2) var<storage, read> table: array<f32>; // [V, E]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [n, E]

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
    let i = id / p.e;
    let index = indices[i];
    if (index < p.v) {
        y[id] = table[index * p.e + (id - i * p.e)];
    } else {
        // No row: the result must not look right. Any word with these bits is NaN.
        y[id] = bitcast<f32>(0x7fc00000u | index);
    }
}
