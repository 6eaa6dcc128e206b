// y = exp(x - m) / sum(exp(x - m)), or x - m - log(sum(exp(x - m))), along D of [O, D, I]: one thread per line.

const LOG: bool = false;

struct Params {
    outer: u32,
    d: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [O, D, I]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [O, D, I]

const LOWEST: f32 = -3.4028234e38;

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) nwg: vec3<u32>,
) {
    let id = (wid.x + wid.y * nwg.x) * 64u + lane;
    if (id >= p.outer * p.inner) {
        return;
    }
    let line = (id / p.inner) * p.d * p.inner + id % p.inner;
    var largest = LOWEST;
    for (var d = 0u; d < p.d; d++) {
        largest = max(largest, x[line + d * p.inner]);
    }
    // Short chains of additions lose less.
    var sum = 0.0;
    var carry = 0.0;
    for (var d = 0u; d < p.d; d++) {
        sum += exp(x[line + d * p.inner] - largest);
        if (d % 32u == 31u) {
            carry += sum;
            sum = 0.0;
        }
    }
    sum += carry;
    // Nothing but minus infinity: no probability anywhere.
    let empty = sum == 0.0;
    let divisor = select(sum, 1.0, empty);
    let lower = select(largest, 0.0, empty);
    let rest = log(divisor);
    for (var d = 0u; d < p.d; d++) {
        let value = x[line + d * p.inner] - lower;
        if (LOG) {
            y[line + d * p.inner] = value - rest;
        } else {
            y[line + d * p.inner] = exp(value) / divisor;
        }
    }
}
