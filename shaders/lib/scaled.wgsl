// Positions on one axis scaled to another.

struct Scaled {
    whole: i32,
    rest: u32, // below unit
}

// (i * step + start) / unit, rounded down, and the remainder, also where the product exceeds 32 bits: an estimate of the
// quotient, and what it leaves, which is small and therefore known modulo 2^32.
fn scaled(i: u32, step: u32, start: i32, unit: u32) -> Scaled {
    let estimate = i32(f32(i) * f32(step) / f32(unit));
    let left = bitcast<i32>(i * step - bitcast<u32>(estimate) * unit) + start;
    let more = left / i32(unit);
    let rest = left - more * i32(unit);
    if (rest < 0) {
        return Scaled(estimate + more - 1, u32(rest + i32(unit)));
    }
    return Scaled(estimate + more, u32(rest));
}
