//! HCL's numbers: binary floating point numbers with a precision of their own, rounded half to even.
//!
//! The arithmetic is that of Go's `math/big.Float`, which go-cty uses. A literal has 512 bits, an integer made by a
//! function 64, a number that was a machine float 53, and a result as many as the wider operand. Users see the
//! precision in two ways: a quotient is rounded to it, and it decides how many digits are printed. So it is part of
//! the value. Start at [`Number::parse`]. Operations without a numeric result return [`NotANumber`].

mod arithmetic;
mod float64;
mod parse;
mod text;

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use num_bigint::{BigInt, BigUint, Sign};
use num_traits::Zero as _;

pub(crate) use parse::ParseNumberError;
pub(crate) use text::Notation;

/// The precision in bits of literals and of numbers parsed from strings.
pub(crate) const LITERAL_PRECISION: u32 = 512;
/// The precision in bits of integers made by functions.
pub(crate) const INTEGER_PRECISION: u32 = 64;
/// The precision in bits of numbers that were machine floats.
pub(crate) const FLOAT64_PRECISION: u32 = 53;

/// Numbers of at least 2 to this power become infinite, and numbers below its reciprocal become zero.
///
/// Go's limit is 2^31, but to print one such number takes gigabytes. With this limit (about 19,700 decimal digits),
/// every operation takes milliseconds.
const EXPONENT_LIMIT: i64 = 1 << 16;

/// An operation has no numeric result, such as infinity minus infinity. Go panics then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the result is not a number")]
pub(crate) struct NotANumber;

/// A number. Cheap to clone. Comparisons, hashes and equality ignore the precision.
#[derive(Clone)]
pub(crate) struct Number(Arc<Float>);

#[derive(Debug, Clone)]
struct Float {
    magnitude: Magnitude,
    negative: bool,
    precision: u32,
}

#[derive(Debug, Clone)]
enum Magnitude {
    Zero,
    /// `mantissa * 2^exponent`. The mantissa is odd and has no more bits than the precision, so equal numbers have
    /// equal parts.
    Finite {
        mantissa: BigUint,
        exponent: i64,
    },
    Infinite,
}

impl Number {
    /// Zero, with the precision of integers.
    pub(crate) fn zero() -> Self {
        Self::special(Magnitude::Zero, false, INTEGER_PRECISION)
    }

    /// Positive infinity.
    pub(crate) fn infinity() -> Self {
        Self::special(Magnitude::Infinite, false, INTEGER_PRECISION)
    }

    /// Negative infinity.
    pub(crate) fn negative_infinity() -> Self {
        Self::special(Magnitude::Infinite, true, INTEGER_PRECISION)
    }

    fn special(magnitude: Magnitude, negative: bool, precision: u32) -> Self {
        Self(Arc::new(Float {
            magnitude,
            negative,
            precision,
        }))
    }

    /// An integer of any size. Its precision is its length in bits, but at least 64.
    pub(crate) fn from_bigint(value: &BigInt) -> Self {
        let bits = u32::try_from(value.bits()).unwrap_or(u32::MAX);
        Self::rounded(
            value.magnitude().clone(),
            0,
            value.sign() == Sign::Minus,
            bits.max(INTEGER_PRECISION),
            false,
        )
    }

    /// Rounds `mantissa * 2^exponent` to `precision` bits, half to even. `sticky` says that the exact value is
    /// slightly larger, because bits below the mantissa's last one were cut off.
    fn rounded(
        mut mantissa: BigUint,
        mut exponent: i64,
        negative: bool,
        precision: u32,
        sticky: bool,
    ) -> Self {
        if mantissa.is_zero() {
            return Self::special(Magnitude::Zero, negative, precision);
        }
        let bits = mantissa.bits();
        if bits > u64::from(precision) {
            let cut = bits - u64::from(precision);
            let half = mantissa.bit(cut - 1);
            let below = sticky
                || mantissa
                    .trailing_zeros()
                    .is_some_and(|zeros| zeros < cut - 1);
            mantissa >>= cut;
            exponent = exponent.saturating_add(i64::try_from(cut).unwrap_or(i64::MAX));
            if half && (below || mantissa.bit(0)) {
                mantissa += 1u32;
            }
        }
        let zeros = mantissa.trailing_zeros().unwrap_or(0);
        if zeros > 0 {
            mantissa >>= zeros;
            exponent = exponent.saturating_add(i64::try_from(zeros).unwrap_or(i64::MAX));
        }
        let top = exponent.saturating_add(i64::try_from(mantissa.bits()).unwrap_or(i64::MAX));
        let magnitude = if top > EXPONENT_LIMIT {
            Magnitude::Infinite
        } else if top < -EXPONENT_LIMIT {
            Magnitude::Zero
        } else {
            Magnitude::Finite { mantissa, exponent }
        };
        Self::special(magnitude, negative, precision)
    }

    /// The precision of this number, in bits.
    pub(crate) fn precision(&self) -> u32 {
        self.0.precision
    }

