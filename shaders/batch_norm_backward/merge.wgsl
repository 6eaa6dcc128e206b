// Adds up the parts of each channel and derives from them dgamma, dbeta and the coefficients of dx.

const AFFINE: bool = false;

struct Params {
    c: u32,
    l: u32,
    parts: u32,
    count: f32, // N * L
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, L]: each channel's first element
@group(0) @binding(2) var<storage, read> parts: array<f32>; // [3, C, parts]
@group(0) @binding(3) var<storage, read> variance: array<f32>; // [C]
@group(0) @binding(4) var<storage, read> gamma: array<f32>; // [C]
@group(0) @binding(5) var<storage, read_write> dgamma: array<f32>; // [C]
@group(0) @binding(6) var<storage, read_write> dbeta: array<f32>; // [C]
@group(0) @binding(7) var<storage, read_write> scales: array<f32>; // [5, C]: first element, mean less that, a, b, d

@compute @workgroup_size(8)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>) {
    let channel = wid.x * 8u + lane;
    if (channel >= p.c) {
        return;
    }
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    for (var t = 0u; t < (p.parts + 3u) / 4u; t++) {
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            if (t * 4u + j < p.parts) {
                let at = channel * p.parts + t * 4u + j;
                s0[j] += parts[at];
                s1[j] += parts[p.c * p.parts + at];
                s2[j] += parts[2u * p.c * p.parts + at];
            }
        }
    }
    let sum_dy = (s0.x + s0.y) + (s0.z + s0.w);
    let sum_dyx = (s1.x + s1.y) + (s1.z + s1.w);
    let offset = ((s2.x + s2.y) + (s2.z + s2.w)) / p.count;
    let rstd = 1.0 / sqrt(variance[channel] + p.eps);
    let slope = (sum_dyx - offset * sum_dy) * rstd;
    var weight = 1.0;
    if (AFFINE) {
        weight = gamma[channel];
    }
    dgamma[channel] = slope;
    dbeta[channel] = sum_dy;
    // dx = a * (dy - b - (x - mean) * d)
    scales[channel] = x[channel * p.l];
    scales[p.c + channel] = offset;
    scales[2u * p.c + channel] = weight * rstd;
    scales[3u * p.c + channel] = sum_dy / p.count;
    scales[4u * p.c + channel] = slope * rstd / p.count;
}
