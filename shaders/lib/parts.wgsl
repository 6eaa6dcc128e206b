// An axis of `size` cut into `count` parts of about equal length that may overlap: part i reaches from
// floor(i * size / count) to ceil((i + 1) * size / count). The parts over position h are those that
// part_first(h, count, size) and part_end(h, count, size) bound.

//!include lib/scaled.wgsl

fn part_first(i: u32, size: u32, count: u32) -> u32 {
    return u32(scaled(i, size, 0, count).whole);
}

fn part_end(i: u32, size: u32, count: u32) -> u32 {
    return u32(scaled(i + 1u, size, i32(count - 1u), count).whole);
}
