//! Formats numbers as decimal text: with the fewest digits that identify the number, or with a chosen number of
//! digits.

use std::fmt::{self, Write as _};

use num_bigint::BigUint;

use super::{Magnitude, Number};

/// A non-negative decimal number `0.d1d2d3… * 10^point`, without trailing zeros. Zero has no digits.
#[derive(Debug, Clone, Default)]
struct Decimal {
    digits: Vec<u8>,
    point: i64,
}

impl Decimal {
    /// The exact decimal value of `mantissa * 2^exponent`.
    fn exact(mantissa: &BigUint, exponent: i64) -> Self {
        let size = exponent.unsigned_abs();
        let (digits, scale) = if exponent >= 0 {
            (mantissa << size, 0)
        } else {
            // `m / 2^n` is `m * 5^n / 10^n`. Cancelling common powers of two first makes the numbers smaller.
            let common = mantissa.trailing_zeros().unwrap_or(0).min(size);
            let power = u32::try_from(size - common).unwrap_or(u32::MAX);
            (
                (mantissa >> common) * BigUint::from(5u32).pow(power),
                i64::from(power),
            )
        };
        let digits = digits.to_string().into_bytes();
        let point = i64::try_from(digits.len()).unwrap_or(i64::MAX) - scale;
        let mut decimal = Self { digits, point };
        decimal.trim();
        decimal
    }

    fn trim(&mut self) {
        while self.digits.last() == Some(&b'0') {
            self.digits.pop();
        }
        if self.digits.is_empty() {
            self.point = 0;
        }
    }

    /// The number of digits.
    fn len(&self) -> i64 {
        i64::try_from(self.digits.len()).unwrap_or(i64::MAX)
    }

    /// The digit at a position, from 0; `0` beyond the last one.
    fn at(&self, place: i64) -> u8 {
        usize::try_from(place)
            .ok()
            .and_then(|place| self.digits.get(place))
            .copied()
            .unwrap_or(b'0')
    }

    /// Rounds to `count` digits, half to even.
    fn round(&mut self, count: i64) {
        let Some(keep) = usize::try_from(count)
            .ok()
            .filter(|keep| *keep < self.digits.len())
        else {
            if count < 0 {
                *self = Self::default();
            }
            return;
        };
        let exactly_half = self.digits[keep] == b'5' && keep + 1 == self.digits.len();
        let up = if exactly_half {
            keep > 0 && (self.digits[keep - 1] - b'0') % 2 == 1
        } else {
            self.digits[keep] >= b'5'
        };
        if up {
            self.round_up(keep);
        } else {
            self.round_down(keep);
        }
    }

    fn round_down(&mut self, keep: usize) {
        self.digits.truncate(keep);
        self.trim();
    }

    fn round_up(&mut self, keep: usize) {
        let mut keep = keep;
        while keep > 0 && self.digits[keep - 1] == b'9' {
            keep -= 1;
        }
        if keep == 0 {
            // If all digits are nines, the result is a single one, with the point one place further.
            self.digits = vec![b'1'];
            self.point += 1;
            return;
        }
        self.digits[keep - 1] += 1;
        self.digits.truncate(keep);
    }

    /// The shortest decimal that parses to the same number at `precision` bits. The algorithm is that of Go's
    /// `math/big`.
    fn shortest(mantissa: &BigUint, exponent: i64, precision: u32) -> Self {
        let mut decimal = Self::exact(mantissa, exponent);
        // With one bit more than the precision, the last bit is half a unit in the last place, so `lower` and
        // `upper` bound the decimals that round to this number.
        let grow = u64::from(precision) + 1 - mantissa.bits();
        let middle = mantissa << grow;
        let at = exponent - i64::try_from(grow).unwrap_or(i64::MAX);
        let lower = Self::exact(&(&middle - 1u32), at);
        let upper = Self::exact(&(&middle + 1u32), at);
        // A decimal exactly on a bound rounds to an even mantissa, so the bounds are included only if this one is
        // even.
        let inclusive = !middle.bit(1);
        for place in 0..decimal.digits.len() {
            let here = decimal.digits[place];
            let place_of = i64::try_from(place).unwrap_or(i64::MAX);
            let (low, high) = (lower.at(place_of), upper.at(place_of));
            let down = low != here || inclusive && place + 1 == lower.digits.len();
            let up =
                here != high && (inclusive || here + 1 < high || place + 1 < upper.digits.len());
            match (down, up) {
                (true, true) => decimal.round(place_of + 1),
                (true, false) => decimal.round_down(place + 1),
                (false, true) => decimal.round_up(place + 1),
                (false, false) => continue,
            }
            break;
        }
        decimal
    }

