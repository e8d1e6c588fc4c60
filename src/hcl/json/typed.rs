//! Reads JSON as a value of a known type, for overrides of typed variables.
//!
//! The rules are those of cty's `json` package: numbers and bools may be written as strings, missing attributes of
//! an object are null, and attributes that the type does not have are errors.

use std::collections::BTreeMap;
use std::fmt;

use crate::golang::json::syntax::{JsonNode, NodeKind, SyntaxError, read};
use crate::hcl::cty::convert::convert;
use crate::hcl::cty::{Number, Text, Type, Value};

/// Why a text cannot be read as a value of a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TypedError {
    /// The text is not JSON.
    #[error("byte {at}: {message}")]
    Syntax {
        /// The problem, as a fragment.
        message: &'static str,
        /// Byte offset in the text, from 0.
        at: usize,
    },
    /// A part of the value has a wrong type.
    #[error("{}{wanted} is required, but {found} is given", Place(.path))]
    Type {
        /// The path to the part, such as `.a[0]`; empty for the whole value.
        path: String,
        /// The type that is required, with its article.
        wanted: String,
        /// What is there instead.
        found: String,
    },
    /// An object has an attribute that its type does not have.
    #[error("{}there is no attribute `{name}`", Place(.path))]
    UnknownAttribute {
        /// The path to the object, such as `.a[0]`; empty for the whole value.
        path: String,
        /// The attribute's name.
        name: String,
    },
    /// An object contains an attribute twice.
    #[error("{}`{name}` is given twice", Place(.path))]
    Duplicate {
        /// The path to the object, such as `.a[0]`; empty for the whole value.
        path: String,
        /// The attribute's name.
        name: String,
    },
}

struct Place<'a>(&'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, "at `{}`, ", self.0)
        }
    }
}

impl From<SyntaxError> for TypedError {
    fn from(error: SyntaxError) -> Self {
        Self::Syntax {
            message: error.message,
            at: error.range.start,
        }
    }
}

/// Reads `text` as a value of the type `ty`.
pub(crate) fn value(text: &str, ty: &Type) -> Result<Value, TypedError> {
    decode(&read(text)?, ty, "")
}

fn decode(node: &JsonNode<'_>, ty: &Type, path: &str) -> Result<Value, TypedError> {
    let mismatch = |found: String| TypedError::Type {
        path: path.to_owned(),
        wanted: ty.with_article(),
        found,
    };
    // If the type has dynamic parts, each element is read by its own type, and then all must convert to one type.
    if ty.has_dynamic()
        && let Some(open) = open_collection(node, ty, path)?
    {
        return convert(&open, ty).map_err(|error| mismatch(error.to_string()));
    }
    let value = match (&node.kind, ty) {
        (NodeKind::Null, _) => Value::Null(ty.without_optional()),
        (_, Type::Dynamic) => match typed_value(node) {
            Some((ty, value)) => decode(value, &ty, path)?,
            None => dynamic(node),
        },
        (NodeKind::Bool(value), Type::Bool) => Value::Bool(*value),
        (NodeKind::String(text), Type::Bool | Type::Number) => {
            convert(&Value::from(&**text), ty).map_err(|_| mismatch(format!("\"{text}\"")))?
        }
        (NodeKind::Number(text), Type::Number) => {
            Value::Number(Number::parse(text).map_err(|_| mismatch((*text).to_owned()))?)
        }
        (NodeKind::String(text), Type::String) => Value::from(&**text),
        (NodeKind::Number(text), Type::String) => Value::from(*text),
        (NodeKind::Bool(value), Type::String) => Value::from(value.to_string()),
        (NodeKind::Array(items), Type::List(element)) => {
            let items = elements(items, path, |_| element)?;
            Value::list(element.without_optional(), items)
        }
        (NodeKind::Array(items), Type::Set(element)) => {
            let items = elements(items, path, |_| element)?;
            Value::set(element.without_optional(), items)
        }
        (NodeKind::Array(items), Type::Tuple(types)) if items.len() == types.len() => {
            Value::tuple(elements(items, path, |index| &types[index])?)
        }
        (NodeKind::Array(items), Type::Tuple(types)) => {
            return Err(TypedError::Type {
                path: path.to_owned(),
                wanted: format!("an array of length {}", types.len()),
                found: format!("one of length {}", items.len()),
            });
        }
        (NodeKind::Object(members), Type::Map(element)) => {
            let mut entries = BTreeMap::new();
            for member in members {
                let path = format!("{path}.{}", member.key);
                entries.insert(
                    Text::from(&*member.key),
                    decode(&member.value, element, &path)?,
                );
            }
            Value::map(element.without_optional(), entries)
        }
        (NodeKind::Object(members), Type::Object(object)) => {
            let mut entries = BTreeMap::new();
            for member in members {
                let name = member.key.to_string();
                let Some(ty) = object.attribute(&member.key) else {
                    return Err(TypedError::UnknownAttribute {
                        path: path.to_owned(),
                        name,
                    });
                };
                let value = decode(&member.value, ty, &format!("{path}.{name}"))?;
                if entries.insert(Text::from(&*name), value).is_some() {
                    return Err(TypedError::Duplicate {
                        path: path.to_owned(),
                        name,
                    });
                }
            }
            for (name, ty) in object.attributes() {
                entries
                    .entry(name.clone())
                    .or_insert_with(|| Value::Null(ty.without_optional()));
            }
            Value::object(entries)
        }
        (other, _) => return Err(mismatch(other.words().to_owned())),
    };
    Ok(value)
}

