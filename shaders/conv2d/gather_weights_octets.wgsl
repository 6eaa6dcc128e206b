// What `gather_weights` does, where the weights of an output channel are whole octets: each invocation reads
// 8 of them for 8 channels and turns the square round.

const TILE_K: u32 = 32u; // output channels of a tile
const CHANNELS: u32 = 1u; // input channels of a step; in_channels is a multiple of it
const WG: u32 = 8u;

struct Params {
    octets: u32, // of an output channel: in_channels * R * S / 8
    out_channels: u32,
    tiles: u32,
    r: u32,
    s: u32,
    loads: u32, // octets per lane and step
    steps_c: u32, // in_channels / CHANNELS
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u64>>; // [out, in, R, S]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u64>>; // [tiles, steps_c, R, loads, 8]

//!include lib/octet.wgsl

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * WG + lane;
    let k8_all = id / p.octets;
    if (k8_all >= p.tiles * (TILE_K / 8u)) {
        return;
    }
    let column = id - k8_all * p.octets;
    let tile = k8_all / (TILE_K / 8u);
    let k8 = k8_all % (TILE_K / 8u);

    var even: array<vec4<f32>, 8>;
    var odd: array<vec4<f32>, 8>;
    //!unroll
    for (var j = 0u; j < 8u; j++) {
        let k = k8_all * 8u + j;
        let octet = w[min(k, p.out_channels - 1u) * p.octets + column];
        even[j] = select(vec4<f32>(0.0), evens(octet), k < p.out_channels);
        odd[j] = select(vec4<f32>(0.0), odds(octet), k < p.out_channels);
    }

    // Where the first of the 8 weights lies; the others follow it.
    let row = column * 8u / p.s;
    var s = column * 8u - row * p.s;
    var c = row / p.r;
    var r = row - c * p.r;
    //!unroll
    for (var i = 0u; i < 8u; i++) {
        let step = (tile * p.steps_c + c / CHANNELS) * p.r + r;
        let at = step * p.loads * 8u + (c % CHANNELS * p.s + s) * (TILE_K / 8u) + k8;
        if (i % 2u == 0u) {
            y[at] = octet_of(
                vec4<f32>(even[0][i / 2u], even[1][i / 2u], even[2][i / 2u], even[3][i / 2u]),
                vec4<f32>(even[4][i / 2u], even[5][i / 2u], even[6][i / 2u], even[7][i / 2u]),
            );
        } else {
            y[at] = octet_of(
                vec4<f32>(odd[0][i / 2u], odd[1][i / 2u], odd[2][i / 2u], odd[3][i / 2u]),
                vec4<f32>(odd[4][i / 2u], odd[5][i / 2u], odd[6][i / 2u], odd[7][i / 2u]),
            );
        }
        s++;
        let next_row = s == p.s;
        s = select(s, 0u, next_row);
        r = select(r, r + 1u, next_row);
        let next_channel = r == p.r;
        r = select(r, 0u, next_channel);
        c = select(c, c + 1u, next_channel);
    }
}