    /// Writes `123.450`, with `places` digits after the point.
    fn write_fixed(&self, out: &mut String, places: usize) {
        if self.point > 0 {
            for place in 0..self.point {
                out.push(char::from(self.at(place)));
            }
        } else {
            out.push('0');
        }
        if places > 0 {
            out.push('.');
            for place in 0..i64::try_from(places).unwrap_or(i64::MAX) {
                out.push(char::from(self.at(self.point + place)));
            }
        }
    }

    /// Writes `1.2345e+02`, with `places` digits after the point.
    fn write_exponent(&self, out: &mut String, places: usize, letter: char) {
        out.push(char::from(self.at(0)));
        if places > 0 {
            out.push('.');
            for place in 1..=i64::try_from(places).unwrap_or(i64::MAX) {
                out.push(char::from(self.at(place)));
            }
        }
        let exponent = if self.digits.is_empty() {
            0
        } else {
            self.point - 1
        };
        let sign = if exponent < 0 { '-' } else { '+' };
        out.push(letter);
        out.push(sign);
        // Writing to a `String` cannot fail.
        let _ = write!(out, "{:02}", exponent.unsigned_abs());
    }
}

/// The notation of [`Number::to_text`], as Go's verbs `f`, `e`, `E`, `g` and `G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    /// `123.45`
    Fixed,
    /// `1.2345e+02`
    Exponent,
    /// `1.2345E+02`
    UpperExponent,
    /// `Exponent` for large and small exponents, otherwise `Fixed`.
    General,
    /// The same with a capital `E`.
    UpperGeneral,
}

impl Number {
    /// Formats the number. Without `digits`, writes as few digits as identify the number.
    ///
    /// `digits` is the number of digits after the point, or of all digits in the general notations. Infinity is
    /// `+Inf` or `-Inf`.
    pub(crate) fn to_text(&self, notation: Notation, digits: Option<usize>) -> String {
        let mut out = String::new();
        if self.is_negative() {
            out.push('-');
        }
        let mut decimal = match &self.0.magnitude {
            Magnitude::Infinite => {
                if !self.is_negative() {
                    out.push('+');
                }
                out.push_str("Inf");
                return out;
            }
            Magnitude::Zero => Decimal::default(),
            Magnitude::Finite { mantissa, exponent } if digits.is_none() => {
                if let Some(small) = small_integer(mantissa, *exponent)
                    && notation == Notation::Fixed
                    && self.0.precision >= u64::BITS
                {
                    out.push_str(&small.to_string());
                    return out;
                }
                Decimal::shortest(mantissa, *exponent, self.0.precision)
            }
            Magnitude::Finite { mantissa, exponent } => Decimal::exact(mantissa, *exponent),
        };
        match notation {
            Notation::Fixed => {
                let places = digits.unwrap_or_else(|| natural(decimal.len() - decimal.point));
                decimal.round(
                    decimal
                        .point
                        .saturating_add(i64::try_from(places).unwrap_or(i64::MAX)),
                );
                decimal.write_fixed(&mut out, places);
            }
            Notation::Exponent | Notation::UpperExponent => {
                let letter = if notation == Notation::Exponent {
                    'e'
                } else {
                    'E'
                };
                let places = digits.unwrap_or_else(|| natural(decimal.len() - 1));
                decimal.round(i64::try_from(places).unwrap_or(i64::MAX).saturating_add(1));
                decimal.write_exponent(&mut out, places, letter);
            }
            Notation::General | Notation::UpperGeneral => {
                let letter = if notation == Notation::General {
                    'e'
                } else {
                    'E'
                };
                let shortest = digits.is_none();
                let digits = digits.map_or(decimal.len(), |digits| {
                    i64::try_from(digits.max(1)).unwrap_or(i64::MAX)
                });
                decimal.round(digits);
                write_general(&decimal, &mut out, digits, letter, shortest);
            }
        }
        out
    }
}

