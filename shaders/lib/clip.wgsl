// How an optimiser treats a gradient that it reads: 0 as it is, 1 times a factor, 2 cut at ± a bound.
fn clipped(g: vec4<f32>, mode: u32, factor: f32, bound: f32) -> vec4<f32> {
    if (mode == 1u) {
        return g * factor;
    }
    if (mode == 2u) {
        // clamp(NaN) is a number; a gradient that is none must stay visible.
        let nan = (bitcast<vec4<u32>>(g) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
        return select(clamp(g, vec4<f32>(-bound), vec4<f32>(bound)), g, nan);
    }
    return g;
}
