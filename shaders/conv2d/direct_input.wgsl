// dx[n, c, h, w] = sum over k and those p, q, r, s with p * stride + r * dilation - pad = h (and q, s, w
// likewise) of dy[n, k, p, q] * w[k, c, r, s]. Each invocation computes 4 channels of 4 neighbouring pixels,
// for any shape.

const WG: u32 = 64u;
const FIRST: bool = true; // the sum begins here

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
    k_begin: u32, // the channels of a group that this dispatch sums over
    k_end: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>; // [N, K, P, Q]
@group(0) @binding(2) var<storage, read> w: array<f32>; // [K, C / groups, R, S]
@group(0) @binding(3) var<storage, read_write> dx: array<f32>; // [N, C, H, W]

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * WG + lane;
    let k_group = p.k / p.groups;
    let c_group = p.c / p.groups;
    let tiles_w = (p.w + 3u) / 4u;
    let tiles_c = (c_group + 3u) / 4u;
    let w0 = id % tiles_w * 4u;
    let row = id / tiles_w % p.h;
    let tile = id / (tiles_w * p.h);
    let group = tile / tiles_c % p.groups;
    let image = tile / (tiles_c * p.groups);
    if (image >= p.n) {
        return;
    }
    let c0 = tile % tiles_c * 4u; // within the group

    // acc[i] holds 4 pixels of channel c0 + i.
    var acc: array<vec4<f32>, 4>;
    //!unroll
    for (var i = 0u; i < 4u; i++) {
        acc[i] = vec4<f32>(0.0);
    }
    let columns = vec4<u32>(w0 + p.pad_left) + vec4<u32>(0u, 1u, 2u, 3u);
    let w_channel = p.r * p.s;
    for (var r = 0u; r < p.r; r++) {
        // Sizes are below 2^31: a position before the first one has wrapped.
        let above = row + p.pad_top - r * p.dilation_h;
        if (above < 0x80000000u && above % p.stride_h == 0u && above / p.stride_h < p.p) {
            for (var s = 0u; s < p.s; s++) {
                let left = columns - s * p.dilation_w;
                let q = left / p.stride_w;
                let meets = (left < vec4<u32>(0x80000000u)) & (q * p.stride_w == left) & (q < vec4<u32>(p.q));
                let clamped = min(q, vec4<u32>(p.q - 1u));
                for (var k = p.k_begin; k < p.k_end; k++) {
                    let k_all = group * k_group + k;
                    let at = ((image * p.k + k_all) * p.p + above / p.stride_h) * p.q + clamped;
                    let read = vec4<f32>(dy[at.x], dy[at.y], dy[at.z], dy[at.w]);
                    let pixels = select(vec4<f32>(0.0), read, meets);
                    let w_at = (k_all * c_group + c0) * w_channel + r * p.s + s;
                    //!unroll
                    for (var i = 0u; i < 4u; i++) {
                        acc[i] += w[w_at + min(i, c_group - 1u - c0) * w_channel] * pixels;
                    }
                }
            }
        }
    }

    //!unroll
    for (var i = 0u; i < 4u; i++) {
        if (c0 + i < c_group) {
            let dx_at = ((image * p.c + group * c_group + c0 + i) * p.h + row) * p.w + w0;
            //!unroll
            for (var j = 0u; j < 4u; j++) {
                if (w0 + j < p.w) {
                    if (FIRST) {
                        dx[dx_at + j] = acc[i][j];
                    } else {
                        dx[dx_at + j] += acc[i][j];
                    }
                }
            }
        }
    }
}
