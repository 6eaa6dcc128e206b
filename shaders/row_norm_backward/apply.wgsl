// dx = (g - b - (x - mean) * d) / std along rows of [R, D], where g = dy * gamma: one thread per element.

const AFFINE: bool = false;

struct Params {
    len: u32,
    rows: u32,
    d: u32,
    inner: u32, // gamma has an element per `inner` neighbours
    groups: u32, // rows after which gamma begins anew
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [R, D]
@group(0) @binding(2) var<storage, read> dy: array<f32>; // [R, D]
@group(0) @binding(3) var<storage, read> scales: array<f32>; // [5, R]: first element, mean less that, 1 / std, b, d
@group(0) @binding(4) var<storage, read> gamma: array<f32>; // [groups * D / inner]
@group(0) @binding(5) var<storage, read_write> dx: array<f32>; // [R, D]

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
    var g = dy[id];
    if (AFFINE) {
        g *= gamma[(row % p.groups) * (p.d / p.inner) + (id - row * p.d) / p.inner];
    }
    let away = (x[id] - scales[row]) - scales[p.rows + row];
    dx[id] = scales[2u * p.rows + row] * ((g - scales[3u * p.rows + row]) - away * scales[4u * p.rows + row]);
}
