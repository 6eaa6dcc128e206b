// y = ((x - first element) - (mean - first element)) / std * gamma + beta along rows of [R, D]: one thread per element.

const AFFINE: bool = false;
const ACTIVATION: u32 = 0u; // 0 none, 1 relu

struct Params {
    len: u32,
    rows: u32,
    d: u32,
    inner: u32, // gamma and beta have an element per `inner` neighbours
    groups: u32, // rows after which gamma and beta begin anew
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [R, D]
@group(0) @binding(2) var<storage, read> scales: array<f32>; // [3, R]: first element, mean less that, 1 / std
@group(0) @binding(3) var<storage, read> gamma: array<f32>; // [groups * D / inner]
@group(0) @binding(4) var<storage, read> beta: array<f32>; // [groups * D / inner]
@group(0) @binding(5) var<storage, read_write> y: array<f32>; // [R, D]

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
    let row = id / p.d;
    var value = ((x[id] - scales[row]) - scales[p.rows + row]) * scales[2u * p.rows + row];
    if (AFFINE) {
        let channel = (row % p.groups) * (p.d / p.inner) + (id - row * p.d) / p.inner;
        value = value * gamma[channel] + beta[channel];
    }
    if (ACTIVATION == 1u) {
        value = max(value, 0.0);
    }
    y[id] = value;
}
