// Joins the parts of each row (Chan, Golub, LeVeque 1979): mean of the means, deviations between and within.

struct Params {
    rows: u32,
    d: u32,
    parts: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [R, D]: each row's first element
@group(0) @binding(2) var<storage, read> parts: array<f32>; // [3, R, parts]: elements, mean, squared deviations
@group(0) @binding(3) var<storage, read_write> variance: array<f32>; // [R]
@group(0) @binding(4) var<storage, read_write> scales: array<f32>; // [3, R]: first element, mean less that, 1 / std

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
    let at = row * p.parts;
    let plane = p.rows * p.parts;
    let trips = (p.parts + 3u) / 4u;
    var sums = vec4<f32>(0.0);
    for (var t = 0u; t < trips; t++) {
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            if (t * 4u + j < p.parts) {
                sums[j] += parts[at + t * 4u + j] * parts[plane + at + t * 4u + j];
            }
        }
    }
    let offset = ((sums.x + sums.y) + (sums.z + sums.w)) / f32(p.d);
    var squares = vec4<f32>(0.0);
    for (var t = 0u; t < trips; t++) {
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            if (t * 4u + j < p.parts) {
                let away = parts[plane + at + t * 4u + j] - offset;
                squares[j] += parts[2u * plane + at + t * 4u + j] + parts[at + t * 4u + j] * away * away;
            }
        }
    }
    let biased = ((squares.x + squares.y) + (squares.z + squares.w)) / f32(p.d);
    variance[row] = biased;
    scales[row] = x[row * p.d];
    scales[p.rows + row] = offset;
    scales[2u * p.rows + row] = 1.0 / sqrt(biased + p.eps);
}
