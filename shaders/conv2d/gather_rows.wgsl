// Copies the rows of images into blocks of whole octets, with the padding of a convolution written out, so
// that the kernels that read them need neither bounds checks nor unaligned loads. Neighbouring blocks
// overlap.
//
// Element e of phase f of block b of a row is column (b * block + e) * STRIDE + f - pad_left of the image, or
// 0 outside of it. With `spread` above 1 the image is read as if it had spread - 1 zeros after each column.

const OCTETS: u32 = 2u; // octets of a phase of a block
const PHASES: u32 = 1u; // columns of different remainder modulo the stride lie apart
const STRIDE: u32 = 1u; // along the row
const SPREAD: bool = false; // without it a block is picked from a run of floats in memory
const WG: u32 = 64u; // a workgroup costs a software adapter 0.1 us

const RUN: u32 = OCTETS * STRIDE * 8u;

struct Params {
    count: u32, // blocks of all images
    height: u32,
    width: u32,
    rows: u32, // rows written for each image
    blocks: u32, // blocks of a row
    block: u32, // columns from one block to the next, in strides
    pad_top: i32,
    pad_left: i32,
    spread: u32,
    last: u32, // index of the last octet of x
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [images, height, width]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u64>>; // [images, rows, blocks, PHASES, OCTETS]

//!include lib/octet.wgsl

// One float of a row that begins at `row_at`, or 0 outside of it.
fn element(row_at: u32, row_inside: bool, column: i32) -> f32 {
    let col = u32(column) / p.spread;
    let inside = row_inside && column >= 0 && col * p.spread == u32(column) && col < p.width;
    let at = select(0u, row_at + col, inside);
    let pair = x[at / 8u][at / 2u % 4u];
    return select(0.0, bitcast<f32>(u32(select(pair, pair >> 32u, at % 2u == 1u))), inside);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * WG + lane;
    if (id >= p.count) {
        return;
    }
    let image_row = id / p.blocks;
    let block = id - image_row * p.blocks;
    let image = image_row / p.rows;
    let row_signed = i32(image_row - image * p.rows) - p.pad_top;
    let row = u32(row_signed); // a row in the padding above becomes a large one
    let inside = row < p.height;
    let row_at = select(0u, (image * p.height + row) * p.width, inside);
    let first = i32(block * p.block * STRIDE) - p.pad_left;

    if (SPREAD) {
        //!unroll
        for (var o = 0u; o < PHASES * OCTETS; o++) {
            var even: vec4<f32>;
            var odd: vec4<f32>;
            //!unroll
            for (var j = 0u; j < 4u; j++) {
                let column = first + i32((o % OCTETS * 8u + j * 2u) * STRIDE + o / OCTETS);
                even[j] = element(row_at, inside, column);
                odd[j] = element(row_at, inside, column + i32(STRIDE));
            }
            y[id * PHASES * OCTETS + o] = octet_of(even, odd);
        }
    } else {
        // The run begins `shift` floats into an octet: three conditional moves bring it to the front.
        let at = i32(row_at) + first;
        let octet_at = at >> 3u;
        let shift = u32(at) & 7u;
        var e: array<f32, RUN + 8u>;
        //!unroll
        for (var o = 0u; o < RUN / 8u + 1u; o++) {
            // Octets before the first or behind the last hold nothing that is inside.
            let octet = x[clamp(octet_at + i32(o), 0, i32(p.last))];
            let even = evens(octet);
            let odd = odds(octet);
            //!unroll
            for (var j = 0u; j < 4u; j++) {
                e[o * 8u + j * 2u] = even[j];
                e[o * 8u + j * 2u + 1u] = odd[j];
            }
        }
        //!unroll
        for (var i = 0u; i < RUN + 4u; i++) {
            e[i] = select(e[i], e[i + 4u], (shift & 4u) != 0u);
        }
        //!unroll
        for (var i = 0u; i < RUN + 2u; i++) {
            e[i] = select(e[i], e[i + 2u], (shift & 2u) != 0u);
        }
        //!unroll
        for (var i = 0u; i < RUN; i++) {
            let moved = select(e[i], e[i + 1u], (shift & 1u) != 0u);
            e[i] = select(0.0, moved, inside && u32(first + i32(i)) < p.width);
        }
        //!unroll
        for (var f = 0u; f < PHASES; f++) {
            //!unroll
            for (var i = f; i < RUN; i += 8u * STRIDE) {
                y[(id * PHASES + f) * OCTETS + i / (8u * STRIDE)] = octet_of(
                    vec4<f32>(e[i], e[i + 2u * STRIDE], e[i + 4u * STRIDE], e[i + 6u * STRIDE]),
                    vec4<f32>(e[i + STRIDE], e[i + 3u * STRIDE], e[i + 5u * STRIDE], e[i + 7u * STRIDE]),
                );
            }
        }
    }
}
