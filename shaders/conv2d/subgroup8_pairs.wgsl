// The same as `subgroup8`, for rows and tiles of even length: two neighbouring pixels are stored at a time.
// The stores of a tile are most of what the driver has to compile.

//!include lib/convolve_rows.wgsl

@group(0) @binding(4) var<storage, read_write> y: array<u64>; // [N, K, P, Q], in pairs

fn put(at: u32, even: f32, odd: f32, columns: u32, q: u32) {
    if (q < columns) {
        y[at / 2u] = u64(bitcast<u32>(even)) | (u64(bitcast<u32>(odd)) << 32u);
    }
}
