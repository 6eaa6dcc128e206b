// The convolution of gathered rows. The including kernel declares `y` and `put(at, even, odd, columns, q)`,
// which stores pixels q and q + 1, as far as they are below `columns`, at y[at] and y[at + 1].
//
// Each lane computes TILE_Q neighbouring pixels of TILE_K channels; the 8 lanes have different rows, blocks
// or images, so all of them need the same weights: each lane loads other ones and they pass them round by
// shuffle. x and w come from `gather_rows` and `gather_weights`, which have dealt with padding, alignment and
// edges.

const TILE_K: u32 = 32u; // a multiple of 8
const TILE_Q: u32 = 14u;
const S: u32 = 3u;
const CHANNELS: u32 = 1u; // input channels of a step: one tap alone does not pay for loading the sums
const STRIDE: u32 = 1u; // along the row
const DILATION: u32 = 1u; // along the row
const PHASES: u32 = 1u;
const OCTETS: u32 = 2u; // of a phase of a block of x
const LOADS: u32 = 2u; // octets of weights per lane and step: CHANNELS * S * TILE_K / 64, rounded up
const ACTIVATION: u32 = 0u; // 0 none, 1 relu, 2 sigmoid, 3 tanh

const BLOCK: u32 = PHASES * OCTETS;
const TILE_K8: u32 = TILE_K / 8u;

struct Params {
    units: u32, // N * rows * blocks
    blocks: u32,
    rows: u32, // rows of y that this dispatch computes: out_first, out_first + out_step, ..
    in_channels: u32,
    steps_c: u32, // in_channels / CHANNELS, rounded up
    r: u32,
    taps: u32, // of the R taps those that these rows meet: tap_first, tap_first + tap_step, ..
    tap_first: u32,
    tap_step: u32,
    k: u32,
    out_rows: u32,
    out_columns: u32,
    out_first: u32,
    out_step: u32,
    tiles_k: u32,
    x_first: u32, // the octet that the first tap of the first row meets; the distances are in octets
    x_row: u32, // from one of the rows to the next
    x_tap: u32, // from one of the taps to the next
    x_channel: u32,
    x_image: u32,
    bias: u32, // 1 when there is one; not baked, so that a layer with a bias and its gradient share a pipeline
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [N, C, rows, blocks, PHASES, OCTETS]
@group(0) @binding(2) var<storage, read> w: array<vec4<u64>>; // [tiles_k, steps_c, R, LOADS, 8]
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [K]

//!include lib/octet.wgsl

//!include lib/activation.wgsl

@compute @workgroup_size(8)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = wid.x + wid.y * nwg.x;
    let tile = id % p.tiles_k;
    let unit = (id / p.tiles_k) * 8u + lane;
    if (id / p.tiles_k * 8u >= p.units) {
        return;
    }
    // Lanes past the end compute the last unit again and do not store it.
    let mine = min(unit, p.units - 1u);
    let block = mine % p.blocks;
    let row = (mine / p.blocks) % p.rows;
    let image = mine / (p.blocks * p.rows);

    var acc_lo: array<vec4<f32>, TILE_Q * TILE_K8>;
    var acc_hi: array<vec4<f32>, TILE_Q * TILE_K8>;
    //!unroll
    for (var i = 0u; i < TILE_Q * TILE_K8; i++) {
        acc_lo[i] = vec4<f32>(0.0);
        acc_hi[i] = vec4<f32>(0.0);
    }