fn natural(value: i64) -> usize {
    usize::try_from(value).unwrap_or(0)
}

/// Chooses between fixed and exponent notation by the rules of Go's verb `g`.
fn write_general(decimal: &Decimal, out: &mut String, digits: i64, letter: char, shortest: bool) {
    let exponent = decimal.point - 1;
    let threshold = if shortest {
        6
    } else if digits > decimal.len() && decimal.len() >= decimal.point {
        decimal.len()
    } else {
        digits
    };
    if exponent < -4 || exponent >= threshold {
        decimal.write_exponent(out, natural(digits.min(decimal.len()) - 1), letter);
    } else {
        let digits = if digits > decimal.point {
            decimal.len()
        } else {
            digits
        };
        decimal.write_fixed(out, natural(digits - decimal.point));
    }
}

/// The number as a machine integer, or `None` if it does not fit. Formatting a machine integer is much faster than
/// [`Decimal::shortest`].
fn small_integer(mantissa: &BigUint, exponent: i64) -> Option<u64> {
    let shift = u32::try_from(exponent).ok()?;
    if mantissa.bits() + u64::from(shift) > 64 {
        return None;
    }
    u64::try_from(mantissa).ok()?.checked_shl(shift)
}

/// The shortest decimal text that identifies the number, without an exponent: `0.3`, `-12`, `+Inf`.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text(Notation::Fixed, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn numbers_from_floats_print_the_shortest_digits() {
        let power = Number::from_f64(2f64.powi(100)).unwrap();
        assert_eq!(power.to_string(), "1267650600228229400000000000000");
        assert_eq!(Number::from_f64(0.1).unwrap().to_string(), "0.1");
        assert_eq!(
            Number::from_f64(1e23).unwrap().to_string(),
            "100000000000000000000000"
        );
    }

    #[test]
    fn exact_integers_print_all_digits() {
        let text = format!("1{}", "0".repeat(140));
        assert_eq!(number("1e140").to_string(), text);
    }

    #[test]
    fn fixed_notation_rounds_half_to_even() {
        let fixed = |text: &str, digits| number(text).to_text(Notation::Fixed, Some(digits));
        assert_eq!(fixed("0.125", 2), "0.12");
        assert_eq!(fixed("0.375", 2), "0.38");
        assert_eq!(fixed("9.99", 1), "10.0");
        assert_eq!(fixed("0.04", 1), "0.0");
        assert_eq!(fixed("1234", 0), "1234");
    }

    #[test]
    fn numbers_are_printed_in_exponent_and_general_notation() {
        let exponent = |text: &str, digits| number(text).to_text(Notation::Exponent, digits);
        assert_eq!(exponent("1234.5", Some(6)), "1.234500e+03");
        assert_eq!(exponent("0", Some(2)), "0.00e+00");
        assert_eq!(exponent("0.00012", None), "1.2e-04");
        let general = |text: &str, digits| number(text).to_text(Notation::General, digits);
        assert_eq!(general("1e21", None), "1e+21");
        assert_eq!(general("100000", None), "100000");
        assert_eq!(general("0.0001", None), "0.0001");
        assert_eq!(general("0.00001", None), "1e-05");
        assert_eq!(general("1234.5678", Some(3)), "1.23e+03");
        assert_eq!(general("0.5", Some(10)), "0.5");
    }
}
