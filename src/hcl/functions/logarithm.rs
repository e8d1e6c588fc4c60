//! Logarithm, exponential function and power, computed as Go does.
//!
//! The functions of the platform sometimes differ in the last bit, which users see: `log(8, 2)` must be 3 on every
//! machine. The methods are FreeBSD's for the logarithm, Shibata's for the exponential function (ISC 2010), and
//! repeated squaring for the power.

use std::f64::consts::{FRAC_1_SQRT_2, LOG2_E};

/// The logarithm of two in two parts, so that its product with a small integer is exact.
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// The coefficients of the logarithm's series in powers of `s^2`.
const LOG_SERIES: [f64; 7] = [
    6.666_666_666_666_735e-1,
    3.999_999_999_940_942e-1,
    2.857_142_874_366_239e-1,
    2.222_219_843_214_978_4e-1,
    1.818_357_216_161_805e-1,
    1.531_383_769_920_937_3e-1,
    1.479_819_860_511_658_6e-1,
];

/// The natural logarithm. NaN for negative numbers, negative infinity for zero.
pub(super) fn logarithm(value: f64) -> f64 {
    if value.is_nan() || value == f64::INFINITY {
        return value;
    }
    if value < 0.0 {
        return f64::NAN;
    }
    if value == 0.0 {
        return f64::NEG_INFINITY;
    }
    let (mut fraction, mut exponent) = split(value);
    if fraction < FRAC_1_SQRT_2 {
        fraction *= 2.0;
        exponent -= 1;
    }
    let [l1, l2, l3, l4, l5, l6, l7] = LOG_SERIES;
    let f = fraction - 1.0;
    let k = f64::from(exponent);
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let odd = s2 * (l1 + s4 * (l3 + s4 * (l5 + s4 * l7)));
    let even = s4 * (l2 + s4 * (l4 + s4 * l6));
    let half_square = 0.5 * f * f;
    k * LN2_HIGH - ((half_square - (s * (half_square + (odd + even)) + k * LN2_LOW)) - f)
}

/// The exponential function. Removes powers of two, and computes a Taylor series at a sixteenth of the rest.
fn exponential(value: f64) -> f64 {
    const LN2_UPPER: f64 = 0.693_147_180_559_663;
    const LN2_LOWER: f64 = 2.823_529_056_303_157_7e-13;
    const OVERFLOW: f64 = 709.782_712_893_384;
    /// The reciprocals of the factorials, from 8 down to 1.
    const SERIES: [f64; 8] = [
        1.0 / 40_320.0,
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        1.0 / 2.0,
        1.0,
    ];
    if value.is_nan() {
        return value;
    }
    if value > OVERFLOW {
        return f64::INFINITY;
    }
    if value < -OVERFLOW - 40.0 {
        return 0.0;
    }
    let whole = (LOG2_E * value).round_ties_even();
    let rest = (-whole).mul_add(LN2_LOWER, (-whole).mul_add(LN2_UPPER, value)) * 0.0625;
    let mut sum = 0.0f64;
    for coefficient in SERIES {
        sum = if sum == 0.0 {
            coefficient
        } else {
            sum.mul_add(rest, coefficient)
        };
    }
    // Computes exp(16x) from exp(x) - 1 by squaring four times.
    let mut power = rest * sum;
    for _ in 0..3 {
        power *= power + 2.0;
    }
    power = power.mul_add(power + 2.0, 1.0);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the checks above limit the range"
    )]
    scale(power, whole as i32)
}

