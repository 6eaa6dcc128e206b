//!include lib/octet.wgsl

// Which of elements 0, 2, 4, 6 of octet `o` have their index in begin..end.
fn evens_inside(o: u32, begin: u32, end: u32) -> vec4<bool> {
    let at = vec4<u32>(o * 8u) + vec4<u32>(0u, 2u, 4u, 6u);
    return (at >= vec4<u32>(begin)) & (at < vec4<u32>(end));
}

// Which of elements 1, 3, 5, 7 of octet `o` have their index in begin..end.
fn odds_inside(o: u32, begin: u32, end: u32) -> vec4<bool> {
    let at = vec4<u32>(o * 8u) + vec4<u32>(1u, 3u, 5u, 7u);
    return (at >= vec4<u32>(begin)) & (at < vec4<u32>(end));
}

// Element `i` (0 to 7) of an octet.
fn element(octet: vec4<u64>, i: u32) -> f32 {
    return select(evens(octet), odds(octet), i % 2u == 1u)[i / 2u];
}
