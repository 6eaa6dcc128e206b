// Parts of dgamma = sum(dy * x^) and dbeta = sum(dy) over the columns of [N, C], where x^ is x normalised by its row:
// [N, groups] rows of C / groups columns, a multiple of 8. For software adapters: each thread takes eight neighbouring
// columns of the rows of one part, an octet of floats per load.

struct Params {
    n: u32,
    octets: u32, // C / 8
    groups: u32,
    parts: u32,
    per_part: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u64>>; // [N, C]
@group(0) @binding(2) var<storage, read> dy: array<vec4<u64>>; // [N, C]
@group(0) @binding(3) var<storage, read> scales: array<f32>; // [3.., N * groups]: first element, mean less that, 1 / std
@group(0) @binding(4) var<storage, read_write> parts: array<vec4<u64>>; // [2, parts, C]

//!include lib/octet.wgsl

@compute @workgroup_size(8)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 8u + lane;
    if (id >= p.octets * p.parts) {
        return;
    }
    let octet = id % p.octets;
    let part = id / p.octets;
    let rows = p.n * p.groups;
    let group = octet / (p.octets / p.groups);
    let end = min((part + 1u) * p.per_part, p.n);
    var gamma_even = vec4<f32>(0.0);
    var gamma_odd = vec4<f32>(0.0);
    var beta_even = vec4<f32>(0.0);
    var beta_odd = vec4<f32>(0.0);
    for (var n = part * p.per_part; n < end; n++) {
        let row = n * p.groups + group;
        let first = scales[row];
        let offset = scales[rows + row];
        let rstd = scales[2u * rows + row];
        let values = x[n * p.octets + octet];
        let slopes = dy[n * p.octets + octet];
        gamma_even += evens(slopes) * (((evens(values) - first) - offset) * rstd);
        gamma_odd += odds(slopes) * (((odds(values) - first) - offset) * rstd);
        beta_even += evens(slopes);
        beta_odd += odds(slopes);
    }
    parts[id] = octet_of(gamma_even, gamma_odd);
    parts[p.octets * p.parts + id] = octet_of(beta_even, beta_odd);
}
