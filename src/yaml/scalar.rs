//! The meaning of scalars by go-yaml's rules, which are between YAML 1.1 and 1.2.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::compose::{Raw, Scalar, TreeNodeKind};
use super::{YamlTimestamp, YamlValue};
use crate::golang::strconv;

/// The value of a scalar. The error is a message for the user.
pub(super) fn value(raw: &Raw<'_>) -> Result<YamlValue, String> {
    let TreeNodeKind::Scalar(scalar) = &raw.kind else {
        return Ok(YamlValue::Null);
    };
    let text = &*scalar.text;
    match raw.tag.as_deref() {
        None if scalar.plain => Ok(implicit(text, true)),
        Some(tag @ ("!!bool" | "!!int" | "!!float" | "!!null" | "!!timestamp")) => {
            tagged(tag, text)
        }
        Some("!!binary") => binary(text),
        _ => Ok(YamlValue::String(text.to_owned())),
    }
}

/// Whether the scalar is a merge key: `<<` or tagged `!!merge`.
pub(super) fn is_merge(raw: &Raw<'_>) -> bool {
    match (&raw.kind, raw.tag.as_deref()) {
        (TreeNodeKind::Scalar(_), Some(tag)) => tag == "!!merge",
        (TreeNodeKind::Scalar(Scalar { text, plain, .. }), None) => *plain && text == "<<",
        _ => false,
    }
}

/// Whether go-yaml treats the key as a string. This differs from the value's type: a scalar with another tag than
/// `!!str` does not count, even if its value is a string.
pub(super) fn is_string(raw: &Raw<'_>) -> bool {
    match (&raw.kind, raw.tag.as_deref()) {
        (TreeNodeKind::Scalar(_), Some(tag)) => tag == "!!str",
        (TreeNodeKind::Scalar(_), None) => matches!(value(raw), Ok(YamlValue::String(_))),
        _ => false,
    }
}

/// The value of a scalar with one of the standard tags. The error is a message: the text does not fit the tag.
fn tagged(tag: &str, text: &str) -> Result<YamlValue, String> {
    let found = implicit(text, tag == "!!timestamp");
    let (fits, found) = match (tag, found) {
        ("!!float", YamlValue::Int(number)) if i64::try_from(number).is_ok() => {
            #[expect(
                clippy::cast_precision_loss,
                reason = "Go's conversion loses precision in the same way"
            )]
            let number = number as f64;
            (true, YamlValue::Float(number))
        }
        (_, found) => (tag == short_tag(&found), found),
    };
    if fits {
        return Ok(found);
    }
    Err(format!("`{text}` does not match its tag `{tag}`"))
}

const fn short_tag(value: &YamlValue) -> &'static str {
    match value {
        YamlValue::Null => "!!null",
        YamlValue::Bool(_) => "!!bool",
        YamlValue::Int(_) => "!!int",
        YamlValue::Float(_) => "!!float",
        YamlValue::Timestamp(_) => "!!timestamp",
        _ => "!!str",
    }
}

/// Decodes `!!binary`. Go can put any bytes in a string; rbake requires UTF-8.
fn binary(text: &str) -> Result<YamlValue, String> {
    // Go's decoder ignores line ends, requires padding, and accepts any bits after the last byte.
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
    let text = text.replace(['\r', '\n'], "");
    let bytes = GeneralPurpose::new(&STANDARD, config).decode(text);
    let bytes = bytes.map_err(|_| "the value of `!!binary` must be base64".to_owned())?;
    let text = String::from_utf8(bytes);
    text.map(YamlValue::String)
        .map_err(|_| "the data of `!!binary` must be UTF-8".to_owned())
}

/// The value of an unquoted scalar without a tag. `dates` says whether it may be a date.
fn implicit(text: &str, dates: bool) -> YamlValue {
    let string = || YamlValue::String(text.to_owned());
    match text {
        "true" | "True" | "TRUE" => return YamlValue::Bool(true),
        "false" | "False" | "FALSE" => return YamlValue::Bool(false),
        "" | "~" | "null" | "Null" | "NULL" => return YamlValue::Null,
        ".nan" | ".NaN" | ".NAN" => return YamlValue::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return YamlValue::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return YamlValue::Float(f64::NEG_INFINITY),
        "-0" | "-0.0" => return YamlValue::Float(-0.0),
        _ => {}
    }
    match text.as_bytes().first() {
        Some(b'.') => strconv::parse_float(text).map_or_else(string, YamlValue::Float),
        Some(b'0'..=b'9' | b'+' | b'-') => {
            if let Some(date) = YamlTimestamp::parse(text).filter(|_| dates) {
                return YamlValue::Timestamp(date);
            }
            let digits = text.replace('_', "");
            if let Some(number) = integer(&digits) {
                return YamlValue::Int(number);
            }
            let float = Some(&digits).filter(|digits| is_float(digits));
            float
                .and_then(|digits| strconv::parse_float(digits))
                .map_or_else(string, YamlValue::Float)
        }
        _ => string(),
    }
}

/// Parses an integer as Go's `strconv.ParseInt` or `ParseUint` with base 0 and 64 bits.
fn integer(text: &str) -> Option<i128> {
    let (negative, signed, digits) = match text.as_bytes().first()? {
        b'-' => (true, true, &text[1..]),
        b'+' => (false, true, &text[1..]),
        _ => (false, false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &*lower),
    };
    if !digits.bytes().next()?.is_ascii_alphanumeric() {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()?;
    let number = if negative { -number } else { number };
    let largest = if signed {
        i128::from(i64::MAX)
    } else {
        i128::from(u64::MAX)
    };
    (i128::from(i64::MIN)..=largest)
        .contains(&number)
        .then_some(number)
}

/// Whether the text matches `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, go-yaml's pattern for floats.
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent)),
        None => (text, None),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let some = if whole.is_empty() { fraction } else { whole };
    exponent_fits && !some.is_empty() && digits(whole) && digits(fraction)
}
