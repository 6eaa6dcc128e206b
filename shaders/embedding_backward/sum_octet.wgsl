// Adds up the tables of all parts, for software adapters and tables of a multiple of eight: eight elements per thread.

struct Params {
    len: u32, // in units of eight
    parts: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> tables: array<vec4<u64>>; // [parts, V, E]
@group(0) @binding(2) var<storage, read_write> dtable: array<vec4<u64>>; // [V, E]

//!include lib/octet.wgsl

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (id >= p.len) {
        return;
    }
    var even = vec4<f32>(0.0);
    var odd = vec4<f32>(0.0);
    var even_carry = vec4<f32>(0.0);
    var odd_carry = vec4<f32>(0.0);
    for (var part = 0u; part < p.parts; part++) {
        let octet = tables[part * p.len + id];
        even += evens(octet);
        odd += odds(octet);
        // Short chains lose less.
        if (part % 16u == 15u) {
            even_carry += even;
            odd_carry += odd;
            even = vec4<f32>(0.0);
            odd = vec4<f32>(0.0);
        }
    }
    dtable[id] = octet_of(even_carry + even, odd_carry + odd);
}
