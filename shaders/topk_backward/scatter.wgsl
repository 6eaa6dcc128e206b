// dx of the k largest along D: each takes its dy to where it was found. One thread per element of dy; no two of a line
// were found in one place.

struct Params {
    len: u32, // O * K * I
    d: u32,
    k: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [O, K, I], places along D
@group(0) @binding(2) var<storage, read> dy: array<f32>; // [O, K, I]
@group(0) @binding(3) var<storage, read_write> dx: array<f32>; // [O, D, I], zeros before

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
    let index = indices[id];
    if (index < p.d) {
        dx[(id / (p.inner * p.k) * p.d + index) * p.inner + id % p.inner] = dy[id];
    }
}
