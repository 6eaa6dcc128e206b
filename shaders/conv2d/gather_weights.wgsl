// Arranges the weights of a convolution for `subgroup8`: the octets that one step of its loop needs lie side
// by side, one per lane. An octet holds output channels 0, 1, 2, 3 in its low halves and 4, 5, 6, 7 in its
// high ones.

const TILE_K: u32 = 32u; // output channels of a tile
const CHANNELS: u32 = 1u; // input channels of a step
const FLIP: bool = false; // for the gradient of the input: channels change places, taps run backwards
const WG: u32 = 8u;

struct Params {
    total: u32, // octets to write
    out_channels: u32,
    in_channels: u32,
    r: u32,
    s: u32,
    loads: u32, // octets per lane and step
    steps_c: u32, // in_channels / CHANNELS, rounded up: missing channels have weight 0
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>; // [out, in, R, S], or [in, out, R, S] with FLIP
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u64>>; // [tiles, steps_c, R, loads, 8]

//!include lib/octet.wgsl

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
    let octets = p.loads * 8u;
    let octet = id % octets;
    let step = id / octets;
    let r = step % p.r;
    let tile = step / (p.r * p.steps_c);
    let cs = octet / (TILE_K / 8u);
    let c = step / p.r % p.steps_c * CHANNELS + cs / p.s;
    let s = cs % p.s;
    let k = tile * TILE_K + (octet % (TILE_K / 8u)) * 8u;
    var e: array<f32, 8>;
    //!unroll
    for (var j = 0u; j < 8u; j++) {
        let inside = cs < CHANNELS * p.s && c < p.in_channels && k + j < p.out_channels;
        var at = ((k + j) * p.in_channels + c) * (p.r * p.s) + r * p.s + s;
        if (FLIP) {
            at = (c * p.out_channels + k + j) * (p.r * p.s) + (p.r - 1u - r) * p.s + p.s - 1u - s;
        }
        e[j] = select(0.0, w[select(0u, at, inside)], inside);
    }
    y[id] = octet_of(vec4<f32>(e[0], e[1], e[2], e[3]), vec4<f32>(e[4], e[5], e[6], e[7]));
}
