// Copies the recurrent weights of some gates into panels of 64 columns: for each of `units` octets of the state, that octet's
// columns of each gate. Columns past the end are zeros. One octet of a panel per thread.

const GATES: u32 = 1u; // of one panel
const UNITS: u32 = 8u / GATES; // octets of the state in a panel
const WG: u32 = 64u;

struct Params {
    octets: u32, // to write: panels * H * 8
    h: u32,
    first: u32, // the first of these gates
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>; // [G * H, H]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u64>>; // [panels, H, 64]

//!include lib/octet.wgsl

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
    let column = id % 8u;
    let k = id / 8u % p.h;
    let unit = id / 8u / p.h * UNITS + column % UNITS;
    let gate = column / UNITS;
    let inside = gate < GATES && unit * 8u < p.h;
    let at = ((p.first + min(gate, GATES - 1u)) * p.h + min(unit * 8u, p.h - 8u)) * p.h + k;
    let even = vec4<f32>(w[at], w[at + 2u * p.h], w[at + 4u * p.h], w[at + 6u * p.h]);
    let odd = vec4<f32>(w[at + p.h], w[at + 3u * p.h], w[at + 5u * p.h], w[at + 7u * p.h]);
    y[id] = select(vec4<u64>(0lu), octet_of(even, odd), inside);
}