fn elements<'y>(
    items: &[JsonNode<'_>],
    path: &str,
    ty: impl Fn(usize) -> &'y Type,
) -> Result<Vec<Value>, TypedError> {
    items
        .iter()
        .enumerate()
        .map(|(index, item)| decode(item, ty(index), &format!("{path}[{index}]")))
        .collect()
}

/// Reads the elements of a collection whose element type is not known, into a tuple or an object. `None` if `node`
/// and `ty` are not a collection of the same kind.
fn open_collection(
    node: &JsonNode<'_>,
    ty: &Type,
    path: &str,
) -> Result<Option<Value>, TypedError> {
    Ok(match (&node.kind, ty) {
        (NodeKind::Array(items), Type::List(element) | Type::Set(element)) => {
            Some(Value::tuple(elements(items, path, |_| element)?))
        }
        (NodeKind::Object(members), Type::Map(element)) => {
            let entries = members.iter().map(|member| {
                let path = format!("{path}.{}", member.key);
                let value = decode(&member.value, element, &path)?;
                Ok((Text::from(&*member.key), value))
            });
            Some(Value::object(entries.collect::<Result<_, TypedError>>()?))
        }
        _ => None,
    })
}

fn dynamic(node: &JsonNode<'_>) -> Value {
    match &node.kind {
        NodeKind::Null => Value::null(),
        NodeKind::Bool(value) => Value::Bool(*value),
        NodeKind::Number(text) => Number::parse(text).map_or_else(|_| Value::null(), Value::Number),
        NodeKind::String(text) => Value::from(&**text),
        NodeKind::Array(items) => Value::tuple(items.iter().map(dynamic).collect()),
        NodeKind::Object(members) => Value::object(
            members
                .iter()
                .map(|member| (Text::from(&*member.key), dynamic(&member.value)))
                .collect(),
        ),
    }
}

/// A value of any type may include its type: `{"value": …, "type": …}`. buildx accepts no other form for such a
/// value; plain JSON is accepted here, too. `None` if `node` does not have this form.
fn typed_value<'n, 't>(node: &'n JsonNode<'t>) -> Option<(Type, &'n JsonNode<'t>)> {
    let NodeKind::Object(members) = &node.kind else {
        return None;
    };
    let mut ty = None;
    let mut value = None;
    for member in members {
        match &*member.key {
            "value" => value = Some(&member.value),
            "type" => ty = Some(type_of(&member.value)?),
            _ => return None,
        }
    }
    ty.zip(value)
}

