//! Explains why a type cannot be converted to another, in go-cty's words.

use super::convert::{Safety, converts};
use super::types::{ObjectType, Type};

/// The reason, as a fragment: `string required, but have tuple`. The caller knows that the conversion is
/// impossible.
pub(super) fn message(have: &Type, want: &Type) -> String {
    match (have, want) {
        (Type::Object(have), Type::Object(want)) => objects(have, want),
        (Type::Tuple(_), Type::List(element)) if **element == Type::Dynamic => {
            "all list elements must have the same type".into()
        }
        (Type::Tuple(_), Type::Set(element)) if **element == Type::Dynamic => {
            "all set elements must have the same type".into()
        }
        (Type::Object(_), Type::Map(element)) if **element == Type::Dynamic => {
            "all map elements must have the same type".into()
        }
        (Type::Tuple(have), Type::List(element) | Type::Set(element)) => {
            let parts = have
                .iter()
                .enumerate()
                .map(|(place, ty)| (place.to_string(), ty));
            elements(parts, element)
        }
        (Type::Object(have), Type::Map(element)) => {
            let parts = have
                .attributes()
                .iter()
                .map(|(name, ty)| (format!("\"{name}\""), ty));
            elements(parts, element)
        }
        (Type::List(have) | Type::Set(have), Type::List(want)) => {
            format!("incorrect list element type: {}", message(have, want))
        }
        (Type::List(have) | Type::Set(have), Type::Set(want)) => {
            format!("incorrect set element type: {}", message(have, want))
        }
        (Type::Map(have), Type::Map(want)) => {
            format!("incorrect map element type: {}", message(have, want))
        }
        (Type::Tuple(_) | Type::Object(_) | Type::List(_) | Type::Set(_) | Type::Map(_), want)
            if want.is_collection() =>
        {
            format!("{} required", want.constraint_name())
        }
        (have, want) if is_clear(have, want) => {
            format!("{} required, but have {}", want.name(), have.name())
        }
        (_, want) => format!("{} required", want.constraint_name()),
    }
}

/// Whether the message should name both types. It should not for a string in place of a number or bool: some
/// strings can be converted, so the type is not the mistake.
fn is_clear(have: &Type, want: &Type) -> bool {
    have.is_primitive() != want.is_primitive()
        || *want == Type::String
        || matches!(
            (have, want),
            (Type::Number, Type::Bool)
                | (Type::Bool, Type::Number)
                | (Type::Tuple(_), Type::Object(_))
        )
}

fn elements<'a>(parts: impl Iterator<Item = (String, &'a Type)>, want: &Type) -> String {
    for (label, have) in parts {
        if have != want && !converts(have, want, Safety::Unsafe) {
            return format!("element {label}: {}", message(have, want));
        }
    }
    format!("all elements must be {}", want.constraint_name())
}

fn objects(have: &ObjectType, want: &ObjectType) -> String {
    let missing: Vec<String> = want
        .attributes()
        .keys()
        .filter(|name| have.attribute(name).is_none() && !want.is_optional(name))
        .map(|name| format!("\"{name}\""))
        .collect();
    match missing.as_slice() {
        [] => {}
        [name] => return format!("attribute {name} is required"),
        [first, second] => return format!("attributes {first} and {second} are required"),
        [others @ .., last] => {
            return format!("attributes {}, and {last} are required", others.join(", "));
        }
    }
    let mismatched = |safety| {
        want.attributes().iter().find_map(|(name, want)| {
            let have = have.attribute(name)?;
            (have != want && !converts(have, want, safety)).then_some((name, have, want))
        })
    };
    match mismatched(Safety::Unsafe).or_else(|| mismatched(Safety::Safe)) {
        Some((name, have, want)) => format!("attribute \"{name}\": {}", message(have, want)),
        None => "incorrect object attributes".into(),
    }
}
