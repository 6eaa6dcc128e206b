// The same as `depthwise` where rows of x and y are equally long and the strides are 1, for adapters that run a
// subgroup of 8 lanes as one vector register. There the pixels that a tap meets are one run in memory, for results
// across the ends of rows too: each lane computes OCTETS neighbouring octets of y where they lie, loads one run for
// each row of the kernel, and leaves out what a tap moves beyond the sides. What of its octets belongs to another
// plane, it computes in a further trip of its loop.

const OCTETS: u32 = 4u;
const R: u32 = 3u;
const S: u32 = 3u;
const DILATION: u32 = 1u; // along the row
const PAD: i32 = 1i; // before the row
const FLIP: bool = false; // weights turned round, one kernel for each channel of x instead of y
const ACTIVATION: u32 = 0u; // 0 none, 1 relu, 2 sigmoid, 3 tanh
const WG: u32 = 8u;

const TILE: u32 = OCTETS * 8u;
const RUN: u32 = TILE + (S - 1u) * DILATION;
const RUN_OCTETS: u32 = (RUN + 14u) / 8u; // in which a run lies wherever it begins
const W_OCTETS: u32 = (R * S + 14u) / 8u;

struct Params {
    total: u32, // elements of y
    plane: u32, // elements of a plane of y
    plane_m: u32, // what `quotient` takes
    plane_h: u32,
    k: u32,
    k_m: u32,
    k_h: u32,
    columns: u32,
    columns_m: u32,
    columns_h: u32,
    whole: u32, // a multiple of the columns that is no smaller than a tile
    c: u32,
    in_plane: u32, // elements of a plane of x
    divide_m: u32, // channel k of y begins with channel k / divide * terms of x
    divide_h: u32,
    terms: u32,
    above: i32, // elements from the first one that the first tap meets to the beginning of the row
    down: u32, // elements of x from one row of the kernel to the next
    x_last: u32, // index of the last octet
    w_last: u32,
    bias: u32, // 1 when there is one
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [N, C, in_plane]
@group(0) @binding(2) var<storage, read> w: array<vec4<u64>>; // [K, R, S], or [C, R, S] with FLIP
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [K]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<u64>>; // [N, K, plane]

//!include lib/octet.wgsl

//!include lib/quotient.wgsl

//!include lib/activation.wgsl

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let base = ((wid.x + wid.y * nwg.x) * WG + lane) * TILE;
    if (base >= p.total) {
        return;
    }
    var out: array<f32, TILE>;
    //!unroll
    for (var i = 0u; i < TILE; i++) {
        out[i] = 0.0;
    }

