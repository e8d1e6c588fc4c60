//! Numbers in the format of Go's `fmt`.

/// Formats `number` as Go's `%v` does: with the fewest digits that identify the number, and with an exponent if the
/// number is less than 0.0001 or at least 1e+06.
pub(crate) fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        let sign = if number > 0.0 { '+' } else { '-' };
        return format!("{sign}Inf");
    }
    if number == 0.0 {
        return if number.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    // Rust also uses the fewest digits, but writes `1.5e-7`. Go's exponent has a sign and at least two digits.
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return format!("{number}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    // Measured with Go's `fmt.Sprint`.
    #[test_case(1.0, "1")]
    #[test_case(1.5, "1.5")]
    #[test_case(1e6, "1e+06")]
    #[test_case(123_456_789.0, "1.23456789e+08")]
    #[test_case(1_234.5, "1234.5")]
    #[test_case(999_999.0, "999999")]
    #[test_case(1_234_567.5, "1.2345675e+06")]
    #[test_case(1e-5, "1e-05")]
    #[test_case(0.0001, "0.0001")]
    #[test_case(1e100, "1e+100")]
    #[test_case(-2.5e-7, "-2.5e-07")]
    #[test_case(0.0, "0")]
    fn floats_are_printed_as_by_go(number: f64, expected: &str) {
        assert_eq!(float(number), expected);
    }
}
