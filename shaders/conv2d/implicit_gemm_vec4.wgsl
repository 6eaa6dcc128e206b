// A convolution or its gradient of the weights as a product whose A is read four floats at a time: they lie together,
// along the inner index, and start on a quad.

@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>; // w [K, C / groups, R, S], or dy [N, K, P, Q]

//!include lib/implicit_gemm.wgsl

fn a_quad(load: u32, step: u32) -> vec4<f32> {
    let offset = a_offsets[step % 2u * STEP4 + a_k(load * THREADS + thread) / 4u].x;
    return a[select((a_rows[load] + offset) / 4u, 0u, K_TAIL && offset == NONE)];
}

fn a_inside(load: u32, step: u32, quad: vec4<f32>) -> vec4<f32> {
    if (K_TAIL) {
        let offset = a_offsets[step % 2u * STEP4 + a_k(load * THREADS + thread) / 4u].x;
        return select(quad, vec4<f32>(0.0), offset == NONE);
    }
    return quad;
}
