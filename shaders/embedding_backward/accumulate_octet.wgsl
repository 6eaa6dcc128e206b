// Adds rows of dy to the rows of tables that the indices name, for software adapters and rows of a multiple of eight. The
// list of indices is cut into parts with a table each, and a thread owns eight neighbouring columns of one table: no two
// threads meet, and the order of the additions is that of the list.

struct Params {
    n: u32,
    e: u32, // in units of eight
    v: u32,
    padding: u32, // the row that gets no gradient; none where this is not below v
    parts: u32,
    length: u32, // indices of a part
    first: u32,  // where in its part this dispatch begins
    trips: u32,  // how far it goes
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [n]
@group(0) @binding(2) var<storage, read> dy: array<vec4<u64>>; // [n, E]
@group(0) @binding(3) var<storage, read_write> tables: array<vec4<u64>>; // [parts, V, E]

//!include lib/octet.wgsl

@compute @workgroup_size(8)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 8u + lane;
    if (id >= p.parts * p.e) {
        return;
    }
    let part = id / p.e;
    let column = id % p.e;
    let table = part * p.v * p.e + column;
    let begin = part * p.length + p.first;
    let end = min(min(begin + p.trips, (part + 1u) * p.length), p.n);
    for (var i = begin; i < end; i++) {
        let index = indices[i];
        if (index < p.v && index != p.padding) {
            let at = table + index * p.e;
            let sum = tables[at];
            let more = dy[i * p.e + column];
            tables[at] = octet_of(evens(sum) + evens(more), odds(sum) + odds(more));
        }
    }
}
