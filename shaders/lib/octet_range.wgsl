//!include lib/octet.wgsl

// Elements 0, 2, 4, 6 of octet `o` where their index lies in begin..end, else 0.
fn evens_within(octet: vec4<u64>, o: u32, begin: u32, end: u32) -> vec4<f32> {
    let at = vec4<u32>(o * 8u) + vec4<u32>(0u, 2u, 4u, 6u);
    return select(vec4<f32>(0.0), evens(octet), (at >= vec4<u32>(begin)) & (at < vec4<u32>(end)));
}

// Elements 1, 3, 5, 7 of octet `o` where their index lies in begin..end, else 0.
fn odds_within(octet: vec4<u64>, o: u32, begin: u32, end: u32) -> vec4<f32> {
    let at = vec4<u32>(o * 8u) + vec4<u32>(1u, 3u, 5u, 7u);
    return select(vec4<f32>(0.0), odds(octet), (at >= vec4<u32>(begin)) & (at < vec4<u32>(end)));
}
