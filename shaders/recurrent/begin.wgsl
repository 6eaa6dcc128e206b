// The states before the first step, in rows of whole vec4s. One thread per element of a row.

const MEMORY: bool = false; // there is a second state, c

struct Params {
    b: u32,
    h: u32,
    pitch: u32, // H rounded up to a multiple of 4
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h0: array<f32>; // [B, H]
@group(0) @binding(2) var<storage, read> c0: array<f32>; // [B, H]
@group(0) @binding(3) var<storage, read_write> state: array<f32>; // [1 or 2, B, pitch]: h, and c

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let i = (wid.x + wid.y * nwg.x) * 64u + lane;
    let size = p.b * p.pitch;
    if (i >= size) {
        return;
    }
    let j = i % p.pitch;
    let at = i / p.pitch * p.h + min(j, p.h - 1u);
    state[i] = select(0.0, h0[at], j < p.h);
    if (MEMORY) {
        state[size + i] = select(0.0, c0[at], j < p.h);
    }
}
