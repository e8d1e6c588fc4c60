//! Values as the text Go makes of them, which is what users of Compose get to see.

use crate::yaml::{Node, Value};

/// `value` as `fmt.Sprint` writes it: `<nil>` for null, `1e+06` for a million with a point.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => float(*number),
        Value::Timestamp(time) => time.to_string(),
        Value::String(text) => text.clone(),
        Value::Sequence(items) => {
            let items: Vec<String> = items.iter().map(|item| text(&item.value)).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Mapping(entries) => {
            let mut entries: Vec<String> = entries
                .iter()
                .map(|(key, entry)| format!("{key}:{}", text(&entry.value.value)))
                .collect();
            entries.sort_unstable();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// The text of a node that is none of: null, a list, a mapping.
pub fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        Value::Null | Value::Sequence(_) | Value::Mapping(_) => None,
        value => Some(text(value)),
    }
}

// `%v`: the fewest digits that give the number back, with an exponent where that is below -4 or above 5.
fn float(number: f64) -> String {
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
    // Rust writes `1.5e-7` with the fewest digits; Go's exponent has a sign and two digits.
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
    fn floats(number: f64, expected: &str) {
        assert_eq!(float(number), expected);
    }
}
