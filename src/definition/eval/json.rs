//! Values to JSON and back.
//!
//! The output is what Go writes: no spaces, names sorted, `<`, `>` and `&` escaped, numbers in full. Reading keeps
//! numbers exact and takes nothing that RFC 8259 does not. Start at [`encode`], [`decode`] and [`decode_as`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::convert::convert;
use super::number::Number;
use super::types::Type;
use super::value::{Text, Value};

/// How deep JSON may be nested.
const DEPTH_LIMIT: usize = 512;

/// A value that JSON cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// JSON has no infinity.
    #[error("cannot serialize infinity as JSON")]
    Infinity,
    /// Bytes have no JSON form in the language.
    #[error("cannot serialize bytes as JSON")]
    Bytes,
}

/// The value as JSON.
pub fn encode(value: &Value) -> Result<String, EncodeError> {
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
        Value::String(text) => write_string(text, out),
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

fn write_entries(entries: &BTreeMap<Text, Value>, out: &mut String) -> Result<(), EncodeError> {
    out.push('{');
    for (place, (name, value)) in entries.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        write_value(value, out)?;
    }
    out.push('}');
    Ok(())
}

/// Writes text as a JSON string that is safe inside HTML and JavaScript too.
pub(crate) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            _ => out.push(char),
        }
    }
    out.push('"');
}

/// Text that is no JSON, or not the JSON that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The text breaks JSON's grammar.
    #[error("invalid JSON at byte {at}: {reason}")]
    Syntax {
        /// Where, counted from zero.
        at: usize,
        /// What is wrong there.
        reason: String,
    },
    /// One object has a property twice, with values of different types.
    #[error("duplicate \"{name}\" property in JSON object")]
    Duplicate {
        /// The property.
        name: String,
    },
    /// The JSON does not fit the wanted type.
    #[error("{0}")]
    Mismatch(String),
}

/// The value that JSON text denotes: objects and tuples of strings, numbers, bools and nulls.
pub fn decode(text: &str) -> Result<Value, DecodeError> {
    Reader::document(text)?.into_value()
}

/// The value of type `ty` that JSON text denotes; object attributes that it leaves out are null.
pub fn decode_as(text: &str, ty: &Type) -> Result<Value, DecodeError> {
    Reader::document(text)?.into_value_of(ty)
}

#[derive(Debug)]
enum Json {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn into_value(self) -> Result<Value, DecodeError> {
        Ok(match self {
            Self::Null => Value::null(),
            Self::Bool(value) => value.into(),
            Self::Number(text) => Value::Number(number(&text)?),
            Self::String(text) => text.into(),
            Self::Array(items) => Value::tuple(
                items
                    .into_iter()
                    .map(Self::into_value)
                    .collect::<Result<_, _>>()?,
            ),
            Self::Object(properties) => {
                let mut entries: BTreeMap<Text, Value> = BTreeMap::new();
                for (name, value) in properties {
                    let value = value.into_value()?;
                    match entries.get(name.as_str()) {
                        Some(earlier) if earlier.ty() != value.ty() => {
                            return Err(DecodeError::Duplicate { name });
                        }
                        _ => entries.insert(name.into(), value),
                    };
                }
                Value::object(entries)
            }
        })
    }

    fn into_value_of(self, ty: &Type) -> Result<Value, DecodeError> {
        let mismatch = |message: String| Err(DecodeError::Mismatch(message));
        match (self, ty) {
            (Self::Null, ty) => Ok(Value::Null(ty.without_optional())),
            (json, Type::Dynamic) => json.into_value(),
            (Self::Bool(value), Type::Bool) => Ok(value.into()),
            (Self::String(text), Type::Bool | Type::Number | Type::String) => {
                convert(&text.into(), ty).or_else(|error| mismatch(error.to_string()))
            }
            (Self::Bool(value), Type::String) => Ok(value.to_string().into()),
            (Self::Number(text), Type::Number) => Ok(number(&text)?.into()),
            (Self::Number(text), Type::String) => Ok(text.into()),
            (Self::Array(items), Type::List(element)) => Ok(Value::list(
                element.without_optional(),
                all_of(items, element)?,
            )),
            (Self::Array(items), Type::Set(element)) => Ok(Value::set(
                element.without_optional(),
                all_of(items, element)?,
            )),
            (Self::Object(properties), Type::Map(element)) => {
                let mut entries = BTreeMap::new();
                for (name, value) in properties {
                    entries.insert(name.into(), value.into_value_of(element)?);
                }
                Ok(Value::map(element.without_optional(), entries))
            }
            (Self::Array(items), Type::Tuple(elements)) => {
                if items.len() != elements.len() {
                    return mismatch(format!(
                        "a tuple of {} elements is required, not of {}",
                        elements.len(),
                        items.len()
                    ));
                }
                let items = items.into_iter().zip(elements.iter());
                Ok(Value::tuple(
                    items
                        .map(|(item, ty)| item.into_value_of(ty))
                        .collect::<Result<_, _>>()?,
                ))
            }
            (Self::Object(properties), Type::Object(object)) => {
                let mut entries: BTreeMap<Text, Value> = object
                    .attributes()
                    .iter()
                    .map(|(name, ty)| (name.clone(), Value::Null(ty.without_optional())))
                    .collect();
                for (name, value) in properties {
                    let name = Text::from(name);
                    let Some(ty) = object.attribute(&name) else {
                        return mismatch(format!("unsupported attribute \"{name}\""));
                    };
                    let value = value.into_value_of(ty)?;
                    entries.insert(name, value);
                }
                Ok(Value::object(entries))
            }
            (_, ty) => mismatch(format!("{} is required", ty.name())),
        }
    }
}

