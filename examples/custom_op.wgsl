// y[r, c] = x[r, c] / sqrt(mean_c(x[r, c]^2) + eps): one invocation per row.
struct Params {
    rows: u32,
    columns: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, columns]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [rows, columns]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (row >= p.rows) {
        return;
    }
    let start = row * p.columns;
    var squares = 0.0;
    for (var c = 0u; c < p.columns; c++) {
        squares += x[start + c] * x[start + c];
    }
    let scale = 1.0 / sqrt(squares / f32(p.columns) + p.eps);
    for (var c = 0u; c < p.columns; c++) {
        y[start + c] = x[start + c] * scale;
    }
}
