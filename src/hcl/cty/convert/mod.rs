//! Converts values to types, by go-cty's rules.
//!
//! The two types decide first whether a conversion is possible at all, then the value. So an impossible conversion
//! is reported differently from a value that does not fit. Start at [`convert()`]; a [`Conversion`] is the plan
//! that is made from the types.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::mismatch;
use super::number::Number;
use super::types::{ObjectType, Type};
use super::unify::unify;
use super::value::{Text, Value};

/// Which conversions are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Safety {
    /// Only those that succeed for every value.
    Safe,
    /// Also those that depend on the value, such as string to number.
    Unsafe,
}

/// A step from a value to one of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConversionStep {
    /// The element at this position, from 0.
    Index(usize),
    /// The element or attribute with this name.
    Name(Text),
}

/// A value cannot be converted. The message is a fragment such as `a number is required`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ConvertError {
    message: String,
    /// The steps to the part that does not fit, innermost first.
    steps: Vec<ConversionStep>,
}

impl ConvertError {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            steps: Vec::new(),
        }
    }

    fn below(mut self, step: ConversionStep) -> Self {
        self.steps.push(step);
        self
    }

    /// The path from the converted value to the part that does not fit, in the language's syntax: `[0].name`. Empty
    /// if the value itself does not fit.
    pub(crate) fn path(&self) -> impl fmt::Display {
        let mut path = String::new();
        for step in self.steps.iter().rev() {
            // Writing to a `String` cannot fail.
            let _ = match step {
                ConversionStep::Index(place) => write!(path, "[{place}]"),
                ConversionStep::Name(name) => write!(path, ".{name}"),
            };
        }
        path
    }
}

/// Converts `value` to the type `to`.
///
/// Nulls become nulls of the new type, and [`Type::Dynamic`] accepts any value unchanged. Attributes that `to` does
/// not have are dropped; optional attributes that the value does not have become null.
pub(crate) fn convert(value: &Value, to: &Type) -> Result<Value, ConvertError> {
    // Most values are primitives of the right type already. They need no plan.
    match (value, to) {
        (_, Type::Dynamic)
        | (Value::String(_), Type::String)
        | (Value::Number(_), Type::Number)
        | (Value::Bool(_), Type::Bool) => return Ok(value.clone()),
        _ => {}
    }
    let from = value.ty();
    if from == to.without_optional() {
        return Ok(value.clone());
    }
    match Conversion::plan(&from, to, Safety::Unsafe) {
        Some(conversion) => conversion.apply(value),
        None => Err(ConvertError::new(mismatch::message(&from, to))),
    }
}

/// Whether values of type `from` can be converted to type `to`. With [`Safety::Unsafe`], the conversion of a
/// particular value may still fail.
pub(crate) fn converts(from: &Type, to: &Type, safety: Safety) -> bool {
    Conversion::plan(from, to, safety).is_some()
}

/// A plan: how to convert values of one type to another.
#[derive(Debug)]
struct Conversion {
    to: Type,
    action: Action,
}

/// The conversion of an element; `None` if the element has the right type already.
type Part = Option<Conversion>;

#[derive(Debug)]
enum Action {
    Keep,
    /// The source type is dynamic, so the type of each value decides.
    Late,
    NumberToString,
    BoolToString,
    StringToNumber,
    StringToBool,
    Tuple(Vec<Part>),
    Object(BTreeMap<Text, Part>),
    SequenceToSequence(Box<Part>),
    MapToMap(Box<Part>),
    TupleToSequence(Vec<Part>),
    ObjectToMap {
        parts: BTreeMap<Text, Part>,
        /// Whether the converted elements may have different types, so that they must be unified.
        unify: bool,
        safety: Safety,
    },
    MapToObject(BTreeMap<Text, MapPart>),
}

#[derive(Debug)]
enum MapPart {
    Convert(Part),
    /// The map's elements cannot be converted to this attribute's type. The attribute is optional, so this is an
    /// error only if the map contains it.
    Impossible,
}

