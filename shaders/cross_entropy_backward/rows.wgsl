// dx = g * (softmax(x) * sum(shares) - share), where g is dy of the row, or dy of the whole over the divisor of the
// mean. Rows are the lines along C of [N, C, I]. One thread per row.

const SOFT: bool = false; // targets are probabilities, not classes
const WEIGHTED: bool = false;
const MEAN: bool = false; // divide by the divisor
const EACH: bool = false; // every row has its own dy

struct Params {
    rows: u32, // N * I
    c: u32,
    inner: u32,
    smoothing: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [N, C, I]
@group(0) @binding(2) var<storage, read> labels: array<u32>; // [N, I], or with SOFT bits of f32 [N, C, I]
@group(0) @binding(3) var<storage, read> weight: array<f32>; // [C]
@group(0) @binding(4) var<storage, read> dy: array<f32>; // [], or [N, I] with EACH
@group(0) @binding(5) var<storage, read> divisor: array<f32>; // []
@group(0) @binding(6) var<storage, read_write> dx: array<f32>; // [N, C, I]

const LOWEST: f32 = -3.4028234e38;

//!include lib/class_share.wgsl

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (id >= p.rows) {
        return;
    }
    let line = (id / p.inner) * p.c * p.inner + id % p.inner;
    var label = 0u;
    if (!SOFT) {
        label = labels[id];
    }
    var largest = LOWEST;
    for (var c = 0u; c < p.c; c++) {
        largest = max(largest, x[line + c * p.inner]);
    }
    // exp(x - m) and share, summed in short chains.
    var sums = vec2<f32>(0.0);
    var carry = vec2<f32>(0.0);
    for (var c = 0u; c < p.c; c++) {
        sums += vec2<f32>(exp(x[line + c * p.inner] - largest), share(line, label, c));
        if (c % 32u == 31u) {
            carry += sums;
            sums = vec2<f32>(0.0);
        }
    }
    var g = dy[select(0u, id, EACH)];
    if (MEAN) {
        // Where no row counts, none gets anything.
        g = select(g / divisor[0], 0.0, divisor[0] == 0.0);
    }
    sums += carry;
    let scale = sums.y / sums.x;
    for (var c = 0u; c < p.c; c++) {
        dx[line + c * p.inner] = g * (exp(x[line + c * p.inner] - largest) * scale - share(line, label, c));
    }
}