    /// The number, rounded to `precision` bits.
    #[must_use]
    pub(crate) fn with_precision(&self, precision: u32) -> Self {
        match &self.0.magnitude {
            Magnitude::Finite { mantissa, exponent } => Self::rounded(
                mantissa.clone(),
                *exponent,
                self.0.negative,
                precision,
                false,
            ),
            other => Self::special(other.clone(), self.0.negative, precision),
        }
    }

    /// Whether the sign is negative. Zero may be negative, too, after a negation.
    pub(crate) fn is_negative(&self) -> bool {
        self.0.negative
    }

    /// Whether the number is zero.
    pub(crate) fn is_zero(&self) -> bool {
        matches!(self.0.magnitude, Magnitude::Zero)
    }

    /// Whether the number is positive or negative infinity.
    pub(crate) fn is_infinite(&self) -> bool {
        matches!(self.0.magnitude, Magnitude::Infinite)
    }

    /// Whether the number is finite and has no fraction.
    pub(crate) fn is_integer(&self) -> bool {
        match &self.0.magnitude {
            Magnitude::Zero => true,
            Magnitude::Finite { exponent, .. } => *exponent >= 0,
            Magnitude::Infinite => false,
        }
    }

    /// The integer part, rounded toward zero. `None` for infinity.
    pub(crate) fn truncate(&self) -> Option<BigInt> {
        match &self.0.magnitude {
            Magnitude::Zero => Some(BigInt::zero()),
            Magnitude::Infinite => None,
            Magnitude::Finite { mantissa, exponent } => {
                let size = exponent.unsigned_abs();
                let magnitude = if *exponent >= 0 {
                    mantissa << size
                } else {
                    mantissa >> size
                };
                let sign = if self.0.negative {
                    Sign::Minus
                } else {
                    Sign::Plus
                };
                Some(BigInt::from_biguint(sign, magnitude))
            }
        }
    }

    /// The number as an integer of any size. `None` if it has a fraction or is infinite.
    pub(crate) fn to_bigint(&self) -> Option<BigInt> {
        if self.is_integer() {
            self.truncate()
        } else {
            None
        }
    }

    /// The number as a machine integer. `None` if it has a fraction or does not fit.
    pub(crate) fn to_i64(&self) -> Option<i64> {
        if self.top_bit().is_some_and(|top| top > 64) {
            return None;
        }
        self.to_bigint().and_then(|value| i64::try_from(value).ok())
    }

    /// The number as an index. `None` if it is negative, has a fraction, or does not fit.
    pub(crate) fn to_usize(&self) -> Option<usize> {
        self.to_i64().and_then(|value| usize::try_from(value).ok())
    }

    /// The smallest exponent `n` for which the magnitude is below `2^n`. `None` for zero and infinity.
    fn top_bit(&self) -> Option<i64> {
        match &self.0.magnitude {
            Magnitude::Finite { mantissa, exponent } => {
                Some(exponent.saturating_add(i64::try_from(mantissa.bits()).unwrap_or(i64::MAX)))
            }
            _ => None,
        }
    }

    /// Compares absolute values. Looks at the top bits first, so that numbers of very different size need no shift.
    fn compare_magnitude(&self, other: &Self) -> Ordering {
        use Magnitude::{Finite, Infinite, Zero};
        match (&self.0.magnitude, &other.0.magnitude) {
            (Zero, Zero) | (Infinite, Infinite) => Ordering::Equal,
            (Zero, _) | (_, Infinite) => Ordering::Less,
            (_, Zero) | (Infinite, _) => Ordering::Greater,
            (
                Finite { mantissa, exponent },
                Finite {
                    mantissa: other_mantissa,
                    exponent: other_exponent,
                },
            ) => self.top_bit().cmp(&other.top_bit()).then_with(|| {
                let low = (*exponent).min(*other_exponent);
                (mantissa << (exponent - low).unsigned_abs())
                    .cmp(&(other_mantissa << (other_exponent - low).unsigned_abs()))
            }),
        }
    }

    /// -1, 0 or 1. 0 for both zeros.
    pub(crate) fn signum(&self) -> i64 {
        match (self.is_zero(), self.0.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.signum().cmp(&other.signum()).then_with(|| {
            let by_magnitude = self.compare_magnitude(other);
            if self.signum() < 0 {
                by_magnitude.reverse()
            } else {
                by_magnitude
            }
        })
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl Hash for Number {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.signum().hash(state);
        if let Magnitude::Finite { mantissa, exponent } = &self.0.magnitude {
            mantissa.hash(state);
            exponent.hash(state);
        }
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::rounded(
            BigUint::from(value.unsigned_abs()),
            0,
            value < 0,
            INTEGER_PRECISION,
            false,
        )
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::rounded(BigUint::from(value), 0, false, INTEGER_PRECISION, false)
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::from(value as u64)
    }
}

impl std::fmt::Debug for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}
