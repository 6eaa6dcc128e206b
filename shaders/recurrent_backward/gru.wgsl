// The gradient of one step of a GRU, up to its recurrent product. One thread per element of the state.

const AFTER: bool = false; // the reset gate multiplies the recurrent product
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
@group(0) @binding(1) var<storage, read> gates: array<f32>; // [T, B, S * H]: r, z, n, and with AFTER w * h + b of n
@group(0) @binding(2) var<storage, read> h: array<f32>; // [T, B, H]
@group(0) @binding(3) var<storage, read> first: array<f32>; // [B, H]: the state before all steps
@group(0) @binding(4) var<storage, read> dh: array<f32>; // [T, B, H]
@group(0) @binding(5) var<storage, read> mask: array<f32>; // [T, B]
@group(0) @binding(6) var<storage, read_write> carry: array<f32>; // [2, B, H]: dh from the steps after this one; nothing
@group(0) @binding(7) var<storage, read_write> dx: array<f32>; // [T, B, 3 * H]; without AFTER r's part is still to come
@group(0) @binding(8) var<storage, read_write> da: array<f32>; // [T, B, 3 * H]: of the recurrent product, with AFTER

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
    let flow = carry[i] + dh[row * p.h + j];
    let to = row * 3u * p.h + j;
    if (MASKED && mask[row] == 0.0) {
        carry[i] = flow;
        //!unroll
        for (var g = 0u; g < 3u; g++) {
            dx[to + g * p.h] = 0.0;
            if (AFTER) {
                da[to + g * p.h] = 0.0;
            }
        }
        return;
    }
    let at = row * select(3u, 4u, AFTER) * p.h + j;
    let r = gates[at];
    let z = gates[at + p.h];
    let n = gates[at + 2u * p.h];
    var before: f32;
    if (p.is_first == 1u) {
        before = first[i];
    } else {
        before = h[p.previous * size + i];
    }
    let dz = flow * (before - n) * z * (1.0 - z);
    let dn = flow * (1.0 - z) * (1.0 - n * n);
    carry[i] = flow * z;
    dx[to + p.h] = dz;
    dx[to + 2u * p.h] = dn;
    if (AFTER) {
        let dr = dn * gates[at + 3u * p.h] * r * (1.0 - r);
        dx[to] = dr;
        da[to] = dr;
        da[to + p.h] = dz;
        da[to + 2u * p.h] = dn * r;
    }
}
