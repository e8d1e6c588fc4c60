//! Parses booleans and numbers as Go's `strconv` does.

/// Parses a boolean as `strconv.ParseBool` does. `None` for every other text, for example `yes` or `tRUE`.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Parses a number as `strconv.ParseFloat` does with 64 bits: decimal, or hexadecimal with a binary exponent.
///
/// `None` if the text is not a number or the number is out of range. The words for infinity and NaN are numbers.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        // Go also allows an underscore directly after the prefix.
        let hex = without_underscores(hex.strip_prefix('_').unwrap_or(hex), u8::is_ascii_hexdigit)?;
        return hex_float(&hex).map(|magnitude| sign * magnitude);
    }
    let number: f64 = without_underscores(text, u8::is_ascii_digit)?
        .parse()
        .ok()?;
    let words = digits.starts_with(|c: char| c.is_ascii_alphabetic());
    (number.is_finite() || words).then_some(number)
}

/// Removes the underscores from `text`. `None` if one of them is not between two digits.
fn without_underscores(
    text: &str,
    is_digit: impl Fn(&u8) -> bool,
) -> Option<std::borrow::Cow<'_, str>> {
    if !text.contains('_') {
        return Some(text.into());
    }
    let bytes = text.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(&is_digit);
    let between = bytes
        .iter()
        .enumerate()
        .all(|(at, byte)| *byte != b'_' || (digit(at.checked_sub(1)) && digit(Some(at + 1))));
    between.then(|| text.replace('_', "").into())
}

/// Parses a hexadecimal number without its prefix, such as `1.8p3`. The digits are hexadecimal. The exponent, which
/// is mandatory, is a power of two, written in decimal.
fn hex_float(text: &str) -> Option<f64> {
    let (digits, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut exponent: i32 = exponent.parse().ok().filter(|e: &i32| e.abs() < 100_000)?;
    let mut mantissa: u64 = 0;
    for (index, c) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u64::from(c.to_digit(16)?);
        let in_fraction = index >= whole.len();
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | digit;
            exponent -= if in_fraction { 4 } else { 0 };
        } else {
            // The mantissa is full. Further digits only affect rounding, so one bit remembers whether any of them
            // is not zero.
            mantissa |= u64::from(digit != 0);
            exponent += if in_fraction { 0 } else { 4 };
        }
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "`ParseFloat` rounds to the nearest `f64`, too"
    )]
    let mut number = mantissa as f64;
    // Scale in steps: 2 to the power of the whole exponent may be out of range although the result is not.
    while exponent != 0 && number != 0.0 && number.is_finite() {
        let step = exponent.clamp(-1000, 1000);
        number *= 2f64.powi(step);
        exponent -= step;
    }
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("1e3", Some(1000.0))]
    #[test_case("-5.1", Some(-5.1))]
    #[test_case(".5", Some(0.5))]
    #[test_case("0x1.8p1", Some(3.0); "hexadecimal")]
    #[test_case("0x10", None; "hexadecimal needs an exponent")]
    #[test_case("1_000", Some(1000.0); "underscores")]
    #[test_case("1__0", None; "two underscores")]
    #[test_case("_1", None; "leading underscore")]
    #[test_case("1_", None; "trailing underscore")]
    #[test_case("1_e1", None; "underscore before the exponent")]
    #[test_case("1e1_0", Some(1e10); "underscore in the exponent")]
    #[test_case("0x1_0p4", Some(256.0); "underscore in a hexadecimal number")]
    #[test_case("0x1_p4", None; "underscore before the binary exponent")]
    #[test_case("0x_1p4", Some(16.0); "underscore after the prefix")]
    #[test_case(" 1", None; "space")]
    #[test_case("1z", None)]
    #[test_case("1e400", None; "too large")]
    #[test_case("-inf", Some(f64::NEG_INFINITY); "a word")]
    fn floats_are_parsed_as_by_go(text: &str, expected: Option<f64>) {
        assert_eq!(parse_float(text), expected);
    }

    #[test]
    fn booleans_must_be_spelled_as_in_go() {
        assert_eq!(parse_bool("True"), Some(true));
        assert_eq!(parse_bool("tRUE"), None);
        assert_eq!(parse_bool(""), None);
    }
}
