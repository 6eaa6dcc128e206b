// A convolution or one of its gradients as a product whose A is read one float at a time.

@group(0) @binding(1) var<storage, read> a: array<f32>; // w [K, C / groups, R, S], or dy [N, K, P, Q]

//!include lib/implicit_gemm.wgsl

fn a_quad(load: u32, step: u32) -> vec4<f32> {
    let offsets = a_offsets[step % 2u * STEP4 + a_k(load * THREADS + thread) / 4u];
    let at = select(a_rows[load] + offsets, vec4<u32>(0u), vec4<bool>(K_TAIL) & (offsets == vec4<u32>(NONE)));
    return vec4<f32>(a[at.x], a[at.y], a[at.z], a[at.w]);
}

fn a_inside(load: u32, step: u32, quad: vec4<f32>) -> vec4<f32> {
    if (K_TAIL) {
        let offsets = a_offsets[step % 2u * STEP4 + a_k(load * THREADS + thread) / 4u];
        return select(quad, vec4<f32>(0.0), offsets == vec4<u32>(NONE));
    }
    return quad;
}
