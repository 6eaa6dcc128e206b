// Copies matrices [K, N] into panels of 64 columns, each of which lies together: rows that are a power of two apart would
// share the few lines of one set of a cache. The last panel's missing columns repeat the last octet.

const WG: u32 = 8u;

struct Params {
    octets: u32, // to write: batch * panels * K * 8
    k: u32,
    n8: u32, // octets of a row
    panels: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [batch, K, N]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u64>>; // [batch, N / 64, K, 64]

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * WG + lane;
    if (id >= p.octets) {
        return;
    }
    let row = id / 8u;
    let k = row % p.k;
    let panel = row / p.k % p.panels;
    let batch = row / (p.k * p.panels);
    y[id] = x[(batch * p.k + k) * p.n8 + min(panel * 8u + id % 8u, p.n8 - 1u)];
}
