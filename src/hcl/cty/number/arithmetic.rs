//! Addition, multiplication, division and remainder, correctly rounded.

use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer as _;
use num_traits::Zero as _;

use super::{LITERAL_PRECISION, Magnitude, NotANumber, Number};

impl Number {
    fn signed(mantissa: &BigUint, negative: bool) -> BigInt {
        let sign = if negative { Sign::Minus } else { Sign::Plus };
        BigInt::from_biguint(sign, mantissa.clone())
    }

    fn wider(&self, other: &Self) -> u32 {
        self.0.precision.max(other.0.precision)
    }

    /// The sum. Infinities of opposite signs have no sum.
    pub(crate) fn add(&self, other: &Self) -> Result<Self, NotANumber> {
        use Magnitude::{Finite, Infinite, Zero};
        let precision = self.wider(other);
        Ok(match (&self.0.magnitude, &other.0.magnitude) {
            (Infinite, Infinite) if self.0.negative != other.0.negative => return Err(NotANumber),
            (Zero, Zero) => Self::special(Zero, self.0.negative && other.0.negative, precision),
            (Infinite, _) | (_, Zero) => self.with_precision(precision),
            (_, Infinite) | (Zero, _) => other.with_precision(precision),
            (
                Finite { mantissa, exponent },
                Finite {
                    mantissa: other_mantissa,
                    exponent: other_exponent,
                },
            ) => {
                let low = (*exponent).min(*other_exponent);
                let left =
                    Self::signed(mantissa, self.0.negative) << (exponent - low).unsigned_abs();
                let right = Self::signed(other_mantissa, other.0.negative)
                    << (other_exponent - low).unsigned_abs();
                let (sign, magnitude) = (left + right).into_parts();
                Self::rounded(magnitude, low, sign == Sign::Minus, precision, false)
            }
        })
    }

    /// The difference. Infinities of the same sign have no difference.
    pub(crate) fn subtract(&self, other: &Self) -> Result<Self, NotANumber> {
        self.add(&other.negate())
    }

    /// The number with the opposite sign. Zero has a sign, too.
    #[must_use]
    pub(crate) fn negate(&self) -> Self {
        Self::special(self.0.magnitude.clone(), !self.0.negative, self.0.precision)
    }

    /// The absolute value.
    #[must_use]
    pub(crate) fn absolute(&self) -> Self {
        Self::special(self.0.magnitude.clone(), false, self.0.precision)
    }

    /// The product, rounded to `precision` bits. Zero times infinity has no product.
    pub(super) fn multiply_to(&self, other: &Self, precision: u32) -> Result<Self, NotANumber> {
        use Magnitude::{Finite, Infinite, Zero};
        let negative = self.0.negative != other.0.negative;
        Ok(match (&self.0.magnitude, &other.0.magnitude) {
            (Zero, Infinite) | (Infinite, Zero) => return Err(NotANumber),
            (Zero, _) | (_, Zero) => Self::special(Zero, negative, precision),
            (Infinite, _) | (_, Infinite) => Self::special(Infinite, negative, precision),
            (
                Finite { mantissa, exponent },
                Finite {
                    mantissa: other_mantissa,
                    exponent: other_exponent,
                },
            ) => Self::rounded(
                mantissa * other_mantissa,
                exponent + other_exponent,
                negative,
                precision,
                false,
            ),
        })
    }

    /// The product. Zero times infinity has no product.
    ///
    /// It is computed with 512 bits. Its precision is that of the wider operand, or as many bits more as the
    /// product needs: go-cty does this so that products of integers stay exact.
    pub(crate) fn multiply(&self, other: &Self) -> Result<Self, NotANumber> {
        let product = self.multiply_to(other, LITERAL_PRECISION)?;
        let needed = match &product.0.magnitude {
            Magnitude::Finite { mantissa, .. } => {
                u32::try_from(mantissa.bits()).unwrap_or(u32::MAX)
            }
            _ => 0,
        };
        Ok(product.with_precision(needed.max(self.wider(other))))
    }

