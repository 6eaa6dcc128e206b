// An axis of `size` cut into `count` parts of about equal length that may overlap: part i reaches from
// floor(i * size / count) to ceil((i + 1) * size / count). The parts over position h are those that
// part_first(h, count, size) and part_end(h, count, size) bound.

// floor((i * size + more) / count), also where the product exceeds 32 bits: an estimate, and what it leaves, which is
// small and therefore known modulo 2^32.
fn scaled(i: u32, size: u32, count: u32, more: u32) -> u32 {
    let estimate = u32(f32(i) * f32(size) / f32(count));
    let rest = bitcast<i32>(i * size + more - estimate * count);
    let part = rest / i32(count);
    return estimate + bitcast<u32>(select(part, part - 1, part * i32(count) > rest));
}

fn part_first(i: u32, size: u32, count: u32) -> u32 {
    return scaled(i, size, count, 0u);
}

fn part_end(i: u32, size: u32, count: u32) -> u32 {
    return scaled(i + 1u, size, count, count - 1u);
}
