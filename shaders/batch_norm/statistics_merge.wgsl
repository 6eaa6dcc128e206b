// Joins the parts of each channel (Chan, Golub, LeVeque 1979): mean of the means, deviations between and within.

const AFFINE: bool = false;

struct Params {
    c: u32,
    l: u32,
    parts: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, L]: each channel's first element
@group(0) @binding(2) var<storage, read> parts: array<f32>; // [3, C, parts]: elements, mean, squared deviations
@group(0) @binding(3) var<storage, read> gamma: array<f32>; // [C]
@group(0) @binding(4) var<storage, read_write> mean: array<f32>; // [C]
@group(0) @binding(5) var<storage, read_write> variance: array<f32>; // [C]
@group(0) @binding(6) var<storage, read_write> scales: array<f32>; // [3, C]: first element, mean less that, gamma / std

@compute @workgroup_size(8)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>) {
    let channel = wid.x * 8u + lane;
    if (channel >= p.c) {
        return;
    }
    let at = channel * p.parts;
    let plane = p.c * p.parts;
    let trips = (p.parts + 3u) / 4u;
    var counts = vec4<f32>(0.0);
    var sums = vec4<f32>(0.0);
    for (var t = 0u; t < trips; t++) {
        //!unroll
        for (var j = 0u; j < 4u; j++) {
            if (t * 4u + j < p.parts) {
                let count = parts[at + t * 4u + j];
                counts[j] += count;
                sums[j] += count * parts[plane + at + t * 4u + j];
            }
        }
    }
    let n = (counts.x + counts.y) + (counts.z + counts.w);
    let offset = ((sums.x + sums.y) + (sums.z + sums.w)) / n;
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
    let biased = ((squares.x + squares.y) + (squares.z + squares.w)) / n;
    let shift = x[channel * p.l];
    mean[channel] = shift + offset;
    variance[channel] = biased;
    var scale = 1.0 / sqrt(biased + p.eps);
    if (AFFINE) {
        scale *= gamma[channel];
    }
    scales[channel] = shift;
    scales[p.c + channel] = offset;
    scales[2u * p.c + channel] = scale;
}
