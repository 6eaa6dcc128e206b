// Adam and AdamW, four elements per thread.
const WG: u32 = 64u;
// Whether the largest second moment so far is used.
const AMSGRAD: bool = false;
// 0 none, 1 by a factor, 2 by value.
const CLIP: u32 = 0u;

struct Params {
    n: u32, // elements
    bound: f32,
    step_size: f32,    // lr / (1 - beta1^t)
    eps: f32,
    share1: f32,       // 1 - beta1
    beta2: f32,
    share2: f32,       // 1 - beta2
    correction2: f32,  // 1 / sqrt(1 - beta2^t)
    weight_decay: f32, // added to the gradient
    decay: f32,        // taken off the weight: lr * weight_decay
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gradient: array<vec4<f32>>; // [n]
@group(0) @binding(2) var<storage, read> factor: array<f32>; // [1]
@group(0) @binding(3) var<storage, read_write> weight: array<vec4<f32>>; // [n]
@group(0) @binding(4) var<storage, read_write> first: array<vec4<f32>>; // [n]
@group(0) @binding(5) var<storage, read_write> second: array<vec4<f32>>; // [n]
@group(0) @binding(6) var<storage, read_write> largest: array<vec4<f32>>; // [n]

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
    var m = first[i];
    m += p.share1 * (g - m);
    first[i] = select(zero, m, inside);
    var v = p.beta2 * second[i] + p.share2 * g * g;
    second[i] = select(zero, v, inside);
    if (AMSGRAD) {
        v = max(largest[i], v);
        largest[i] = select(zero, v, inside);
    }
    // The floor keeps 0 / 0 from spreading where eps is 0.
    let scale = max(sqrt(v) * p.correction2 + p.eps, vec4<f32>(1.1754944e-38));
    weight[i] = select(zero, w - p.decay * w - p.step_size * (m / scale), inside);
}
