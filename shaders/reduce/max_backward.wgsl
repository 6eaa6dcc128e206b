// The gradient of a maximum over D of [O, D, I]: dy where the element is the first maximum, 0 elsewhere.

struct Params {
    len: u32, // O * D * I
    d: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>; // [O, I]
@group(0) @binding(2) var<storage, read> found: array<u32>; // [O, I], index of the first maximum
@group(0) @binding(3) var<storage, read_write> dx: array<f32>; // [O, D, I]

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
    let at = (id / (p.d * p.inner)) * p.inner + id % p.inner;
    dx[id] = select(0.0, dy[at], found[at] == (id / p.inner) % p.d);
}