    let x_first = p.x_first + image * p.x_image + row * p.x_row + block * BLOCK;
    for (var step = 0u; step < p.steps_c; step++) {
        for (var tap = 0u; tap < p.taps; tap++) {
            var xs: array<f32, CHANNELS * BLOCK * 8u>;
            //!unroll
            for (var c = 0u; c < CHANNELS; c++) {
                // A missing channel is the last one again, with weight 0.
                let channel = min(step * CHANNELS + c, p.in_channels - 1u);
                let x_at = x_first + channel * p.x_channel + tap * p.x_tap;
                //!unroll
                for (var o = 0u; o < BLOCK; o++) {
                    let octet = x[x_at + o];
                    let even = evens(octet);
                    let odd = odds(octet);
                    //!unroll
                    for (var j = 0u; j < 4u; j++) {
                        xs[(c * BLOCK + o) * 8u + j * 2u] = even[j];
                        xs[(c * BLOCK + o) * 8u + j * 2u + 1u] = odd[j];
                    }
                }
            }
            let r = p.tap_first + tap * p.tap_step;
            let w_at = ((tile * p.steps_c + step) * p.r + r) * LOADS * 8u + lane;
            var w_lo: array<vec4<f32>, LOADS>;
            var w_hi: array<vec4<f32>, LOADS>;
            //!unroll
            for (var i = 0u; i < LOADS; i++) {
                let octet = w[w_at + i * 8u];
                w_lo[i] = evens(octet);
                w_hi[i] = odds(octet);
            }
            // All that a sum gains in a step is added at once: it is loaded and stored once per step.
            //!unroll
            for (var k8 = 0u; k8 < TILE_K8; k8++) {
                var lo: array<vec4<f32>, CHANNELS * S>;
                var hi: array<vec4<f32>, CHANNELS * S>;
                //!unroll
                for (var cs = 0u; cs < CHANNELS * S; cs++) {
                    lo[cs] = subgroupShuffle(w_lo[(cs * TILE_K8 + k8) / 8u], (cs * TILE_K8 + k8) % 8u);
                    hi[cs] = subgroupShuffle(w_hi[(cs * TILE_K8 + k8) / 8u], (cs * TILE_K8 + k8) % 8u);
                }
                //!unroll
                for (var q = 0u; q < TILE_Q; q++) {
                    //!unroll
                    for (var cs = 0u; cs < CHANNELS * S; cs++) {
                        let phase = cs % S * DILATION % STRIDE;
                        let at = (cs / S * BLOCK + phase * OCTETS) * 8u + cs % S * DILATION / STRIDE + q;
                        acc_lo[q * TILE_K8 + k8] += xs[at] * lo[cs];
                        acc_hi[q * TILE_K8 + k8] += xs[at] * hi[cs];
                    }
                }
            }
        }
    }

    let q_first = block * TILE_Q;
    let columns = select(0u, min(p.out_columns - q_first, TILE_Q), unit < p.units);
    let plane = p.out_rows * p.out_columns;
    let k_first = tile * TILE_K;
    let y_row = p.out_first + row * p.out_step;
    let y_first = (image * p.k + k_first) * plane + y_row * p.out_columns + q_first;
    //!unroll
    for (var k8 = 0u; k8 < TILE_K8; k8++) {
        var b = 0.0;
        if (p.bias == 1u) {
            b = bias[min(k_first + k8 * 8u + lane, p.k - 1u)];
        }
        //!unroll
        for (var half = 0u; half < 2u; half++) {
            var add: vec4<f32>;
            //!unroll
            for (var j = 0u; j < 4u; j++) {
                add[j] = subgroupShuffle(b, half * 4u + j);
            }
            //!unroll
            for (var q = 0u; q < TILE_Q; q += 2u) {
                // An odd tile has no second pixel in its last pair: the first stands in for it and is not
                // stored.
                let first = q * TILE_K8 + k8;
                let second = min(q + 1u, TILE_Q - 1u) * TILE_K8 + k8;
                let even = activate(select(acc_lo[first], acc_hi[first], half == 1u) + add);
                let odd = activate(select(acc_lo[second], acc_hi[second], half == 1u) + add);
                //!unroll
                for (var j = 0u; j < 4u; j++) {
                    let inside = k_first + k8 * 8u + half * 4u + j < p.k;
                    let at = y_first + (k8 * 8u + half * 4u + j) * plane + q;
                    put(at, even[j], odd[j], select(0u, columns, inside), q);
                }
            }
        }
    }
}