/// Reads a type in cty's JSON form: `"string"`, `["list", "string"]`, `["object", {"a": "number"}]`,
/// `["tuple", ["string"]]`. `None` if it is not a type.
fn type_of(node: &JsonNode<'_>) -> Option<Type> {
    let items = match &node.kind {
        NodeKind::String(name) => {
            return match &**name {
                "string" => Some(Type::String),
                "number" => Some(Type::Number),
                "bool" => Some(Type::Bool),
                "dynamic" => Some(Type::Dynamic),
                _ => None,
            };
        }
        NodeKind::Array(items) => items,
        _ => return None,
    };
    let [constructor, of] = items.as_slice() else {
        return None;
    };
    let NodeKind::String(constructor) = &constructor.kind else {
        return None;
    };
    match (&**constructor, &of.kind) {
        ("list", _) => Some(Type::list(type_of(of)?)),
        ("set", _) => Some(Type::set(type_of(of)?)),
        ("map", _) => Some(Type::map(type_of(of)?)),
        ("tuple", NodeKind::Array(types)) => Some(Type::tuple(
            types.iter().map(type_of).collect::<Option<Vec<_>>>()?,
        )),
        ("object", NodeKind::Object(members)) => {
            let mut attributes = Vec::with_capacity(members.len());
            for member in members {
                attributes.push((&*member.key, type_of(&member.value)?));
            }
            Some(Type::object(attributes))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str, ty: &Type) -> String {
        match value(text, ty) {
            Ok(value) => format!("{value:?}"),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn primitives_may_be_strings() {
        assert_eq!(decoded("\"1.5\"", &Type::Number), "1.5");
        assert_eq!(decoded("1.50", &Type::String), "\"1.50\"");
        assert_eq!(decoded("\"true\"", &Type::Bool), "true");
        assert_eq!(
            decoded("1", &Type::Bool),
            "error: a bool is required, but a number is given"
        );
        assert_eq!(
            decoded("abc", &Type::String),
            "error: byte 0: a bare word is not a value; write strings and expressions in quotes"
        );
    }

    #[test]
    fn values_of_any_type_may_name_their_type() {
        let any = |text: &str| decoded(text, &Type::Dynamic);
        assert_eq!(any(r#"{"value": "1", "type": "number"}"#), "1");
        assert_eq!(
            any(r#"{"type": ["list", "string"], "value": [1]}"#),
            r#"list(string)["1"]"#
        );
        assert_eq!(
            any(
                r#"{"value": {"a": [1, "b"]}, "type": ["object", {"a": ["tuple", ["number", "string"]]}]}"#
            ),
            r#"{"a": [1, "b"]}"#
        );
        assert_eq!(
            decoded(
                r#"[null, {"value": 1, "type": "number"}]"#,
                &Type::list(Type::Dynamic)
            ),
            "list(number)[null(number), 1]"
        );
        // Any other object is the value itself.
        assert_eq!(any("1"), "1");
        assert_eq!(any(r#"{"value": 1}"#), r#"{"value": 1}"#);
        assert_eq!(
            any(r#"{"value": 1, "type": "int"}"#),
            r#"{"type": "int", "value": 1}"#
        );
    }

    #[test]
    fn structures_are_decoded_by_their_type() {
        let ty = Type::object([("a", Type::list(Type::Number)), ("b", Type::String)]);
        assert_eq!(
            decoded(r#"{"a": [1, "2"]}"#, &ty),
            r#"{"a": list(number)[1, 2], "b": null(string)}"#
        );
        assert_eq!(
            decoded(r#"{"c": 1}"#, &ty),
            "error: there is no attribute `c`"
        );
        assert_eq!(
            decoded(r#"{"a": [true]}"#, &ty),
            "error: at `.a[0]`, a number is required, but a boolean is given"
        );
        assert_eq!(
            decoded("[1]", &Type::tuple([Type::Number, Type::Number])),
            "error: an array of length 2 is required, but one of length 1 is given"
        );
    }
}
