// Adds up the parts of each row and derives from them the coefficients of dx.

struct Params {
    rows: u32,
    d: u32,
    parts: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [R, D]: each row's first element
@group(0) @binding(2) var<storage, read> parts: array<f32>; // [3, R, parts]
@group(0) @binding(3) var<storage, read> variance: array<f32>; // [R]
@group(0) @binding(4) var<storage, read_write> scales: array<f32>; // [5, R]: first element, mean less that, 1 / std, b, d

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
    let plane = p.rows * p.parts;
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    for (var t = 0u; t < (p.parts + 3u) / 4u; t++) {
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            if (t * 4u + j < p.parts) {
                let at = row * p.parts + t * 4u + j;
                s0[j] += parts[at];
                s1[j] += parts[plane + at];
                s2[j] += parts[2u * plane + at];
            }
        }
    }
    let count = f32(p.d);
    let offset = ((s0.x + s0.y) + (s0.z + s0.w)) / count;
    let mean_g = ((s1.x + s1.y) + (s1.z + s1.w)) / count;
    let mean_gx = ((s2.x + s2.y) + (s2.z + s2.w)) / count;
    let rstd = 1.0 / sqrt(variance[row] + p.eps);
    // dx = rstd * (g - b - (x - mean) * d)
    scales[row] = x[row * p.d];
    scales[p.rows + row] = offset;
    scales[2u * p.rows + row] = rstd;
    scales[3u * p.rows + row] = mean_g;
    scales[4u * p.rows + row] = (mean_gx - offset * mean_g) * rstd * rstd;
}
