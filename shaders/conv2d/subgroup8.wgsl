// y[n, k, p, q] = act(bias[k] + sum over c, r, s of x[n, c, p * stride + r * dilation, ..] * w[k, c, r, s]),
// for adapters that run a subgroup of exactly 8 lanes as one vector register.

//!include lib/convolve_rows.wgsl

@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [N, K, P, Q]

fn put(at: u32, even: f32, odd: f32, columns: u32, q: u32) {
    if (q < columns) {
        y[at] = even;
    }
    if (q + 1u < columns) {
        y[at + 1u] = odd;
    }
}
