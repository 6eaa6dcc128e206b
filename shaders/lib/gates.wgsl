// The functions of recurrent gates. exp(-abs(x)) cannot overflow, so both hold for every finite x.

fn sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(1.0, e, x < 0.0) / (1.0 + e);
}

// Near 0, 1 - exp(-2 |x|) would cancel: there the first terms of the series are exact.
fn tanh_of(x: f32) -> f32 {
    let e = exp(-2.0 * abs(x));
    let far = sign(x) * (1.0 - e) / (1.0 + e);
    let s = x * x;
    let near = x * (1.0 - s * (1.0 / 3.0 - s * (2.0 / 15.0)));
    return select(far, near, abs(x) < 0.1);
}
