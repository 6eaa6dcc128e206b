// Eight neighbouring floats in one vec4<u64>: the widest load a software adapter has.

// Elements 0, 2, 4, 6 of the octet.
fn evens(octet: vec4<u64>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(octet));
}

// Elements 1, 3, 5, 7 of the octet.
fn odds(octet: vec4<u64>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(octet >> vec4<u32>(32u)));
}

fn octet_of(even: vec4<f32>, odd: vec4<f32>) -> vec4<u64> {
    return vec4<u64>(bitcast<vec4<u32>>(even)) | (vec4<u64>(bitcast<vec4<u32>>(odd)) << vec4<u32>(32u));
}