    // One loop for planes and terms, so that nothing but the results lives from one trip to the next.
    let end = min(base + TILE, p.total);
    var index = quotient(base, p.plane_m, p.plane_h);
    var begin = index * p.plane;
    var term = 0u;
    for (; begin < end;) {
        let image = quotient(index, p.k_m, p.k_h);
        let k = index - image * p.k;
        let c = quotient(k, p.divide_m, p.divide_h) * p.terms + term;
        // Where in the plane the lane's first element lies: before it when negative.
        let offset = i32(base) - i32(begin);

        // A run begins up to 7 floats into an octet: three conditional moves bring it to the front.
        let w_at = select(k, c, FLIP) * (R * S);
        var ws: array<f32, W_OCTETS * 8u>;
        //!unroll
        for (var o = 0u; o < W_OCTETS; o++) {
            let octet = w[min(w_at / 8u + o, p.w_last)];
            let even = evens(octet);
            let odd = odds(octet);
            //!unroll
            for (var j = 0u; j < 4u; j++) {
                ws[o * 8u + j * 2u] = even[j];
                ws[o * 8u + j * 2u + 1u] = odd[j];
            }
        }
        //!unroll
        for (var i = 0u; i < R * S + 3u; i++) {
            ws[i] = select(ws[i], ws[i + 4u], (w_at & 4u) != 0u);
        }
        //!unroll
        for (var i = 0u; i < R * S + 1u; i++) {
            ws[i] = select(ws[i], ws[i + 2u], (w_at & 2u) != 0u);
        }
        //!unroll
        for (var i = 0u; i < R * S; i++) {
            ws[i] = select(ws[i], ws[i + 1u], (w_at & 1u) != 0u);
        }

        // sums[s * TILE + i] is what column s of the kernel adds to element i.
        var sums: array<f32, S * TILE>;
        //!unroll
        for (var i = 0u; i < S * TILE; i++) {
            sums[i] = 0.0;
        }
        let first = (image * p.c + c) * p.in_plane;
        //!unroll
        for (var r = 0u; r < R; r++) {
            let at = i32(first + r * p.down) + offset - p.above;
            var xs: array<f32, RUN_OCTETS * 8u>;
            //!unroll
            for (var o = 0u; o < RUN_OCTETS; o++) {
                let octet = x[clamp((at >> 3u) + i32(o), 0, i32(p.x_last))];
                let even = evens(octet);
                let odd = odds(octet);
                //!unroll
                for (var j = 0u; j < 4u; j++) {
                    xs[o * 8u + j * 2u] = even[j];
                    xs[o * 8u + j * 2u + 1u] = odd[j];
                }
            }
            //!unroll
            for (var i = 0u; i < RUN + 3u; i++) {
                xs[i] = select(xs[i], xs[i + 4u], (at & 4) != 0);
            }
            //!unroll
            for (var i = 0u; i < RUN + 1u; i++) {
                xs[i] = select(xs[i], xs[i + 2u], (at & 2) != 0);
            }
            //!unroll
            for (var i = 0u; i < RUN; i++) {
                let moved = select(xs[i], xs[i + 1u], (at & 1) != 0);
                xs[i] = select(0.0, moved, u32(at + i32(i)) - first < p.in_plane);
            }
            //!unroll
            for (var s = 0u; s < S; s++) {
                let weight = select(ws[r * S + s], ws[R * S - 1u - (r * S + s)], FLIP);
                //!unroll
                for (var i = 0u; i < TILE; i++) {
                    sums[s * TILE + i] += weight * xs[i + s * DILATION];
                }
            }
        }

        var add = 0.0;
        if (p.bias == 1u && term == 0u) {
            add = bias[k];
        }
        let ahead = u32(offset + i32(p.whole));
        var column = ahead - quotient(ahead, p.columns_m, p.columns_h) * p.columns;
        //!unroll
        for (var i = 0u; i < TILE; i++) {
            var sum = add;
            //!unroll
            for (var s = 0u; s < S; s++) {
                let met = i32(s * DILATION) == PAD || u32(i32(column + s * DILATION) - PAD) < p.columns;
                sum += select(0.0, sums[s * TILE + i], met);
            }
            out[i] = select(out[i], out[i] + sum, u32(offset + i32(i)) < p.plane);
            column = select(column + 1u, 0u, column + 1u == p.columns);
        }
        term++;
        if (term == p.terms) {
            term = 0u;
            index++;
            begin += p.plane;
        }
    }

    //!unroll
    for (var o = 0u; o < OCTETS; o++) {
        let even = activate(vec4<f32>(out[o * 8u], out[o * 8u + 2u], out[o * 8u + 4u], out[o * 8u + 6u]));
        let odd = activate(vec4<f32>(out[o * 8u + 1u], out[o * 8u + 3u], out[o * 8u + 5u], out[o * 8u + 7u]));
        // What lies behind the last element stays zero.
        let left = vec4<u32>(p.total - min(base + o * 8u, p.total));
        let even_left = select(vec4<f32>(0.0), even, left > vec4<u32>(0u, 2u, 4u, 6u));
        let odd_left = select(vec4<f32>(0.0), odd, left > vec4<u32>(1u, 3u, 5u, 7u));
        if (base + o * 8u < p.total) {
            y[base / 8u + o] = octet_of(even_left, odd_left);
        }
    }
}
