// y[n, k, p, q] = act(bias[k] + sum over c, r, s of x[n, c, p * stride + r * dilation - pad, ..] * w[k, ..]).
// Each invocation computes 4 channels of 4 neighbouring pixels, for any shape.

const WG: u32 = 64u;
const BIAS: bool = false;
const ACTIVATION: u32 = 0u; // 0 none, 1 relu, 2 sigmoid, 3 tanh
const FIRST: bool = true; // the sum begins here
const LAST: bool = true; // the sum ends here

struct Params {
    n: u32,
    c: u32, // of all groups
    h: u32,
    w: u32,
    k: u32, // of all groups
    r: u32,
    s: u32,
    p: u32,
    q: u32,
    groups: u32,
    stride_h: u32,
    stride_w: u32,
    pad_top: u32,
    pad_left: u32,
    dilation_h: u32,
    dilation_w: u32,
    c_begin: u32, // the channels of a group that this dispatch sums over
    c_end: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, H, W]
@group(0) @binding(2) var<storage, read> w: array<f32>; // [K, C / groups, R, S]
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [K]
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [N, K, P, Q]

//!include lib/activation.wgsl

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * WG + lane;
    let k_group = p.k / p.groups;
    let c_group = p.c / p.groups;
    let tiles_q = (p.q + 3u) / 4u;
    let tiles_k = (k_group + 3u) / 4u;
    let q0 = id % tiles_q * 4u;
    let row = id / tiles_q % p.p;
    let tile = id / (tiles_q * p.p);
    let group = tile / tiles_k % p.groups;
    let image = tile / (tiles_k * p.groups);
    if (image >= p.n) {
        return;
    }
    let k0 = tile % tiles_k * 4u; // within the group

    // acc[i] holds 4 pixels of channel k0 + i.
    var acc: array<vec4<f32>, 4>;
    //!unroll
    for (var i = 0u; i < 4u; i++) {
        acc[i] = vec4<f32>(0.0);
    }
    let columns = (vec4<u32>(q0) + vec4<u32>(0u, 1u, 2u, 3u)) * p.stride_w;
    let w_channel = p.r * p.s;
    for (var c = p.c_begin; c < p.c_end; c++) {
        let plane = (image * p.c + group * c_group + c) * p.h;
        for (var r = 0u; r < p.r; r++) {
            // A position before the image wraps to one far behind it.
            let h = row * p.stride_h + r * p.dilation_h - p.pad_top;
            if (h < p.h) {
                let x_row = (plane + h) * p.w;
                let w_at = ((group * k_group + k0) * c_group + c) * w_channel + r * p.s;
                for (var s = 0u; s < p.s; s++) {
                    let col = columns + s * p.dilation_w - p.pad_left;
                    let at = x_row + min(col, vec4<u32>(p.w - 1u));
                    let read = vec4<f32>(x[at.x], x[at.y], x[at.z], x[at.w]);
                    let pixels = select(vec4<f32>(0.0), read, col < vec4<u32>(p.w));
                    //!unroll
                    for (var i = 0u; i < 4u; i++) {
                        acc[i] += w[w_at + min(i, k_group - 1u - k0) * c_group * w_channel + s] * pixels;
                    }
                }
            }
        }
    }

    //!unroll
    for (var i = 0u; i < 4u; i++) {
        if (k0 + i < k_group) {
            let k = group * k_group + k0 + i;
            let y_at = ((image * p.k + k) * p.p + row) * p.q + q0;
            var sum = acc[i];
            if (!FIRST) {
                //!unroll
                for (var j = 0u; j < 4u; j++) {
                    sum[j] += y[y_at + min(j, p.q - 1u - q0)];
                }
            }
            if (LAST && BIAS) {
                sum += bias[k];
            }
            if (LAST) {
                sum = activate(sum);
            }
            //!unroll
            for (var j = 0u; j < 4u; j++) {
                if (q0 + j < p.q) {
                    y[y_at + j] = sum[j];
                }
            }
        }
    }
}