/// Plans the conversion of one element. The outer `None` means that it is impossible, the inner one that nothing
/// has to be done.
fn part(from: &Type, to: &Type, safety: Safety) -> Option<Part> {
    if from == to {
        Some(None)
    } else {
        Conversion::plan(from, to, safety).map(Some)
    }
}

fn apply_part(
    part: &Part,
    value: &Value,
    step: impl FnOnce() -> ConversionStep,
) -> Result<Value, ConvertError> {
    match part {
        None => Ok(value.clone()),
        Some(conversion) => conversion.apply(value).map_err(|error| error.below(step())),
    }
}

impl Conversion {
    /// Decides by the types alone. `None` if no value of type `from` can be converted to type `to`.
    fn plan(from: &Type, to: &Type, safety: Safety) -> Option<Self> {
        let action = match (from, to) {
            (_, Type::Dynamic) => Action::Keep,
            (Type::Dynamic, _) if safety == Safety::Unsafe => Action::Late,
            (Type::Number, Type::String) => Action::NumberToString,
            (Type::Bool, Type::String) => Action::BoolToString,
            (Type::String, Type::Number) if safety == Safety::Unsafe => Action::StringToNumber,
            (Type::String, Type::Bool) if safety == Safety::Unsafe => Action::StringToBool,
            (Type::Object(from), Type::Object(to)) => Self::plan_object(from, to, safety)?,
            (Type::Tuple(from), Type::Tuple(to)) => {
                if from.len() != to.len() {
                    return None;
                }
                let parts = from.iter().zip(to.iter());
                Action::Tuple(
                    parts
                        .map(|(from, to)| part(from, to, safety))
                        .collect::<Option<_>>()?,
                )
            }
            (Type::List(_), Type::Set(_)) if safety == Safety::Safe => return None,
            (Type::List(from) | Type::Set(from), Type::List(to) | Type::Set(to)) => {
                Action::SequenceToSequence(Box::new(part(from, to, safety)?))
            }
            (Type::Map(from), Type::Map(to)) => Action::MapToMap(Box::new(part(from, to, safety)?)),
            (Type::Tuple(from), Type::List(to) | Type::Set(to)) => {
                Self::plan_tuple_to_sequence(from, to, safety)?
            }
            (Type::Object(from), Type::Map(to)) => Self::plan_object_to_map(from, to, safety)?,
            (Type::Map(from), Type::Object(to)) if safety == Safety::Unsafe => {
                Self::plan_map_to_object(from, to)?
            }
            _ => return None,
        };
        Some(Self {
            to: to.clone(),
            action,
        })
    }

    /// Attributes that are missing in `from` must be optional. Attributes that are not in `to` are dropped.
    fn plan_object(from: &ObjectType, to: &ObjectType, safety: Safety) -> Option<Action> {
        let mut parts = BTreeMap::new();
        for (name, wanted) in to.attributes() {
            match from.attribute(name) {
                Some(ty) => {
                    parts.insert(name.clone(), part(ty, wanted, safety)?);
                }
                None if to.is_optional(name) => {}
                None => return None,
            }
        }
        Some(Action::Object(parts))
    }

    /// If the element type is dynamic, all elements are converted to one common type.
    fn plan_tuple_to_sequence(from: &[Type], element: &Type, safety: Safety) -> Option<Action> {
        let unified;
        let element = if *element == Type::Dynamic && !from.is_empty() {
            unified = unify(from, safety)?;
            if unified == Type::Dynamic && from.iter().any(|ty| *ty != Type::Dynamic) {
                return None;
            }
            &unified
        } else {
            element
        };
        let mut parts: Vec<Part> = Vec::with_capacity(from.len());
        for ty in from {
            parts.push(part(ty, element, safety)?);
        }
        Some(Action::TupleToSequence(parts))
    }

    /// If the element type is dynamic, all values are converted to one common type.
    fn plan_object_to_map(from: &ObjectType, element: &Type, safety: Safety) -> Option<Action> {
        let unified;
        let element = if *element == Type::Dynamic && !from.attributes().is_empty() {
            unified = unify(from.attributes().values(), safety)?;
            &unified
        } else {
            element
        };
        let mut parts = BTreeMap::new();
        for (name, ty) in from.attributes() {
            parts.insert(name.clone(), part(ty, element, safety)?);
        }
        Some(Action::ObjectToMap {
            parts,
            unify: element.is_collection() || matches!(element, Type::Object(_)),
            safety,
        })
    }

