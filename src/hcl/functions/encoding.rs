//! Functions for JSON, CSV, base64, URL encoding and raw bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::call::check_text_size;
use super::{Function, FunctionCall, FunctionError, Parameter, ParameterType};
use crate::golang::csv::{CsvReader, TableError};
use crate::golang::quote::quote;
use crate::hcl::cty::{Text, Type, Value};
use crate::hcl::json::value as json;

/// Go's `base64.StdEncoding`: padding is required, and the unused bits of the last character may be set.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

const STR: &[Parameter] = &[Parameter::string("str")];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(
        "jsonencode",
        "The value as JSON.",
        &[Parameter::any("val").or_null()],
        |call| {
            let json = json::encode(call.value(0))
                .map_err(|error| FunctionError::new(error.to_string()))?;
            check_text_size(json.len())?;
            Ok(json.into())
        },
    ),
    Function::new(
        "jsondecode",
        "The value decoded from JSON text.",
        STR,
        |call| json::decode(call.text(0)?).map_err(|error| FunctionError::new(error.to_string())),
    ),
    Function::new(
        "csvdecode",
        "The rows of a CSV table, as objects whose attributes have the names in the first row.",
        STR,
        csv_decode,
    ),
    Function::new("base64encode", "The text's bytes in base64.", STR, |call| {
        let text = call.text(0)?;
        check_text_size(text.len().saturating_mul(2))?;
        Ok(BASE64.encode(text).into())
    }),
    Function::new(
        "base64decode",
        "The text decoded from base64.",
        STR,
        |call| {
            let encoded = call.text(0)?;
            let bytes = decode_base64(encoded).ok_or_else(|| {
                FunctionError::new(format!("failed to decode base64 data '{encoded}'"))
            })?;
            String::from_utf8(bytes).map(Value::from).map_err(|_| {
                FunctionError::new("the result of decoding the provided string is not valid UTF-8")
            })
        },
    ),
    Function::new(
        "urlencode",
        "The text, escaped for use as a value in the query of a URL.",
        STR,
        |call| {
            let text = call.text(0)?;
            check_text_size(text.len().saturating_mul(3))?;
            Ok(url_encode(text).into())
        },
    ),
    Function::new(
        "byteslen",
        "The number of bytes in a buffer.",
        &[Parameter::new("buf", ParameterType::Bytes)],
        |call| Ok(Value::number(buffer(call)?.len())),
    ),
    Function::new(
        "bytesslice",
        "The bytes of a buffer from the given offset on, of the given length.",
        &[
            Parameter::new("buf", ParameterType::Bytes),
            Parameter::number("offset"),
            Parameter::number("length"),
        ],
        bytes_slice,
    ),
];

/// Decodes base64. Like Go, ignores line breaks. `None` if the text is not valid.
pub(super) fn decode_base64(encoded: &str) -> Option<Vec<u8>> {
    if encoded.contains(['\r', '\n']) {
        return BASE64.decode(encoded.replace(['\r', '\n'], "")).ok();
    }
    BASE64.decode(encoded).ok()
}

fn url_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => {
                out.push('%');
                for nibble in [byte >> 4, byte & 15] {
                    out.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
                }
            }
        }
    }
    out
}

fn csv_decode(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let mut reader = CsvReader::new(call.text(0)?, ',');
    let failure = |error: TableError| FunctionError::new(format!("CSV parse error: {error}"));
    let header = reader
        .next_record()
        .map_err(failure)?
        .ok_or_else(|| FunctionError::new("missing header line"))?;
    let mut attributes: BTreeMap<Text, Type> = BTreeMap::new();
    let names: Vec<Text> = header.into_iter().map(Text::from).collect();
    for name in &names {
        if attributes.insert(name.clone(), Type::String).is_some() {
            return Err(FunctionError::new(format!(
                "duplicate column name {}",
                quote(name)
            )));
        }
    }
    let mut rows = Vec::new();
    while let Some(record) = reader.next_record().map_err(failure)? {
        if record.len() != names.len() {
            return Err(FunctionError::new(format!(
                "CSV parse error on line {}: wrong number of fields",
                reader.line()
            )));
        }
        let fields = record.into_iter().map(Value::from);
        rows.push(Value::object(names.iter().cloned().zip(fields).collect()));
    }
    Ok(Value::list(Type::object(attributes), rows))
}

fn buffer<'a>(call: &FunctionCall<'a>) -> Result<&'a Arc<[u8]>, FunctionError> {
    match call.value(0) {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(FunctionError::argument(0, "bytes required")),
    }
}

fn bytes_slice(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let bytes = buffer(call)?;
    let (offset, length) = (call.integer(1)?, call.integer(2)?);
    let (Ok(offset), Ok(length)) = (usize::try_from(offset), usize::try_from(length)) else {
        return Err(FunctionError::new("offset and length must be non-negative"));
    };
    bytes
        .get(offset..offset.saturating_add(length))
        .map(|part| Value::Bytes(part.into()))
        .ok_or_else(|| {
            FunctionError::new(format!(
                "offset {offset} + length {length} is greater than total buffer length {}",
                bytes.len()
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hcl::functions::test_support::{call, shown};

    #[test]
    fn byteslen_and_bytesslice_work_on_bytes() {
        let buffer = Value::Bytes(Arc::from(*b"hello"));
        assert_eq!(shown(call("byteslen", std::slice::from_ref(&buffer))), "5");
        let slice = |offset: i64, length: i64| {
            call(
                "bytesslice",
                &[buffer.clone(), Value::number(offset), Value::number(length)],
            )
        };
        assert!(matches!(slice(1, 3).unwrap(), Value::Bytes(part) if &*part == b"ell"));
        assert!(slice(1, 5).is_err());
        assert!(slice(-1, 1).is_err());
        assert_eq!(
            shown(call("byteslen", &["abc".into()])),
            "error 0: bytes required, but have string"
        );
    }
}
