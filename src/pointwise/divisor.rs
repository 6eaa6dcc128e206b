//! Division by multiplication, for kernels that include `lib/quotient.wgsl`.

/// A size that kernels divide by, with the numbers that `quotient` takes: exact for dividends below 2^31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divisor {
    /// The size itself.
    pub size: u32,
    /// ceil(2^(31 + shift) / size)
    pub magic: u32,
    /// ceil(log2(size))
    pub shift: u32,
}

impl Divisor {
    /// The numbers for `size`, which is not 0.
    pub fn new(size: usize) -> Self {
        let size = size as u32;
        let shift = size.next_power_of_two().trailing_zeros();
        let magic = (1u64 << (31 + shift)).div_ceil(u64::from(size)) as u32;
        Divisor { size, magic, shift }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arithmetic of `lib/quotient.wgsl`.
    fn quotient(n: u32, d: Divisor) -> u32 {
        let (a, m) = (n + n, d.magic);
        let cross = (a & 0xffff) * (m >> 16);
        let other = (a >> 16) * (m & 0xffff) + (((a & 0xffff) * (m & 0xffff)) >> 16);
        let high = (a >> 16) * (m >> 16) + (cross >> 16) + (other >> 16);
        (high + (((cross & 0xffff) + (other & 0xffff)) >> 16)) >> d.shift
    }

    #[test]
    fn quotients_are_exact_below_two_to_the_31() {
        let sizes = (1..2000).chain((0..31).flat_map(|k| [(1 << k) - 1, 1 << k, (1 << k) + 1]));
        for size in sizes.filter(|&s| s > 0) {
            let d = Divisor::new(size);
            let size = size as u32;
            let edges = (0..40).map(|k| k * 53_687_091 / size * size).filter(|&n| n > 0);
            for n in edges.flat_map(|n| [n - 1, n, n + 1]).chain([0, 1, (1 << 31) - 1, (1 << 31) - 2]) {
                assert_eq!(quotient(n & 0x7fff_ffff, d), (n & 0x7fff_ffff) / size, "{n} / {size}");
            }
        }
    }
}
