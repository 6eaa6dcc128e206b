// What the state before a step gets through its recurrent product: carry += da * w, of the first `rows` rows of w. One
// thread per element of the state.

const MASKED: bool = false;
const WG: u32 = 64u;

struct Params {
    b: u32,
    h: u32,
    t: u32, // the step
    rows: u32,
    pitch: u32, // values of da per sequence and step
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>; // [G * H, H]
@group(0) @binding(2) var<storage, read> da: array<f32>; // [T, B, G * H]
@group(0) @binding(3) var<storage, read> mask: array<f32>; // [T, B]
@group(0) @binding(4) var<storage, read_write> carry: array<f32>; // [2, B, H]: dh; dc

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let i = (wid.x + wid.y * nwg.x) * WG + lane;
    if (i >= p.b * p.h) {
        return;
    }
    let row = p.t * p.b + i / p.h;
    if (MASKED && mask[row] == 0.0) {
        return;
    }
    let j = i % p.h;
    var sum = 0.0;
    for (var k = 0u; k < p.rows; k++) {
        sum += da[row * p.pitch + k] * w[k * p.h + j];
    }
    carry[i] += sum;
}
