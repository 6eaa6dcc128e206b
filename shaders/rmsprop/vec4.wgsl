// RMSprop, four elements per thread.
const WG: u32 = 64u;
// Whether the mean gradient is subtracted from the second moment.
const CENTERED: bool = false;
// Whether updates have momentum.
const MOMENTUM: bool = false;
// 0 none, 1 by a factor, 2 by value.
const CLIP: u32 = 0u;

struct Params {
    n: u32, // elements
    bound: f32,
    lr: f32,
    weight_decay: f32,
    alpha: f32,
    share: f32, // 1 - alpha
    eps: f32,
    momentum: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gradient: array<vec4<f32>>; // [n]
@group(0) @binding(2) var<storage, read> factor: array<f32>; // [1]
@group(0) @binding(3) var<storage, read_write> weight: array<vec4<f32>>; // [n]
@group(0) @binding(4) var<storage, read_write> square: array<vec4<f32>>; // [n]
@group(0) @binding(5) var<storage, read_write> mean: array<vec4<f32>>; // [n]
@group(0) @binding(6) var<storage, read_write> momentum: array<vec4<f32>>; // [n]

//!include lib/clip.wgsl

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (wid.x + wid.y * nwg.x) * WG + lane;
    if (i * 4u >= p.n) {
        return;
    }
    // What lies behind the end stays zero.
    let inside = vec4<u32>(i * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.n);
    let zero = vec4<f32>(0.0);
    let w = weight[i];
    let g = clipped(gradient[i], CLIP, factor[0], p.bound) + p.weight_decay * w;
    let s = p.alpha * square[i] + p.share * g * g;
    square[i] = select(zero, s, inside);
    var variance = s;
    if (CENTERED) {
        var a = mean[i];
        a += p.share * (g - a);
        mean[i] = select(zero, a, inside);
        // Rounding can leave a little less than nothing.
        variance = max(s - a * a, zero);
    }
    // The floor keeps 0 / 0 from spreading where eps is 0.
    var step = g / max(sqrt(variance) + p.eps, vec4<f32>(1.1754944e-38));
    if (MOMENTUM) {
        step += p.momentum * momentum[i];
        momentum[i] = select(zero, step, inside);
    }
    weight[i] = select(zero, w - p.lr * step, inside);
}
