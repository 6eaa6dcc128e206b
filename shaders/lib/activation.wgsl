// The function that joins the end of a product or convolution. The including kernel declares ACTIVATION:
// 0 none, 1 relu, 2 sigmoid, 3 tanh. exp(-abs(x)) cannot overflow, so both hold for every finite x.

fn activate(x: vec4<f32>) -> vec4<f32> {
    if (ACTIVATION == 1u) {
        return max(x, vec4<f32>(0.0));
    }
    if (ACTIVATION == 2u) {
        let e = exp(-abs(x));
        return select(vec4<f32>(1.0), e, x < vec4<f32>(0.0)) / (1.0 + e);
    }
    if (ACTIVATION == 3u) {
        let e = exp(-2.0 * abs(x));
        return sign(x) * (1.0 - e) / (1.0 + e);
    }
    return x;
}
