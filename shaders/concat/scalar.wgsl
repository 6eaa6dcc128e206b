// Copies one operand of a concatenation to its place, one element per thread.
//!include lib/quotient.wgsl

const WG: u32 = 64u;

// Sizes count elements.
struct Params {
    n: u32,
    row: u32,    // of x: what lies together in y
    magic: u32,  // of row, see `quotient`
    shift: u32,
    pitch: u32,  // from row to row in y
    offset: u32, // of the first row in y
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [n / row, row]
@group(0) @binding(2) var<storage, read_write> y: array<u32>; // [n / row, pitch]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (wid.x + wid.y * nwg.x) * WG + lane;
    if (i >= p.n) {
        return;
    }
    let r = quotient(i, p.magic, p.shift);
    y[r * p.pitch + p.offset + (i - r * p.row)] = x[i];
}
