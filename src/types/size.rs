//! Memory sizes such as `128m` and `1.5 GiB`.

use crate::golang::strconv::parse_float;

/// The text is not a valid size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidSize {
    /// It does not have the form of a size.
    #[error(
        "`{0}` is not a valid size (expected a number, optionally followed by b, k, m, g, t or p)"
    )]
    Form(String),
    /// It is larger than the daemon's integer type allows.
    #[error("`{0}` is too large for a size")]
    TooLarge(String),
}

/// Parses a size and returns bytes. Units are powers of 1024, in upper or lower case (`go-units`, `RAMInBytes`).
pub(crate) fn parse_size(text: &str) -> Result<u64, InvalidSize> {
    let invalid = || InvalidSize::Form(text.to_owned());
    let last = text
        .rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
        .ok_or_else(invalid)?;
    let number = if text.as_bytes()[last] == b' ' {
        &text[..last]
    } else {
        &text[..=last]
    };
    let number = parse_float(number)
        .filter(|number| number.is_finite() && *number >= 0.0)
        .ok_or_else(invalid)?;
    let unit = text[last + 1..].to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')) {
        Some("") if unit == "b" => 0,
        None if unit.is_empty() => 0,
        short => match short.unwrap_or(&unit) {
            "k" => 1,
            "m" => 2,
            "g" => 3,
            "t" => 4,
            "p" => 5,
            _ => return Err(invalid()),
        },
    };
    let bytes = number * 1024_f64.powi(power);
    // The daemon uses signed 64-bit integers.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "the bound is a power of two, and fractions of a byte are cut off on purpose"
    )]
    if bytes < i64::MAX as f64 {
        Ok(bytes as u64)
    } else {
        Err(InvalidSize::TooLarge(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("32", 32)]
    #[test_case("32b", 32)]
    #[test_case("32B", 32; "upper case")]
    #[test_case("32k", 32 << 10)]
    #[test_case("32KiB", 32 << 10)]
    #[test_case("32mb", 32 << 20)]
    #[test_case("1.5 g", 3 << 29)]
    #[test_case("0.5t", 1 << 39)]
    #[test_case(".5k", 512)]
    #[test_case("1_0k", 10 << 10; "underscore")]
    #[test_case("0x1p4k", 16 << 10; "hexadecimal")]
    #[test_case("32 ", 32; "trailing space")]
    fn sizes_are_parsed(text: &str, expected: u64) {
        assert_eq!(parse_size(text), Ok(expected));
    }

    #[test_case(""; "empty")]
    #[test_case("hello")]
    #[test_case("-32"; "negative")]
    #[test_case(" 32 "; "leading space")]
    #[test_case("32m b"; "space before the last letter")]
    #[test_case("32bm")]
    #[test_case("32ib"; "unit without a prefix")]
    #[test_case("32e"; "unknown unit")]
    #[test_case("9223372036854775808"; "too large")]
    #[test_case("infg"; "infinity")]
    fn invalid_sizes_are_refused(text: &str) {
        assert!(parse_size(text).is_err(), "{text}");
    }
}