    /// Which keys a map has is known only from its value, so a missing attribute is found later.
    fn plan_map_to_object(element: &Type, to: &ObjectType) -> Option<Action> {
        let mut parts = BTreeMap::new();
        for (name, wanted) in to.attributes() {
            let part = match part(element, wanted, Safety::Unsafe) {
                Some(part) => MapPart::Convert(part),
                None if to.is_optional(name) => MapPart::Impossible,
                None => return None,
            };
            parts.insert(name.clone(), part);
        }
        Some(Action::MapToObject(parts))
    }

    /// Converts a value of the type that the plan was made for.
    fn apply(&self, value: &Value) -> Result<Value, ConvertError> {
        if self.to == Type::Dynamic {
            return Ok(value.clone());
        }
        if let Value::Null(from) = value {
            return Ok(Value::Null(replace_dynamic(
                from,
                &self.to.without_optional(),
            )));
        }
        match (&self.action, value) {
            (Action::Late, value) => convert(value, &self.to),
            (Action::NumberToString, Value::Number(number)) => {
                Ok(Value::string(number.to_string()))
            }
            (Action::BoolToString, Value::Bool(value)) => {
                Ok(Value::from(if *value { "true" } else { "false" }))
            }
            (Action::StringToNumber, Value::String(text)) => Number::parse(text)
                .map(Value::Number)
                .map_err(|error| ConvertError::new(error.to_string())),
            (Action::StringToBool, Value::String(text)) => string_to_bool(text),
            (Action::Tuple(parts), Value::Tuple(tuple)) => {
                convert_items(parts, tuple.items()).map(Value::tuple)
            }
            (Action::Object(parts), Value::Object(object)) => {
                self.convert_object(parts, object.entries())
            }
            (Action::SequenceToSequence(part), Value::List(from) | Value::Set(from)) => {
                let mut items = Vec::with_capacity(from.items().len());
                for (place, item) in from.items().iter().enumerate() {
                    items.push(apply_part(part, item, || ConversionStep::Index(place))?);
                }
                self.make_sequence(items, from.element_type())
            }
            (Action::TupleToSequence(parts), Value::Tuple(tuple)) => {
                let mut items = convert_items(parts, tuple.items())?;
                if matches!(self.to, Type::List(_)) {
                    items = unify_items(items)?;
                }
                self.make_sequence(items, &Type::Dynamic)
            }
            (Action::MapToMap(part), Value::Map(from)) => {
                let mut entries = BTreeMap::new();
                for (name, item) in from.entries() {
                    let item = apply_part(part, item, || ConversionStep::Name(name.clone()))?;
                    entries.insert(name.clone(), item);
                }
                let unify = matches!(self.to.element(), Some(ty) if ty.is_collection() || matches!(ty, Type::Object(_)));
                self.make_map(entries, from.element_type(), unify.then_some(Safety::Safe))
            }
            (
                Action::ObjectToMap {
                    parts,
                    unify,
                    safety,
                },
                Value::Object(object),
            ) => {
                let mut entries = BTreeMap::new();
                for (name, item) in object.entries() {
                    let part = parts.get(name).unwrap_or(&None);
                    let item = apply_part(part, item, || ConversionStep::Name(name.clone()))?;
                    entries.insert(name.clone(), item);
                }
                self.make_map(entries, &Type::Dynamic, unify.then_some(*safety))
            }
            (Action::MapToObject(parts), Value::Map(map)) => {
                self.convert_map_to_object(parts, map.entries())
            }
            // A plan is only applied to values of the type that it was made for, so only [`Action::Keep`] gets
            // here.
            (_, value) => Ok(value.clone()),
        }
    }

