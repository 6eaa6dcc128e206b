// dx = a * (dy - b - (x - mean) * d): one thread per element.

struct Params {
    len: u32,
    c: u32,
    l: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, L]
@group(0) @binding(2) var<storage, read> dy: array<f32>; // [N, C, L]
@group(0) @binding(3) var<storage, read> scales: array<f32>; // [5, C]: first element, mean less that, a, b, d
@group(0) @binding(4) var<storage, read_write> dx: array<f32>; // [N, C, L]

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
    let channel = (id / p.l) % p.c;
    let away = (x[id] - scales[channel]) - scales[p.c + channel];
    dx[id] = scales[2u * p.c + channel] * ((dy[id] - scales[3u * p.c + channel]) - away * scales[4u * p.c + channel]);
}
