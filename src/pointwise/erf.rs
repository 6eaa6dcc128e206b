//! The error function in f64, for references.

use std::f64::consts::PI;

/// Below this the power series is taken, from here on the continued fraction.
const BORDER: f64 = 1.5;

/// erf(x) = 2/√π ∫₀ˣ exp(-t²) dt, to a few units in the last place.
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < BORDER { series(a) } else { 1.0 - fraction(a) };
    if x < 0.0 { -value } else { value }
}

/// 1 - erf(x), without cancellation where it is small.
pub fn erfc(x: f64) -> f64 {
    match x {
        x if x < 0.0 => 1.0 + erf(-x),
        x if x < BORDER => 1.0 - series(x),
        x => fraction(x),
    }
}

/// erf(x) = 2/√π exp(-x²) Σ 2ⁿ x²ⁿ⁺¹ / (2n + 1)!!, whose terms are all positive (DLMF 7.6.2).
fn series(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..40 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}

/// erfc(x) = exp(-x²)/√π · 1/(x + (1/2)/(x + (2/2)/(x + (3/2)/(x + ..)))) for x ≥ 1.5 (DLMF 7.9.2).
fn fraction(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let tail = (1..=120).rev().fold(x, |tail, k| x + 0.5 * f64::from(k) / tail);
    (-x * x).exp() / (PI.sqrt() * tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From mpmath, computed with 40 digits.
    #[test]
    fn known_values() {
        let known = [
            (0.0, 0.0, 1.0),
            (1e-9, 1.128_379_167_095_512_6e-9, 0.999_999_998_871_620_8),
            (0.5, 0.520_499_877_813_046_5, 0.479_500_122_186_953_5),
            (0.999, 0.842_285_270_206_496_9, 0.157_714_729_793_503_07),
            (1.0, 0.842_700_792_949_714_9, 0.157_299_207_050_285_13),
            (1.5, 0.966_105_146_475_310_7, 0.033_894_853_524_689_27),
            (3.0, 0.999_977_909_503_001_4, 2.209_049_699_858_544e-5),
            (10.0, 1.0, 2.088_487_583_762_545e-45),
        ];
        for (x, e, c) in known {
            assert!((erf(x) - e).abs() <= 1e-15 * e, "erf({x}) = {:e}", erf(x));
            assert!((erf(-x) + e).abs() <= 1e-15 * e, "erf(-{x}) = {:e}", erf(-x));
            assert!((erfc(x) - c).abs() <= 4e-15 * c, "erfc({x}) = {:e}", erfc(x));
            assert!((erfc(-x) - (1.0 + e)).abs() <= 1e-15, "erfc(-{x}) = {:e}", erfc(-x));
        }
        assert_eq!([erf(300.0), erfc(300.0), erfc(-300.0)], [1.0, 0.0, 2.0]);
        assert!(erf(f64::NAN).is_nan() && erfc(f64::NAN).is_nan());
    }
}
