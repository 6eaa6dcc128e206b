// The functions of recurrent gates for four values at once, as in gates.wgsl.

fn sigmoid4(x: vec4<f32>) -> vec4<f32> {
    let e = exp(-abs(x));
    return select(vec4<f32>(1.0), e, x < vec4<f32>(0.0)) / (1.0 + e);
}

fn tanh4(x: vec4<f32>) -> vec4<f32> {
    let e = exp(-2.0 * abs(x));
    let far = sign(x) * (1.0 - e) / (1.0 + e);
    let s = x * x;
    let near = x * (1.0 - s * (1.0 / 3.0 - s * (2.0 / 15.0)));
    return select(far, near, abs(x) < vec4<f32>(0.1));
}

// Elements 0, 2, 4, 6 of an octet, or 1, 3, 5, 7.
fn half(octet: vec4<u64>, odd: u32) -> vec4<f32> {
    if (odd == 0u) {
        return evens(octet);
    }
    return odds(octet);
}
