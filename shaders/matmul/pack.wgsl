// Copies matrices to rows of a padded length, zeros behind each row: what the kernels with wide loads read when
// rows are not multiples of their vector length.

struct Params {
    rows: u32, // of all matrices together
    columns: u32,
    pitch: u32, // columns with padding
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, columns]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [rows, pitch]

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let i = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (i >= p.rows * p.pitch) {
        return;
    }
    let row = i / p.pitch;
    let column = i % p.pitch;
    let value = x[row * p.columns + min(column, p.columns - 1u)];
    y[i] = select(0.0, value, column < p.columns);
}