    fn convert_object(
        &self,
        parts: &BTreeMap<Text, Part>,
        entries: &BTreeMap<Text, Value>,
    ) -> Result<Value, ConvertError> {
        let mut converted = BTreeMap::new();
        if let Type::Object(to) = &self.to {
            for (name, ty) in to.attributes() {
                let value = match (parts.get(name), entries.get(name)) {
                    (Some(part), Some(value)) => {
                        apply_part(part, value, || ConversionStep::Name(name.clone()))?
                    }
                    _ => Value::Null(ty.without_optional()),
                };
                converted.insert(name.clone(), value);
            }
        }
        Ok(Value::object(converted))
    }

    fn convert_map_to_object(
        &self,
        parts: &BTreeMap<Text, MapPart>,
        entries: &BTreeMap<Text, Value>,
    ) -> Result<Value, ConvertError> {
        let mut converted = BTreeMap::new();
        let Type::Object(to) = &self.to else {
            return Ok(Value::object(converted));
        };
        for (name, part) in parts {
            let ty = to.attribute(name).unwrap_or(&Type::Dynamic);
            let value = match (part, entries.get(name)) {
                (MapPart::Convert(part), Some(value)) => {
                    apply_part(part, value, || ConversionStep::Name(name.clone()))?
                }
                (MapPart::Impossible, Some(value)) => {
                    return Err(ConvertError::new(format!(
                        "map element type is incompatible with attribute \"{name}\": {}",
                        mismatch::message(&value.ty(), ty)
                    )));
                }
                (_, None) if to.is_optional(name) => Value::Null(ty.without_optional()),
                (_, None) => {
                    return Err(ConvertError::new(format!(
                        "map has no element for required attribute \"{name}\""
                    )));
                }
            };
            converted.insert(name.clone(), value);
        }
        Ok(Value::object(converted))
    }

    /// Makes the list or set from converted items. `original` is their element type before the conversion: it is
    /// the element type of an empty collection if the target leaves it open.
    fn make_sequence(&self, items: Vec<Value>, original: &Type) -> Result<Value, ConvertError> {
        let (wanted, kind) = match &self.to {
            Type::Set(element) => (element, "set"),
            Type::List(element) => (element, "list"),
            _ => return Err(ConvertError::new("a list or set is required")),
        };
        let element = common_type(&items, wanted, original).ok_or_else(|| {
            ConvertError::new(format!(
                "element types must all match for conversion to {kind}"
            ))
        })?;
        Ok(if kind == "set" {
            Value::set(element, items)
        } else {
            Value::list(element, items)
        })
    }

    fn make_map(
        &self,
        mut entries: BTreeMap<Text, Value>,
        original: &Type,
        unify_with: Option<Safety>,
    ) -> Result<Value, ConvertError> {
        let wanted = self.to.element().unwrap_or(&Type::Dynamic);
        if let Some(safety) = unify_with
            && wanted.has_dynamic()
            && !entries.is_empty()
        {
            let types: Vec<Type> = entries.values().map(Value::ty).collect();
            let element = unify(&types, safety).ok_or_else(no_common_type)?;
            for (name, value) in &mut entries {
                *value = convert(value, &element)
                    .map_err(|error| error.below(ConversionStep::Name(name.clone())))?;
            }
        }
        let element = common_type(entries.values(), wanted, original).ok_or_else(|| {
            ConvertError::new("element types must all match for conversion to map")
        })?;
        Ok(Value::map(element, entries))
    }
}

fn no_common_type() -> ConvertError {
    ConvertError::new("cannot find a common base type for all elements")
}

fn convert_items(parts: &[Part], items: &[Value]) -> Result<Vec<Value>, ConvertError> {
    parts
        .iter()
        .zip(items)
        .enumerate()
        .map(|(place, (part, item))| apply_part(part, item, || ConversionStep::Index(place)))
        .collect()
}

/// Converts items to one common type, after a conversion to a partly dynamic type may have given them different
/// ones.
fn unify_items(items: Vec<Value>) -> Result<Vec<Value>, ConvertError> {
    let mut types = items.iter().map(Value::ty);
    let Some(first) = types.next() else {
        return Ok(items);
    };
    if types.all(|ty| ty == first) {
        return Ok(items);
    }
    let types: Vec<Type> = items.iter().map(Value::ty).collect();
    let element = unify(&types, Safety::Unsafe).ok_or_else(no_common_type)?;
    items
        .iter()
        .enumerate()
        .map(|(place, item)| {
            convert(item, &element).map_err(|error| error.below(ConversionStep::Index(place)))
        })
        .collect()
}

