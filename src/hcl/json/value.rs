//! Converts values to JSON and back.
//!
//! The output is the same as Go's: no spaces, names sorted, `<`, `>` and `&` escaped, numbers without an exponent.
//! Parsing keeps numbers exact and is as strict as RFC 8259. Start at [`encode`] and [`decode`].

use std::collections::BTreeMap;

use crate::golang::json::quote;
use crate::golang::json::syntax::{self, NodeKind};
use crate::hcl::cty::number::{Number, ParseNumberError};
use crate::hcl::cty::{Text, Value};

/// JSON cannot express a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodeError {
    /// JSON has no infinity.
    #[error("cannot serialize infinity as JSON")]
    Infinity,
    /// The language has no JSON form of bytes.
    #[error("cannot serialize bytes as JSON")]
    Bytes,
}

/// Returns the value as JSON.
pub(crate) fn encode(value: &Value) -> Result<String, EncodeError> {
    let mut out = String::new();
    write_value(value, &mut out)?;
    Ok(out)
}

fn write_value(value: &Value, out: &mut String) -> Result<(), EncodeError> {
    match value {
        Value::Null(_) => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) if number.is_infinite() => return Err(EncodeError::Infinity),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => quote(out, text),
        Value::List(_) | Value::Set(_) | Value::Tuple(_) => {
            out.push('[');
            for (place, item) in value.items().unwrap_or_default().iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write_value(item, out)?;
            }
            out.push(']');
        }
        Value::Map(map) => write_entries(map.entries(), out)?,
        Value::Object(object) => write_entries(object.entries(), out)?,
        Value::Bytes(_) => return Err(EncodeError::Bytes),
    }
    Ok(())
}

/// Appends an object. The names are sorted, because the map is.
fn write_entries(entries: &BTreeMap<Text, Value>, out: &mut String) -> Result<(), EncodeError> {
    out.push('{');
    for (place, (name, value)) in entries.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        quote(out, name);
        out.push(':');
        write_value(value, out)?;
    }
    out.push('}');
    Ok(())
}

/// Why a text cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The text is not JSON.
    #[error("invalid JSON at byte {at}: {reason}")]
    Syntax {
        /// Byte offset in the text, from 0.
        at: usize,
        /// The problem, as a fragment.
        reason: &'static str,
    },
    /// An object has a property twice, with values of different types. With values of one type, the last one
    /// counts.
    #[error("duplicate \"{name}\" property in JSON object")]
    Duplicate {
        /// The property's name.
        name: String,
    },
    /// A number is out of range.
    #[error(transparent)]
    Number(#[from] ParseNumberError),
}

/// Decodes JSON to objects and tuples of strings, numbers, bools and nulls.
pub(crate) fn decode(text: &str) -> Result<Value, DecodeError> {
    let node = syntax::read(text).map_err(|error| DecodeError::Syntax {
        at: error.range.start,
        reason: error.message,
    })?;
    value_of(node.kind)
}

fn value_of(kind: NodeKind<'_>) -> Result<Value, DecodeError> {
    Ok(match kind {
        NodeKind::Null => Value::null(),
        NodeKind::Bool(value) => value.into(),
        NodeKind::Number(text) => Value::Number(Number::parse(text)?),
        NodeKind::String(text) => Value::from(&*text),
        NodeKind::Array(items) => {
            let items = items.into_iter().map(|item| value_of(item.kind));
            Value::tuple(items.collect::<Result<_, _>>()?)
        }
        NodeKind::Object(members) => {
            let mut entries: BTreeMap<Text, Value> = BTreeMap::new();
            for member in members {
                let value = value_of(member.value.kind)?;
                match entries.get(&*member.key) {
                    Some(earlier) if earlier.ty() != value.ty() => {
                        let name = member.key.into_owned();
                        return Err(DecodeError::Duplicate { name });
                    }
                    _ => entries.insert(Text::from(&*member.key), value),
                };
            }
            Value::object(entries)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) -> String {
        match decode(text) {
            Ok(value) => encode(&value).unwrap(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn values_round_trip() {
        assert_eq!(
            round_trip(
                " { \"b\" : [ 1.10, -2e3 , true , null ], \"a\":\"\\u00e9\\n\\ud83d\\ude00\" } "
            ),
            "{\"a\":\"é\\n😀\",\"b\":[1.1,-2000,true,null]}"
        );
        assert_eq!(
            round_trip("123456789012345678901234567890"),
            "123456789012345678901234567890"
        );
        assert_eq!(round_trip("\"\\ud800x\""), "\"\u{fffd}x\"");
        assert_eq!(round_trip("{\"a\":1,\"a\":2}"), "{\"a\":2}");
    }

    #[test]
    fn markup_is_escaped() {
        let text = encode(&"<a>&\u{2028}é\u{1}\u{7f}".into()).unwrap();
        assert_eq!(text, "\"\\u003ca\\u003e\\u0026\\u2028é\\u0001\u{7f}\"");
        assert_eq!(
            encode(&Number::infinity().into()).unwrap_err(),
            EncodeError::Infinity
        );
    }

    #[test]
    fn only_valid_json_is_accepted() {
        for text in [
            "",
            "nope",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "1.",
            ".5",
            "-",
            "+1",
            "1e",
            "'a'",
            "\"a",
            "\"\\q\"",
            "\"a\nb\"",
            "\"\\u12\"",
            "{a:1}",
            "1 2",
            "[1",
            "NaN",
            "tru",
            "{\"a\" 1}",
        ] {
            assert!(
                matches!(decode(text), Err(DecodeError::Syntax { .. })),
                "{text:?}"
            );
        }
        assert_eq!(
            round_trip("{\"a\":1,\"a\":\"x\"}"),
            "error: duplicate \"a\" property in JSON object"
        );
        assert!(decode(&"[".repeat(100_000)).is_err());
    }
}
