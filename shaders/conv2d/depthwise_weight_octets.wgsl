// The same as `depthwise_weight`, for adapters that run a subgroup of exactly 8 lanes as one vector register: a
// workgroup sums a whole kernel over a share of the segments of dy, cut into blocks of OCTETS octets, one per lane
// at a time.
//
// A segment is a row, or with FLAT (rows of x and dy are equally long, and the stride is 1) a plane, of which each
// tap leaves out the columns that it moves beyond the row.

const OCTETS: u32 = 4u;
const FLAT: bool = true;
const R: u32 = 3u;
const S: u32 = 3u;
const STRIDE: u32 = 1u; // along the row
const DILATION: u32 = 1u; // along the row
const PAD: i32 = 1i; // before the row

const TILE: u32 = OCTETS * 8u;
const RUN: u32 = (TILE - 1u) * STRIDE + (S - 1u) * DILATION + 1u;
const RUN_OCTETS: u32 = (RUN + 14u) / 8u; // in which a run lies wherever it begins

struct Params {
    units: u32, // blocks of one channel of all images
    steps: u32, // units of a lane
    splits: u32,
    blocks: u32, // of a segment
    blocks_m: u32, // what `quotient` takes
    blocks_h: u32,
    rows: u32, // segments of a plane of dy
    rows_m: u32,
    rows_h: u32,
    segment: u32, // elements of dy
    columns: u32, // of dy
    columns_m: u32,
    columns_h: u32,
    k: u32,
    divide: u32, // channel k of dy meets channel k / divide of x
    c: u32,
    in_h: u32,
    in_w: u32,
    stride_h: u32,
    dilation_h: u32,
    pad_top: i32,
    x_last: u32, // index of the last octet
    dy_last: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [N, C, in_h, in_w]
@group(0) @binding(2) var<storage, read> dy: array<vec4<u64>>; // [N, K, rows, segment]
@group(0) @binding(3) var<storage, read_write> dw: array<f32>; // [splits, K, R, S]

//!include lib/octet.wgsl

//!include lib/quotient.wgsl

@compute @workgroup_size(8)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = wid.x + wid.y * nwg.x;
    if (id >= p.k * p.splits) {
        return;
    }
    let k = id % p.k;
    let split = id / p.k;
    let c = k / p.divide;

    var acc: array<f32, R * S>;
    //!unroll
    for (var i = 0u; i < R * S; i++) {
        acc[i] = 0.0;
    }
    for (var step = 0u; step < p.steps; step++) {
        // A lane without a unit takes the last one again and leaves out all of its elements.
        let asked = (step * p.splits + split) * 8u + lane;
        let unit = min(asked, p.units - 1u);
        let segments = quotient(unit, p.blocks_m, p.blocks_h);
        let offset = (unit - segments * p.blocks) * TILE;
        let image = quotient(segments, p.rows_m, p.rows_h);
        let row = segments - image * p.rows;
        let elements = select(0u, p.segment - offset, asked < p.units);

        // What counts of dy for column s of the kernel is in gs[s * TILE ..]. A run begins up to 7 floats into an
        // octet: three conditional moves bring it to the front.
        let dy_at = ((image * p.k + k) * p.rows + row) * p.segment + offset;
        var g: array<f32, TILE + 8u>;
        //!unroll
        for (var o = 0u; o < OCTETS + 1u; o++) {
            let octet = dy[min(dy_at / 8u + o, p.dy_last)];
            let even = evens(octet);
            let odd = odds(octet);
            //!unroll
            for (var j = 0u; j < 4u; j++) {
                g[o * 8u + j * 2u] = even[j];
                g[o * 8u + j * 2u + 1u] = odd[j];
            }
        }
        //!unroll
        for (var i = 0u; i < TILE + 3u; i++) {
            g[i] = select(g[i], g[i + 4u], (dy_at & 4u) != 0u);
        }
        //!unroll
        for (var i = 0u; i < TILE + 1u; i++) {
            g[i] = select(g[i], g[i + 2u], (dy_at & 2u) != 0u);
        }
        //!unroll
        for (var i = 0u; i < TILE; i++) {
            g[i] = select(g[i], g[i + 1u], (dy_at & 1u) != 0u);
        }
        var gs: array<f32, S * TILE>;
        var column = offset - quotient(offset, p.columns_m, p.columns_h) * p.columns;
        //!unroll
        for (var i = 0u; i < TILE; i++) {
            //!unroll
            for (var s = 0u; s < S; s++) {
                let centre = !FLAT || i32(s * DILATION) == PAD;
                let met = centre || u32(i32(column + s * DILATION) - PAD) < p.columns;
                gs[s * TILE + i] = select(0.0, g[i], i < elements && met);
            }
            column = select(column + 1u, 0u, column + 1u == p.columns);
        }

        let x_plane = (image * p.c + c) * p.in_h;
        //!unroll
        for (var r = 0u; r < R; r++) {
            // The run begins at x[at]; what counts of it are the `len` elements from `low` on.
            let h = i32(row * p.stride_h + r * p.dilation_h) - p.pad_top;
            let inside = u32(h) < p.in_h;
            let low = select((x_plane + select(0u, u32(h), inside)) * p.in_w, x_plane * p.in_w, FLAT);
            let len = select(select(0u, p.in_w, inside), p.in_h * p.in_w, FLAT);
            let down = select(0, h * i32(p.in_w), FLAT);
            let at = i32(low) + i32(offset * STRIDE) + down - PAD;
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
                xs[i] = select(0.0, moved, u32(at + i32(i)) - low < len);
            }
            //!unroll
            for (var s = 0u; s < S; s++) {
                //!unroll
                for (var i = 0u; i < TILE; i++) {
                    acc[r * S + s] += gs[s * TILE + i] * xs[i * STRIDE + s * DILATION];
                }
            }
        }
    }

    let dw_at = (split * p.k + k) * (R * S);
    //!unroll
    for (var i = 0u; i < R * S; i++) {
        let sum = subgroupAdd(acc[i]);
        if (lane == 0u) {
            dw[dw_at + i] = sum;
        }
    }
}
