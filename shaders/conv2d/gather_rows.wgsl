// Copies the rows of images into blocks of whole octets, with the padding of a convolution written out, so that the
// kernels that read them need neither bounds checks nor unaligned loads. Neighbouring blocks overlap.
//
// Element e of phase f of block b of a row is column (b * block + e) * stride + f - pad_left of the image, or 0
// outside of it. With `spread` above 1 the image is read as if it had spread - 1 zeros after each row and column.

const OCTETS: u32 = 2u; // octets of a phase of a block
const PHASES: u32 = 1u; // columns of different remainder modulo the stride lie apart
const SPREAD: bool = false;
const WG: u32 = 8u;

struct Params {
    count: u32, // blocks of all images
    total: u32, // blocks to write; those from `count` on are zero
    height: u32,
    width: u32,
    rows: u32, // rows written for each image
    blocks: u32, // blocks of a row
    block: u32, // columns from one block to the next, in steps of the stride
    stride: u32,
    pad_top: i32,
    pad_left: i32,
    spread_h: u32,
    spread_w: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [images, height, width]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u64>>; // [images, rows, blocks, PHASES, OCTETS]

//!include lib/octet.wgsl

fn element(row_at: u32, row_inside: bool, column: i32) -> f32 {
    var col = u32(column); // a negative column becomes a large one
    var inside = row_inside;
    if (SPREAD) {
        inside = inside && col % p.spread_w == 0u;
        col = select(col / p.spread_w, p.width, column < 0);
    }
    inside = inside && col < p.width;
    return select(0.0, x[row_at + min(col, p.width - 1u)], inside);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * WG + lane;
    if (id >= p.total) {
        return;
    }
    let block = id % p.blocks;
    let image_row = id / p.blocks;
    let image = image_row / p.rows;
    let row_signed = i32(image_row - image * p.rows) - p.pad_top;
    var row = u32(row_signed);
    var inside = id < p.count;
    if (SPREAD) {
        inside = inside && row % p.spread_h == 0u;
        row = select(row / p.spread_h, p.height, row_signed < 0);
    }
    inside = inside && row < p.height;
    let row_at = select(0u, (image * p.height + row) * p.width, inside);
    let first = i32(block * p.block * p.stride) - p.pad_left;
    let stride = i32(p.stride);
    //!unroll
    for (var f = 0u; f < PHASES; f++) {
        //!unroll
        for (var o = 0u; o < OCTETS; o++) {
            var e: array<f32, 8>;
            //!unroll
            for (var j = 0u; j < 8u; j++) {
                e[j] = element(row_at, inside, first + i32(o * 8u + j) * stride + i32(f));
            }
            y[(id * PHASES + f) * OCTETS + o] = octet_of(vec4<f32>(e[0], e[2], e[4], e[6]), vec4<f32>(e[1], e[3], e[5], e[7]));
        }
    }
}
