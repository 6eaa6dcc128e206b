// C[b] = A[b] x B[b] with rows of whole octets.

//!include lib/octet_product.wgsl

@group(0) @binding(4) var<storage, read_write> c: array<vec4<u64>>; // [splits, batch, M, N]

fn put(row: u32, n8: u32, even: vec4<f32>, odd: vec4<f32>) {
    c[row + n8] = octet_of(even, odd);
}
