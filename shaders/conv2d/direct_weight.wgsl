// dw[k, c, r, s] = sum over n, p, q of dy[n, k, p, q] * x[n, c, p * stride + r * dilation - pad, ..]. Each
// invocation computes 4 output channels of 4 neighbouring weights over a share of the pixels, for any shape.

const WG: u32 = 64u;

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
    splits: u32,
    pixels: u32, // pixels of dy, of all images, in a split
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, H, W]
@group(0) @binding(2) var<storage, read> dy: array<f32>; // [N, K, P, Q]
@group(0) @binding(3) var<storage, read_write> dw: array<f32>; // [splits, K, C / groups, R, S]

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * WG + lane;
    let k_group = p.k / p.groups;
    let c_group = p.c / p.groups;
    let weights = c_group * p.r * p.s;
    let tiles_j = (weights + 3u) / 4u;
    let tiles_k = (k_group + 3u) / 4u;
    let j0 = id % tiles_j * 4u;
    let k0 = id / tiles_j % tiles_k * 4u; // within the group
    let group = id / (tiles_j * tiles_k) % p.groups;
    let split = id / (tiles_j * tiles_k * p.groups);
    if (split >= p.splits) {
        return;
    }

    // Where the pixel that weight j0 + i sees lies: its channel, and its row and column for p = q = 0.
    let j = min(vec4<u32>(j0) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(weights - 1u));
    let channel = group * c_group + j / (p.r * p.s);
    let up = j / p.s % p.r * p.dilation_h - p.pad_top;
    let left = j % p.s * p.dilation_w - p.pad_left;
    let k_clamped = min(vec4<u32>(k0) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(k_group - 1u));
    let plane = p.p * p.q;

    // acc[i] holds the 4 weights of output channel k0 + i.
    var acc: array<vec4<f32>, 4>;
    //!unroll
    for (var i = 0u; i < 4u; i++) {
        acc[i] = vec4<f32>(0.0);
    }
    let begin = split * p.pixels;
    let end = min(begin + p.pixels, p.n * plane);
    var image = begin / plane;
    var row = begin % plane / p.q;
    var col = begin % p.q;
    for (var pixel = begin; pixel < end; pixel++) {
        let h = row * p.stride_h + up;
        let v = col * p.stride_w + left;
        let inside = (h < vec4<u32>(p.h)) & (v < vec4<u32>(p.w));
        let x_at = select(vec4<u32>(0u), ((image * p.c + channel) * p.h + h) * p.w + v, inside);
        let read = vec4<f32>(x[x_at.x], x[x_at.y], x[x_at.z], x[x_at.w]);
        let seen = select(vec4<f32>(0.0), read, inside);
        let dy_at = (image * p.k + group * k_group + k_clamped) * plane + row * p.q + col;
        //!unroll
        for (var i = 0u; i < 4u; i++) {
            acc[i] += dy[dy_at[i]] * seen;
        }
        col++;
        if (col == p.q) {
            col = 0u;
            row++;
            if (row == p.p) {
                row = 0u;
                image++;
            }
        }
    }

    //!unroll
    for (var i = 0u; i < 4u; i++) {
        if (k0 + i < k_group) {
            let dw_at = ((split * p.groups + group) * k_group + k0 + i) * weights + j0;
            //!unroll
            for (var t = 0u; t < 4u; t++) {
                if (j0 + t < weights) {
                    dw[dw_at + t] = acc[i][t];
                }
            }
        }
    }
}