    /// The quotient, rounded to `precision` bits. The errors are those of [`divide`](Self::divide).
    pub(super) fn divide_to(&self, other: &Self, precision: u32) -> Result<Self, NotANumber> {
        use Magnitude::{Finite, Infinite, Zero};
        let negative = self.0.negative != other.0.negative;
        Ok(match (&self.0.magnitude, &other.0.magnitude) {
            (Zero, Zero) | (Infinite, Infinite) => return Err(NotANumber),
            (Zero, _) | (_, Infinite) => Self::special(Zero, negative, precision),
            (_, Zero) | (Infinite, _) => Self::special(Infinite, negative, precision),
            (
                Finite { mantissa, exponent },
                Finite {
                    mantissa: other_mantissa,
                    exponent: other_exponent,
                },
            ) => {
                // Two bits beyond the precision and whether there is a remainder are enough to round correctly.
                let wanted = u64::from(precision) + 2 + other_mantissa.bits();
                let shift = wanted.saturating_sub(mantissa.bits());
                let (quotient, remainder) = (mantissa << shift).div_rem(other_mantissa);
                Self::rounded(
                    quotient,
                    exponent - other_exponent - i64::try_from(shift).unwrap_or(i64::MAX),
                    negative,
                    precision,
                    !remainder.is_zero(),
                )
            }
        })
    }

    /// The quotient. Division by zero is infinite. Zero by zero and infinity by infinity have no quotient.
    pub(crate) fn divide(&self, other: &Self) -> Result<Self, NotANumber> {
        self.divide_to(other, self.wider(other))
    }

    /// The remainder of the division rounded toward zero, with the sign of `self`. If `other` is zero, it is
    /// `self`. If one of the two is infinite, there is no remainder.
    pub(crate) fn modulo(&self, other: &Self) -> Result<Self, NotANumber> {
        if self.is_infinite() || other.is_infinite() {
            return Err(NotANumber);
        }
        if other.is_zero() {
            return Ok(self.clone());
        }
        let Some(whole) = self.divide(other)?.truncate() else {
            return Err(NotANumber);
        };
        // Go's scratch value keeps the precision of `self`, so the product and the difference are rounded to it.
        let precision = self.0.precision;
        let whole = Self::from_bigint(&whole).with_precision(precision);
        let product = other.multiply_to(&whole, precision)?;
        Ok(self.subtract(&product)?.with_precision(precision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn decimal_fractions_add_up() {
        let sum = number("0.1").add(&number("0.2")).unwrap();
        assert_eq!(sum, number("0.3"));
        assert_eq!(sum.to_string(), "0.3");
    }

    #[test]
    fn a_third_is_printed_with_all_digits_of_512_bits() {
        let third = number("1").divide(&number("3")).unwrap().to_string();
        assert_eq!(third, format!("0.{}5", "3".repeat(154)));
    }

    #[test]
    fn results_have_the_precision_of_the_wider_operand() {
        let by_integers = Number::from(1i64).divide(&Number::from(3i64)).unwrap();
        assert_eq!(by_integers.precision(), 64);
        assert_eq!(by_integers.to_string(), "0.33333333333333333334");
        let by_literal = Number::from(1i64).divide(&number("3")).unwrap();
        assert_eq!(by_literal.precision(), 512);
    }

    #[test]
    fn remainders_have_the_sign_of_the_dividend() {
        let of = |left: &str, right: &str| number(left).modulo(&number(right)).unwrap().to_string();
        assert_eq!(of("7", "-3"), "1");
        assert_eq!(of("-7", "3"), "-1");
        assert_eq!(of("5.5", "2"), "1.5");
        assert_eq!(of("5", "0"), "5");
    }

    #[test]
    fn opposite_infinities_have_no_sum() {
        assert_eq!(
            Number::infinity()
                .add(&Number::negative_infinity())
                .unwrap_err(),
            NotANumber
        );
        assert_eq!(
            Number::zero().multiply(&Number::infinity()).unwrap_err(),
            NotANumber
        );
        assert_eq!(
            number("1").divide(&number("0")).unwrap(),
            Number::infinity()
        );
    }

    #[test]
    fn products_of_integers_stay_exact() {
        let big = Number::from(i64::MAX);
        let square = big.multiply(&big).unwrap();
        assert_eq!(square.to_string(), "85070591730234615847396907784232501249");
    }
}
