//! Converts between numbers and machine floats.

use num_bigint::BigUint;
use num_traits::ToPrimitive as _;

use super::{FLOAT64_PRECISION, Magnitude, Number};

/// The smallest `n` for which the machine floats just below `2^n` are normal. Smaller ones are subnormal and have
/// fewer bits.
const LOWEST_NORMAL: i64 = -1021;

impl Number {
    /// Converts a machine float exactly, with a precision of 53 bits. `None` for NaN.
    pub(crate) fn from_f64(value: f64) -> Option<Self> {
        if value.is_nan() {
            return None;
        }
        let negative = value.is_sign_negative();
        if value.is_infinite() {
            return Some(Self::special(
                Magnitude::Infinite,
                negative,
                FLOAT64_PRECISION,
            ));
        }
        let bits = value.to_bits();
        let biased = i64::try_from((bits >> 52) & 0x7ff).unwrap_or_default();
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, exponent) = if biased == 0 {
            (fraction, -1074)
        } else {
            (fraction | (1 << 52), biased - 1075)
        };
        Some(Self::rounded(
            BigUint::from(mantissa),
            exponent,
            negative,
            FLOAT64_PRECISION,
            false,
        ))
    }

    /// The nearest machine float, half to even. Infinite if the number is too large.
    pub(crate) fn to_f64(&self) -> f64 {
        let sign = if self.is_negative() { -1.0 } else { 1.0 };
        let magnitude = match &self.0.magnitude {
            Magnitude::Zero => 0.0,
            Magnitude::Infinite => f64::INFINITY,
            Magnitude::Finite { .. } => {
                let top = self.top_bit().unwrap_or_default();
                // Subnormal numbers have fewer bits. A number below half the smallest one rounds to zero.
                let missing = (LOWEST_NORMAL - top).max(0);
                let precision = i64::from(FLOAT64_PRECISION) - missing;
                if precision < 0 || top > 1024 {
                    if top > 0 { f64::INFINITY } else { 0.0 }
                } else if precision == 0 {
                    // The number is between half the smallest subnormal number and that number. Exactly half (a
                    // single bit) rounds to even, which is zero; anything more rounds up.
                    let half = matches!(&self.0.magnitude,
                        Magnitude::Finite { mantissa, .. } if mantissa.bits() == 1);
                    if half { 0.0 } else { f64::from_bits(1) }
                } else {
                    let cut =
                        self.with_precision(u32::try_from(precision).unwrap_or(FLOAT64_PRECISION));
                    match &cut.0.magnitude {
                        Magnitude::Finite { mantissa, exponent } => {
                            scale(mantissa.to_u64().unwrap_or_default(), *exponent)
                        }
                        Magnitude::Zero => 0.0,
                        Magnitude::Infinite => f64::INFINITY,
                    }
                }
            }
        };
        sign * magnitude
    }
}

/// Computes `mantissa * 2^exponent`. The caller has rounded the number so that a machine float can hold it, unless
/// it is too large.
fn scale(mantissa: u64, exponent: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most 53 bits are set")]
    let mut value = mantissa as f64;
    let mut left = exponent;
    // Scale in steps of at most 1000, so that no factor overflows and the value becomes subnormal in the last step
    // only.
    while left > 0 {
        let step = left.min(1000);
        value *= power_of_two(step);
        left -= step;
        if value.is_infinite() {
            return value;
        }
    }
    while left < 0 {
        let step = (-left).min(1000);
        value /= power_of_two(step);
        left += step;
    }
    value
}

fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(u64::try_from(exponent + 1023).unwrap_or_default() << 52)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the tests compare the last bit")]
mod tests {
    use super::*;

    #[test]
    fn floats_round_trip() {
        for value in [
            0.0,
            -0.0,
            1.0,
            0.1,
            -1.5,
            1e308,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            2.5e-310,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ] {
            let back = Number::from_f64(value).unwrap().to_f64();
            assert_eq!(back.to_bits(), value.to_bits(), "{value:e}");
        }
        assert!(Number::from_f64(f64::NAN).is_none());
    }

    #[test]
    fn wide_numbers_round_to_the_nearest_float() {
        let of = |text: &str| Number::parse(text).unwrap().to_f64();
        assert_eq!(of("0.1").to_bits(), 0.1f64.to_bits());
        assert_eq!(of("1e400"), f64::INFINITY);
        assert_eq!(of("1e-400"), 0.0);
        assert_eq!(of("3e-324").to_bits(), 1);
        assert_eq!(of("2e-324").to_bits(), 0);
        assert_eq!(of("9007199254740993"), 9_007_199_254_740_992.0);
        assert_eq!(of("9007199254740993.0000001"), 9_007_199_254_740_994.0);
    }
}