/// Computes `base` to the power of `exponent`.
#[expect(
    clippy::float_cmp,
    reason = "only exactly these values are special cases"
)]
pub(super) fn power(base: f64, exponent: f64) -> f64 {
    if exponent == 0.0 || base == 1.0 {
        return 1.0;
    }
    if exponent == 1.0 {
        return base;
    }
    // The platform's function is exact if an operand is zero, infinite or not a number.
    if base == 0.0 || !base.is_finite() || !exponent.is_finite() {
        return base.powf(exponent);
    }
    if exponent == 0.5 {
        return base.sqrt();
    }
    if exponent == -0.5 {
        return 1.0 / base.sqrt();
    }
    let magnitude = exponent.abs();
    let mut whole = magnitude.trunc();
    let mut rest = magnitude - whole;
    if rest != 0.0 && base < 0.0 {
        return f64::NAN;
    }
    if whole >= 9_223_372_036_854_775_808.0 {
        return base.powf(exponent);
    }
    let mut result = 1.0;
    let mut result_exponent: i32 = 0;
    if rest != 0.0 {
        if rest > 0.5 {
            rest -= 1.0;
            whole += 1.0;
        }
        result = exponential(rest * logarithm(base));
    }
    let (mut factor, mut factor_exponent) = split(base);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number below 2^63 that is not negative"
    )]
    let mut left = whole as u64;
    while left != 0 {
        if factor_exponent.abs() > 1 << 12 {
            // The result overflows or underflows anyway. Further squaring would overflow the exponent.
            result_exponent += factor_exponent;
            break;
        }
        if left & 1 == 1 {
            result *= factor;
            result_exponent += factor_exponent;
        }
        factor *= factor;
        factor_exponent <<= 1;
        if factor < 0.5 {
            factor += factor;
            factor_exponent -= 1;
        }
        left >>= 1;
    }
    if exponent < 0.0 {
        result = 1.0 / result;
        result_exponent = -result_exponent;
    }
    scale(result, result_exponent)
}

/// Splits a finite number into a fraction of at least a half and less than one, and a power of two (Go's `Frexp`).
fn split(value: f64) -> (f64, i32) {
    if value == 0.0 {
        return (value, 0);
    }
    let (value, offset) = if value.abs() < f64::MIN_POSITIVE {
        (value * 4_503_599_627_370_496.0, -52)
    } else {
        (value, 0)
    };
    let bits = value.to_bits();
    let biased = i32::try_from((bits >> 52) & 0x7ff).unwrap_or_default();
    let fraction = f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52));
    (fraction, biased - 1022 + offset)
}

/// Computes `value * 2^exponent`, rounded once (Go's `Ldexp`).
fn scale(value: f64, exponent: i32) -> f64 {
    let (fraction, own) = split(value);
    let exponent = own.saturating_add(exponent);
    if fraction == 0.0 || !fraction.is_finite() {
        return fraction;
    }
    if exponent > 1024 {
        return f64::INFINITY.copysign(fraction);
    }
    if exponent < -1074 {
        return 0.0f64.copysign(fraction);
    }
    let power =
        |exponent: i32| f64::from_bits(u64::try_from(exponent + 1023).unwrap_or_default() << 52);
    if exponent > -1021 {
        fraction * 2.0 * power(exponent - 1)
    } else {
        fraction * power(exponent + 53) * power(-53)
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the tests compare the last bit")]
mod tests {
    use super::*;

    #[test]
    fn logarithms_of_powers_are_whole() {
        assert_eq!(logarithm(8.0) / logarithm(2.0), 3.0);
        assert_eq!(logarithm(1.0), 0.0);
        assert!(logarithm(-1.0).is_nan());
        assert_eq!(logarithm(0.0), f64::NEG_INFINITY);
        assert!((logarithm(5e-324) + 744.440_071_921_381_2).abs() < 1e-12);
    }

    #[test]
    fn powers_of_whole_numbers_are_exact() {
        assert_eq!(power(2.0, 100.0), 2f64.powi(100));
        assert_eq!(power(-3.0, 3.0), -27.0);
        assert_eq!(power(2.0, -1.0), 0.5);
        assert_eq!(power(2.0, 0.5), std::f64::consts::SQRT_2);
        assert_eq!(power(10.0, 400.0), f64::INFINITY);
        assert_eq!(power(10.0, -400.0), 0.0);
        assert!(power(-8.0, 1.0 / 3.0).is_nan());
        assert_eq!(power(2.0, -1074.0), 5e-324);
    }

    #[test]
    fn fractional_powers_are_close_to_those_of_the_platform() {
        for (base, exponent) in [(10.0, 0.3), (2.5, 3.7), (1e10, -1.25), (0.001, 2.2)] {
            let relative = power(base, exponent) / f64::powf(base, exponent) - 1.0;
            assert!(relative.abs() < 1e-15, "{base}^{exponent}: {relative:e}");
        }
    }
}
