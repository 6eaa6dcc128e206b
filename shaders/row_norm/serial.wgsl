// y = (x - mean) / std * gamma + beta along rows of [R, D], with the mean and the biased variance of each row: one
// thread per row. Values count from the row's first element, so a large mean costs no digits.

const AFFINE: bool = false;
const PLANES: bool = false; // gamma and beta have an element per `inner` neighbours, not one each
const ACTIVATION: u32 = 0u; // 0 none, 1 relu

struct Params {
    rows: u32,
    d: u32,
    inner: u32,
    groups: u32, // rows after which gamma and beta begin anew
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [R, D]
@group(0) @binding(2) var<storage, read> gamma: array<f32>; // [groups * D / inner]
@group(0) @binding(3) var<storage, read> beta: array<f32>; // [groups * D / inner]
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [R, D]
@group(0) @binding(5) var<storage, read_write> variance: array<f32>; // [R]

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
    let shift = x[at];
    // Short chains of additions lose less.
    var sum = 0.0;
    var carry = 0.0;
    for (var k = 0u; k < p.d; k++) {
        sum += x[at + k] - shift;
        if (k % 32u == 31u) {
            carry += sum;
            sum = 0.0;
        }
    }
    let offset = (carry + sum) / f32(p.d);
    sum = 0.0;
    carry = 0.0;
    for (var k = 0u; k < p.d; k++) {
        let away = (x[at + k] - shift) - offset;
        sum += away * away;
        if (k % 32u == 31u) {
            carry += sum;
            sum = 0.0;
        }
    }
    let biased = (carry + sum) / f32(p.d);
    variance[row] = biased;
    let scale = 1.0 / sqrt(biased + p.eps);
    let first = (row % p.groups) * (p.d / p.inner);
    for (var k = 0u; k < p.d; k++) {
        var value = ((x[at + k] - shift) - offset) * scale;
        if (AFFINE) {
            var channel = first + k;
            if (PLANES) {
                channel = first + k / p.inner;
            }
            value = value * gamma[channel] + beta[channel];
        }
        if (ACTIVATION == 1u) {
            value = max(value, 0.0);
        }
        y[at + k] = value;
    }
}
