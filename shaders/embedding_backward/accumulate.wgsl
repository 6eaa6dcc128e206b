// Adds rows of dy to the rows of tables that the indices name. The list of indices is cut into parts with a table each,
// and a thread owns one column of one table: no two threads meet, and the order of the additions is that of the list.

struct Params {
    n: u32,
    e: u32,
    v: u32,
    padding: u32, // the row that gets no gradient; none where this is not below v
    parts: u32,
    length: u32, // indices of a part
    first: u32,  // where in its part this dispatch begins
    trips: u32,  // how far it goes
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>; // [n]
@group(0) @binding(2) var<storage, read> dy: array<f32>; // [n, E]
@group(0) @binding(3) var<storage, read_write> tables: array<f32>; // [parts, V, E]

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 64u + lane;
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
            tables[table + index * p.e] += dy[i * p.e + column];
        }
    }
}
