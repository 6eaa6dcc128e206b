// dx = (g - mean(g) - x^ * mean(g * x^)) / std along rows of [R, D], where g = dy * gamma and x^ is the normalised x: one
// thread per row.

const AFFINE: bool = false;
const PLANES: bool = false; // gamma has an element per `inner` neighbours, not one each

struct Params {
    rows: u32,
    d: u32,
    inner: u32,
    groups: u32, // rows after which gamma begins anew
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [R, D]
@group(0) @binding(2) var<storage, read> dy: array<f32>; // [R, D]
@group(0) @binding(3) var<storage, read> variance: array<f32>; // [R]
@group(0) @binding(4) var<storage, read> gamma: array<f32>; // [groups * D / inner]
@group(0) @binding(5) var<storage, read_write> scales: array<f32>; // [3, R]: first element, mean less that, 1 / std
@group(0) @binding(6) var<storage, read_write> dx: array<f32>; // [R, D]

fn weighted(first: u32, k: u32, slope: f32) -> f32 {
    if (!AFFINE) {
        return slope;
    }
    if (PLANES) {
        return slope * gamma[first + k / p.inner];
    }
    return slope * gamma[first + k];
}

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let row = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (row >= p.rows) {
        return;
    }
    let at = row * p.d;
    let first = (row % p.groups) * (p.d / p.inner);
    let shift = x[at];
    // x, g and g * x, with x from the row's first element. Short chains of additions lose less.
    var sums = vec3<f32>(0.0);
    var carry = vec3<f32>(0.0);
    for (var k = 0u; k < p.d; k++) {
        let value = x[at + k] - shift;
        let g = weighted(first, k, dy[at + k]);
        sums += vec3<f32>(value, g, g * value);
        if (k % 32u == 31u) {
            carry += sums;
            sums = vec3<f32>(0.0);
        }
    }
    sums += carry;
    let count = f32(p.d);
    let offset = sums.x / count;
    let mean_g = sums.y / count;
    let mean_gx = sums.z / count;
    let rstd = 1.0 / sqrt(variance[row] + p.eps);
    let slope = (mean_gx - offset * mean_g) * rstd * rstd;
    scales[row] = shift;
    scales[p.rows + row] = offset;
    scales[2u * p.rows + row] = rstd;
    for (var k = 0u; k < p.d; k++) {
        let away = (x[at + k] - shift) - offset;
        dx[at + k] = rstd * ((weighted(first, k, dy[at + k]) - mean_g) - away * slope);
    }
}
