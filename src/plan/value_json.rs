//! Writes the values of variables in go-cty's JSON format, which buildx's `--list` prints.

use crate::golang::json::quote;
use crate::hcl::cty::{Type, Value};

/// The JSON of `value` for the type `ty`. If `ty` leaves the type of a part open, the JSON contains that part's
/// own type as well.
pub(super) fn value_json(value: &Value, ty: &Type) -> String {
    let mut out = String::new();
    write_value(&mut out, value, ty);
    out
}

/// Writes `value`. If `ty` is dynamic, writes an object with the value and its type.
fn write_value(out: &mut String, value: &Value, ty: &Type) {
    if value.is_null() {
        out.push_str("null");
        return;
    }
    if *ty == Type::Dynamic {
        let own = value.ty();
        out.push_str("{\"value\":");
        write_value(out, value, &own);
        out.push_str(",\"type\":");
        write_type(out, &own);
        out.push('}');
        return;
    }
    match value {
        Value::Null(_) | Value::Bytes(_) => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => quote(out, text),
        Value::List(_) | Value::Set(_) | Value::Tuple(_) => {
            out.push('[');
            for (place, item) in value.items().unwrap_or_default().iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write_value(out, item, &element_type(ty, place, item));
            }
            out.push(']');
        }
        Value::Map(_) | Value::Object(_) => {
            out.push('{');
            for (place, (name, item)) in value.entries().into_iter().flatten().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                quote(out, name);
                out.push(':');
                let own = match ty {
                    Type::Object(object) => object.attribute(name).cloned(),
                    _ => ty.element().cloned(),
                };
                write_value(out, item, &own.unwrap_or_else(|| item.ty()));
            }
            out.push('}');
        }
    }
}

/// The type of an item of a list, set or tuple.
fn element_type(ty: &Type, place: usize, item: &Value) -> Type {
    let own = match ty {
        Type::Tuple(elements) => elements.get(place).cloned(),
        _ => ty.element().cloned(),
    };
    own.unwrap_or_else(|| item.ty())
}

/// Writes a type in go-cty's JSON format, such as `["list","string"]`.
fn write_type(out: &mut String, ty: &Type) {
    let mut collection = |kind: &str, element: &Type| {
        out.push_str("[\"");
        out.push_str(kind);
        out.push_str("\",");
        write_type(out, element);
        out.push(']');
    };
    match ty {
        Type::List(element) => collection("list", element),
        Type::Set(element) => collection("set", element),
        Type::Map(element) => collection("map", element),
        Type::Tuple(elements) => {
            out.push_str("[\"tuple\",[");
            for (place, element) in elements.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write_type(out, element);
            }
            out.push_str("]]");
        }
        Type::Object(object) => {
            out.push_str("[\"object\",{");
            for (place, (name, ty)) in object.attributes().iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                quote(out, name);
                out.push(':');
                write_type(out, ty);
            }
            out.push_str("}]");
        }
        other => quote(out, other.kind()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_type_any_are_written_with_their_type() {
        let text = Value::string("a<");
        assert_eq!(value_json(&text, &Type::String), "\"a\\u003c\"");
        assert_eq!(
            value_json(&text, &Type::Dynamic),
            "{\"value\":\"a\\u003c\",\"type\":\"string\"}"
        );
        let pair = Value::tuple(vec![Value::number(1_i64), text]);
        assert_eq!(value_json(&pair, &pair.ty()), "[1,\"a\\u003c\"]");
        assert_eq!(
            value_json(&pair, &Type::Dynamic),
            "{\"value\":[1,\"a\\u003c\"],\"type\":[\"tuple\",[\"number\",\"string\"]]}"
        );
        let list = Value::list(Type::Dynamic, vec![Value::from(true)]);
        assert_eq!(
            value_json(&list, &Type::list(Type::Dynamic)),
            "[{\"value\":true,\"type\":\"bool\"}]"
        );
    }
}
