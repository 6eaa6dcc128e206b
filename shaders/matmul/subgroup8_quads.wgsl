// C[b] = A[b] x B[b] where only the rows of A and B are whole octets, and those of C whole quads.

//!include lib/octet_product.wgsl

@group(0) @binding(4) var<storage, read_write> c: array<vec4<f32>>; // [splits, batch, M, N]

fn put(row: u32, n8: u32, even: vec4<f32>, odd: vec4<f32>) {
    c[row + n8 * 2u] = vec4<f32>(even.x, odd.x, even.y, odd.y);
    if (n8 * 8u + 4u < p.n) {
        c[row + n8 * 2u + 1u] = vec4<f32>(even.z, odd.z, even.w, odd.w);
    }
}
