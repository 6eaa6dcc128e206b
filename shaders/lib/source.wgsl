// Which of `size` elements nearest-neighbour resampling repeats as result i, in f32 as PyTorch computes it.
fn source_of(i: u32, ratio: f32, size: u32) -> u32 {
    return min(u32(f32(i) * ratio), size - 1u);
}
