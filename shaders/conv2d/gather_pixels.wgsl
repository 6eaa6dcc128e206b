// What `gather_columns` does for kernels of one pixel and images of whole quads: each invocation copies an octet of columns.

const WG: u32 = 64u;

struct Params {
    octets: u32, // of a row: N * plane / 8, rounded up
    quads: u32, // of a row: N * plane / 4
    plane_quads: u32, // of an image's channel
    channels: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [N, C, plane / 4]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u64>>; // [N * plane / 64, C, 64]

//!include lib/octet.wgsl

// Columns past the last one are those of the last quad again.
fn quad(index: u32, channel: u32) -> vec4<f32> {
    let at = min(index, p.quads - 1u);
    let image = at / p.plane_quads;
    return x[(image * p.channels + channel) * p.plane_quads + at - image * p.plane_quads];
}

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * WG + lane;
    if (id >= p.octets * p.channels) {
        return;
    }
    let channel = id / p.octets;
    let octet = id - channel * p.octets;
    let a = quad(octet * 2u, channel);
    let b = quad(octet * 2u + 1u, channel);
    y[(octet / 8u * p.channels + channel) * 8u + octet % 8u] = octet_of(vec4<f32>(a.xz, b.xz), vec4<f32>(a.yw, b.yw));
}