fn all_of(items: Vec<Json>, element: &Type) -> Result<Vec<Value>, DecodeError> {
    items
        .into_iter()
        .map(|item| item.into_value_of(element))
        .collect()
}

fn number(text: &str) -> Result<Number, DecodeError> {
    Number::parse(text).map_err(|error| DecodeError::Mismatch(error.to_string()))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn document(text: &'a str) -> Result<Json, DecodeError> {
        let mut reader = Self { text, at: 0 };
        let json = reader.value(0)?;
        reader.skip_space();
        if reader.at < text.len() {
            return reader.fail("extraneous data after the JSON value");
        }
        Ok(json)
    }

    fn fail<T>(&self, reason: impl Into<String>) -> Result<T, DecodeError> {
        Err(DecodeError::Syntax {
            at: self.at,
            reason: reason.into(),
        })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Skips space and takes `byte` if it is next.
    fn takes(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    fn unexpected<T>(&self, wanted: &str) -> Result<T, DecodeError> {
        match self.text[self.at..].chars().next() {
            Some(char) => self.fail(format!("found `{char}` where {wanted} is expected")),
            None => self.fail(format!("the text ends where {wanted} is expected")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, DecodeError> {
        if depth > DEPTH_LIMIT {
            return self.fail(format!("more than {DEPTH_LIMIT} levels of nesting"));
        }
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, json) in [
                    ("null", Json::Null),
                    ("true", Json::Bool(true)),
                    ("false", Json::Bool(false)),
                ] {
                    if self.text[self.at..].starts_with(word) {
                        self.at += word.len();
                        return Ok(json);
                    }
                }
                self.unexpected("a value")
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, DecodeError> {
        self.at += 1;
        let mut items = Vec::new();
        if self.takes(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.takes(b']') {
                return Ok(Json::Array(items));
            }
            if !self.takes(b',') {
                return self.unexpected("`,` or `]`");
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, DecodeError> {
        self.at += 1;
        let mut properties = Vec::new();
        if self.takes(b'}') {
            return Ok(Json::Object(properties));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return self.unexpected("a property name");
            }
            let name = self.string()?;
            if !self.takes(b':') {
                return self.unexpected("`:`");
            }
            properties.push((name, self.value(depth + 1)?));
            if self.takes(b'}') {
                return Ok(Json::Object(properties));
            }
            if !self.takes(b',') {
                return self.unexpected("`,` or `}`");
            }
        }
    }

    fn digits(&mut self) -> Result<(), DecodeError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return self.unexpected("a digit");
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Json, DecodeError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Json::Number(self.text[start..self.at].to_owned()))
    }

    fn string(&mut self) -> Result<String, DecodeError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let Some(char) = self.text[self.at..].chars().next() else {
                return self.fail("the string is not closed");
            };
            match char {
                '"' => {
                    self.at += 1;
                    return Ok(out);
                }
                '\\' => self.escape(&mut out)?,
                ..' ' => return self.fail("control characters must be escaped"),
                _ => {
                    self.at += char.len_utf8();
                    out.push(char);
                }
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), DecodeError> {
        self.at += 1;
        let plain = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let unit = self.code_unit()?;
                out.push(self.code_point(unit)?);
                return Ok(());
            }
            _ => return self.unexpected("an escape"),
        };
        self.at += 1;
        out.push(plain);
        Ok(())
    }

    /// The four digits after `\u`.
    fn code_unit(&mut self) -> Result<u32, DecodeError> {
        self.at += 1;
        let unit = self
            .text
            .get(self.at..self.at + 4)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match unit {
            Some(unit) => {
                self.at += 4;
                Ok(unit)
            }
            None => self.unexpected("four hexadecimal digits"),
        }
    }

    /// A code point from one unit, or from two where a surrogate pair follows; half a pair becomes U+FFFD.
    fn code_point(&mut self, unit: u32) -> Result<char, DecodeError> {
        if (0xd800..0xdc00).contains(&unit) && self.text[self.at..].starts_with("\\u") {
            let before = self.at;
            self.at += 1;
            let low = self.code_unit()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::definition::eval::types::ObjectType;

    fn round_trip(text: &str) -> String {
        match decode(text) {
            Ok(value) => encode(&value).unwrap(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn values_survive() {
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
    fn only_json_is_taken() {
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

    #[test]
    fn a_type_guides_reading() {
        let ty = Type::Object(Arc::new(ObjectType::new(
            [
                ("n".into(), Type::Number),
                ("l".into(), Type::list(Type::String)),
                ("s".into(), Type::set(Type::Bool)),
            ]
            .into(),
        )));
        let value = decode_as("{\"n\":\"1.5\",\"l\":[1.50,true,\"x\",null]}", &ty).unwrap();
        assert_eq!(
            format!("{value:?}"),
            "{\"l\": list(string)[\"1.50\", \"true\", \"x\", null(string)], \"n\": 1.5, \"s\": null(set(bool))}"
        );
        let failure = |text: &str| decode_as(text, &ty).unwrap_err().to_string();
        assert_eq!(failure("{\"z\":1}"), "unsupported attribute \"z\"");
        assert_eq!(failure("{\"n\":true}"), "number is required");
        assert_eq!(failure("[]"), "object is required");
    }
}
