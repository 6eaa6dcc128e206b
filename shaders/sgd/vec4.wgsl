// Stochastic gradient descent, four elements per thread.
const WG: u32 = 64u;
// 0 plain, 1 with momentum, 2 Nesterov's.
const MOMENTUM: u32 = 1u;
// 0 none, 1 by a factor, 2 by value.
const CLIP: u32 = 0u;

struct Params {
    n: u32, // elements
    bound: f32,
    lr: f32,
    weight_decay: f32,
    momentum: f32,
    share: f32, // of the gradient in the momentum
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gradient: array<vec4<f32>>; // [n]
@group(0) @binding(2) var<storage, read> factor: array<f32>; // [1]
@group(0) @binding(3) var<storage, read_write> weight: array<vec4<f32>>; // [n]
@group(0) @binding(4) var<storage, read_write> momentum: array<vec4<f32>>; // [n]

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
    let w = weight[i];
    var g = clipped(gradient[i], CLIP, factor[0], p.bound) + p.weight_decay * w;
    if (MOMENTUM > 0u) {
        let m = p.momentum * momentum[i] + p.share * g;
        momentum[i] = select(vec4<f32>(0.0), m, inside);
        if (MOMENTUM == 2u) {
            g += p.momentum * m;
        } else {
            g = m;
        }
    }
    weight[i] = select(vec4<f32>(0.0), w - p.lr * g, inside);
}
