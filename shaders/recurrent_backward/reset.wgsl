// The gradient of one step of a GRU that resets before the recurrent product, through that product of r * h. One thread
// per element of the state.

const MASKED: bool = false;
const WG: u32 = 64u;

struct Params {
    b: u32,
    h: u32,
    t: u32, // the step
    previous: u32, // the step before it, in the order of the sequence
    is_first: u32, // 1 for the first step: `first` is the state before it
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>; // [3 * H, H]
@group(0) @binding(2) var<storage, read> gates: array<f32>; // [T, B, 3 * H]: r, z, n
@group(0) @binding(3) var<storage, read> h: array<f32>; // [T, B, H]
@group(0) @binding(4) var<storage, read> first: array<f32>; // [B, H]: the state before all steps
@group(0) @binding(5) var<storage, read> mask: array<f32>; // [T, B]
@group(0) @binding(6) var<storage, read_write> carry: array<f32>; // [2, B, H]: dh, to which r * the product's is added
@group(0) @binding(7) var<storage, read_write> dx: array<f32>; // [T, B, 3 * H]: of n on entry; of r is written

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let i = (wid.x + wid.y * nwg.x) * WG + lane;
    let size = p.b * p.h;
    if (i >= size) {
        return;
    }
    let row = p.t * p.b + i / p.h;
    let j = i % p.h;
    if (MASKED && mask[row] == 0.0) {
        return;
    }
    let at = row * 3u * p.h;
    var back = 0.0;
    for (var k = 0u; k < p.h; k++) {
        back += dx[at + 2u * p.h + k] * w[(2u * p.h + k) * p.h + j];
    }
    var before: f32;
    if (p.is_first == 1u) {
        before = first[i];
    } else {
        before = h[p.previous * size + i];
    }
    let r = gates[at + j];
    dx[at + j] = back * before * r * (1.0 - r);
    carry[i] += back * r;
}
