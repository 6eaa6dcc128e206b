// A convolution or its gradient of the weights as a product whose A is read four floats at a time: they lie together,
// along the inner index, and start on a quad.

@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>; // w [K, C / groups, R, S], or dy [N, K, P, Q]

//!include lib/implicit_gemm.wgsl

fn a_quad(load: u32, step: u32) -> vec4<f32> {
    let offset = a_offsets[step % 2u * STEP4 + a_k(load * THREADS + thread) / 4u].x;
    let at = (a_rows[load] + offset) / 4u;
    if (K_TAIL) {
        return select(vec4<f32>(0.0), a[select(at, 0u, offset == NONE)], offset != NONE);
    }
    return a[at];
}
