// dx = y * (dy - sum(y * dy)), or with LOG dx = dy - exp(y) * sum(dy), along D of [O, D, I]: 64 threads per line, which
// meet in workgroup memory.

const LOG: bool = false;

struct Params {
    outer: u32,
    d: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> y: array<f32>; // [O, D, I]
@group(0) @binding(2) var<storage, read> dy: array<f32>; // [O, D, I]
@group(0) @binding(3) var<storage, read_write> dx: array<f32>; // [O, D, I]

//!include lib/tree64.wgsl

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = wid.x + wid.y * nwg.x;
    if (id >= p.outer * p.inner) {
        return;
    }
    let line = (id / p.inner) * p.d * p.inner + id % p.inner;
    // Short chains of additions lose less.
    var sum = 0.0;
    var carry = 0.0;
    for (var d = lane; d < p.d; d += 64u) {
        let at = line + d * p.inner;
        if (LOG) {
            sum += dy[at];
        } else {
            sum += y[at] * dy[at];
        }
        if ((d / 64u) % 32u == 31u) {
            carry += sum;
            sum = 0.0;
        }
    }
    sum = tree_sum(lane, carry + sum);
    for (var d = lane; d < p.d; d += 64u) {
        let at = line + d * p.inner;
        if (LOG) {
            dx[at] = dy[at] - exp(y[at]) * sum;
        } else {
            dx[at] = y[at] * (dy[at] - sum);
        }
    }
}
