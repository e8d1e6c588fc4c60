//! Parses decimal text to a number.

use num_bigint::BigUint;
use num_traits::Zero as _;

use super::{EXPONENT_LIMIT, LITERAL_PRECISION, Number};

/// The most digits of a number. More would only cost time.
const DIGITS_LIMIT: usize = 100_000;

/// A text cannot be parsed as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseNumberError {
    /// The text does not have the form of a number.
    #[error("a number is required")]
    Syntax,
    /// The number exceeds the limits of rbake: too many digits, or too large an exponent.
    #[error("the number is too large or too long")]
    Range,
}

impl Number {
    /// Parses a number with the precision of a literal: `-1.5`, `.5`, `1e3`, `1p3` (times a power of two), `inf`.
    pub(crate) fn parse(text: &str) -> Result<Self, ParseNumberError> {
        let (negative, body) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if matches!(body, "Inf" | "inf") {
            return Ok(if negative {
                Self::negative_infinity()
            } else {
                Self::infinity()
            });
        }
        let scanned = Scanned::read(body)?;
        let mantissa = BigUint::parse_bytes(&scanned.digits, 10).ok_or(ParseNumberError::Syntax)?;
        if mantissa.is_zero() {
            return Ok(Self::rounded(
                mantissa,
                0,
                negative,
                LITERAL_PRECISION,
                false,
            ));
        }
        if scanned.two.abs() > EXPONENT_LIMIT || scanned.five.abs() > EXPONENT_LIMIT {
            return Err(ParseNumberError::Range);
        }
        // As in Go, the digits are rounded before they are multiplied by the power of five. With more than 154
        // digits, the second rounding can change the last bit.
        let digits = Self::rounded(mantissa, scanned.two, negative, LITERAL_PRECISION, false);
        let scale = power_of_five(scanned.five.unsigned_abs(), LITERAL_PRECISION + 64);
        let number = if scanned.five < 0 {
            digits.divide_to(&scale, LITERAL_PRECISION)
        } else {
            digits.multiply_to(&scale, LITERAL_PRECISION)
        };
        match number {
            Ok(number) if !number.is_infinite() => Ok(number),
            _ => Err(ParseNumberError::Range),
        }
    }
}

/// Computes `5^exponent` by squaring, with Go's choice of intermediate precision, so that the result is rounded as
/// in Go.
fn power_of_five(exponent: u64, precision: u32) -> Number {
    const TABLE_END: u64 = 27;
    let exact = exponent.min(TABLE_END);
    let mut power =
        Number::from(5u64.pow(u32::try_from(exact).unwrap_or_default())).with_precision(precision);
    let mut left = exponent - exact;
    let mut factor = Number::from(5u64).with_precision(precision + 64);
    while left > 0 {
        if left & 1 == 1 {
            power = power.multiply_to(&factor, precision).unwrap_or(power);
        }
        factor = factor
            .multiply_to(&factor, precision + 64)
            .unwrap_or(factor);
        left >>= 1;
    }
    power
}

/// The parts of a number's text: `digits * 2^two * 5^five`.
struct Scanned {
    digits: Vec<u8>,
    two: i64,
    five: i64,
}

impl Scanned {
    fn read(text: &str) -> Result<Self, ParseNumberError> {
        let end = text.find(['e', 'E', 'p', 'P']).unwrap_or(text.len());
        let (mantissa, exponent) = text.split_at(end);
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(ParseNumberError::Syntax);
        }
        if digits.len() > DIGITS_LIMIT {
            return Err(ParseNumberError::Range);
        }
        let places = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
        let (power, binary) = match exponent.as_bytes() {
            [] => (0, false),
            [letter, ..] => (
                read_exponent(&exponent[1..])?,
                matches!(letter, b'p' | b'P'),
            ),
        };
        Ok(Self {
            digits,
            two: power.saturating_sub(places),
            five: if binary { 0 } else { power }.saturating_sub(places),
        })
    }
}

/// Parses an exponent with an optional sign. An exponent that overflows is a [`ParseNumberError::Range`].
fn read_exponent(text: &str) -> Result<i64, ParseNumberError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(ParseNumberError::Syntax);
    }
    text.parse().map_err(|_| ParseNumberError::Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_every_notation() {
        let of = |text: &str| Number::parse(text).unwrap().to_string();
        assert_eq!(of("+5."), "5");
        assert_eq!(of(".5"), "0.5");
        assert_eq!(of("1.50"), "1.5");
        assert_eq!(of("1e-7"), "0.0000001");
        assert_eq!(of("1E+3"), "1000");
        assert_eq!(of("1p3"), "8");
        assert_eq!(of("-0"), "-0");
        assert_eq!(of("inf"), "+Inf");
        assert_eq!(of("-Inf"), "-Inf");
        assert_eq!(
            of("123456789012345678901234567890"),
            "123456789012345678901234567890"
        );
    }

    #[test]
    fn refuses_texts_that_are_not_numbers() {
        for text in [
            "", "-", ".", "e3", "1e", "1e+", "1_000", "0x10", " 1", "1 ", "1.2.3", "--1", "NaN",
            "infinity", "1e3.5", "٣",
        ] {
            assert_eq!(
                Number::parse(text).unwrap_err(),
                ParseNumberError::Syntax,
                "{text:?}"
            );
        }
    }

    #[test]
    fn refuses_numbers_that_are_too_large_or_too_long() {
        for text in ["1e999999999", "1e-999999999", "1e99999999999999999999"] {
            assert_eq!(Number::parse(text).unwrap_err(), ParseNumberError::Range);
        }
        let long = "1".repeat(DIGITS_LIMIT + 1);
        assert_eq!(Number::parse(&long).unwrap_err(), ParseNumberError::Range);
    }
}