/// The common type of converted elements. Nulls of no particular type fit any type. `None` if the types differ.
fn common_type<'a>(
    items: impl IntoIterator<Item = &'a Value>,
    wanted: &Type,
    original: &Type,
) -> Option<Type> {
    if !wanted.has_dynamic() {
        return Some(wanted.without_optional());
    }
    let mut common: Option<Type> = None;
    let mut empty = true;
    for item in items {
        empty = false;
        match (&common, item.ty()) {
            (_, Type::Dynamic) => {}
            (None, ty) => common = Some(ty),
            (Some(common), ty) if *common == ty => {}
            _ => return None,
        }
    }
    if empty {
        let element = if *wanted == Type::Dynamic {
            original
        } else {
            wanted
        };
        return Some(element.without_optional());
    }
    Some(common.unwrap_or(Type::Dynamic))
}

/// Only `true`, `false`, `1` and `0` are bools. Another case of the words is an error with a hint.
fn string_to_bool(text: &str) -> Result<Value, ConvertError> {
    match text {
        "true" | "1" => Ok(Value::Bool(true)),
        "false" | "0" => Ok(Value::Bool(false)),
        _ => {
            let lower = text.to_lowercase();
            Err(ConvertError::new(match lower.as_str() {
                "true" | "false" => {
                    format!("a bool is required; to convert from string, use lowercase \"{lower}\"")
                }
                _ => "a bool is required".into(),
            }))
        }
    }
}

/// Replaces the dynamic parts of the constraint `to` by the corresponding parts of `from`. The result is the type
/// of a converted null.
fn replace_dynamic(from: &Type, to: &Type) -> Type {
    let element = |collection: fn(Type) -> Type, to: &Type| match from {
        Type::List(from) | Type::Set(from) | Type::Map(from) => {
            Some(collection(replace_dynamic(from, to)))
        }
        Type::Tuple(from) => Some(collection(replace_dynamic(
            &unify(from.iter(), Safety::Unsafe).unwrap_or(Type::Dynamic),
            to,
        ))),
        Type::Object(from) => Some(collection(replace_dynamic(
            &unify(from.attributes().values(), Safety::Unsafe).unwrap_or(Type::Dynamic),
            to,
        ))),
        _ => None,
    };
    match (from, to) {
        (Type::Dynamic, _) => to.clone(),
        (_, Type::Dynamic) => from.clone(),
        (Type::Map(_) | Type::Object(_), Type::Map(wanted)) => {
            element(Type::map, wanted).unwrap_or_else(|| to.clone())
        }
        (Type::List(_) | Type::Set(_) | Type::Tuple(_), Type::List(wanted)) => {
            element(Type::list, wanted).unwrap_or_else(|| to.clone())
        }
        (Type::List(_) | Type::Set(_) | Type::Tuple(_), Type::Set(wanted)) => {
            element(Type::set, wanted).unwrap_or_else(|| to.clone())
        }
        (Type::Tuple(from), Type::Tuple(wanted)) => {
            Type::tuple(wanted.iter().enumerate().map(|(place, to)| {
                from.get(place)
                    .map_or_else(|| to.clone(), |from| replace_dynamic(from, to))
            }))
        }
        (Type::Map(_) | Type::Object(_), Type::Object(wanted)) => {
            let attributes = wanted.attributes().iter().map(|(name, to)| {
                let from = match from {
                    Type::Map(element) => Some(&**element),
                    Type::Object(object) => object.attribute(name),
                    _ => None,
                };
                let ty = from.map_or_else(|| to.clone(), |from| replace_dynamic(from, to));
                (name.clone(), ty)
            });
            Type::Object(Arc::new(ObjectType::new(attributes.collect())))
        }
        _ => to.clone(),
    }
}

#[cfg(test)]
mod tests;
