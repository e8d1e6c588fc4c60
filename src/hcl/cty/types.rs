//! Types of values, and type constraints.
//!
//! Both are a [`Type`]. A constraint differs from a type in two ways: [`Type::Dynamic`] means any type, and
//! attributes of an object may be optional.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::value::Text;

/// The type of a value, or a constraint on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    /// In a constraint, any type. As the type of a value, only that of a null of no particular type.
    Dynamic,
    /// Text.
    String,
    /// A number.
    Number,
    /// A bool.
    Bool,
    /// Values of one type, in order.
    List(Arc<Type>),
    /// Distinct values of one type.
    Set(Arc<Type>),
    /// Values of one type by name.
    Map(Arc<Type>),
    /// A fixed number of values, in order, each of its own type.
    Tuple(Arc<[Type]>),
    /// Values by fixed names, each of its own type.
    Object(Arc<ObjectType>),
    /// Raw bytes. The language cannot write them, and nothing converts to or from them.
    Bytes,
}

/// The attributes of an object type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct ObjectType {
    attributes: BTreeMap<Text, Type>,
    optional: BTreeSet<Text>,
}

impl ObjectType {
    /// An object type with required attributes only.
    pub(crate) fn new(attributes: BTreeMap<Text, Type>) -> Self {
        Self {
            attributes,
            optional: BTreeSet::new(),
        }
    }

    /// An object type in which the attributes `optional` may be missing from a converted value. Names in `optional`
    /// that are not in `attributes` are ignored.
    pub(crate) fn with_optional(
        attributes: BTreeMap<Text, Type>,
        optional: impl IntoIterator<Item = Text>,
    ) -> Self {
        let optional = optional
            .into_iter()
            .filter(|name| attributes.contains_key(name))
            .collect();
        Self {
            attributes,
            optional,
        }
    }

    /// The attributes, sorted by name.
    pub(crate) fn attributes(&self) -> &BTreeMap<Text, Type> {
        &self.attributes
    }

    /// The type of the attribute `name`, or `None` if the object type does not have it.
    pub(crate) fn attribute(&self, name: &str) -> Option<&Type> {
        self.attributes.get(name)
    }

    /// Whether the attribute `name` may be missing.
    pub(crate) fn is_optional(&self, name: &str) -> bool {
        self.optional.contains(name)
    }
}

impl Type {
    /// A list of `element`.
    pub(crate) fn list(element: Self) -> Self {
        Self::List(Arc::new(element))
    }

    /// A set of `element`.
    pub(crate) fn set(element: Self) -> Self {
        Self::Set(Arc::new(element))
    }

    /// A map of `element`.
    pub(crate) fn map(element: Self) -> Self {
        Self::Map(Arc::new(element))
    }

    /// A tuple of `elements`.
    pub(crate) fn tuple(elements: impl IntoIterator<Item = Self>) -> Self {
        Self::Tuple(elements.into_iter().collect())
    }

    /// An object of `attributes`, all of them required.
    pub(crate) fn object<N: Into<Text>>(attributes: impl IntoIterator<Item = (N, Self)>) -> Self {
        let attributes = attributes
            .into_iter()
            .map(|(name, ty)| (name.into(), ty))
            .collect();
        Self::Object(Arc::new(ObjectType::new(attributes)))
    }

    /// Whether the type is string, number or bool.
    pub(crate) fn is_primitive(&self) -> bool {
        matches!(self, Self::String | Self::Number | Self::Bool)
    }

    /// Whether the type is a list, set or map.
    pub(crate) fn is_collection(&self) -> bool {
        matches!(self, Self::List(_) | Self::Set(_) | Self::Map(_))
    }

    /// The element type of a list, set or map. `None` for any other type.
    pub(crate) fn element(&self) -> Option<&Self> {
        match self {
            Self::List(element) | Self::Set(element) | Self::Map(element) => Some(element),
            _ => None,
        }
    }

    /// Whether [`Type::Dynamic`] occurs anywhere in the type.
    pub(crate) fn has_dynamic(&self) -> bool {
        match self {
            Self::Dynamic => true,
            Self::String | Self::Number | Self::Bool | Self::Bytes => false,
            Self::List(element) | Self::Set(element) | Self::Map(element) => element.has_dynamic(),
            Self::Tuple(elements) => elements.iter().any(Self::has_dynamic),
            Self::Object(object) => object.attributes.values().any(Self::has_dynamic),
        }
    }

    fn has_optional(&self) -> bool {
        match self {
            Self::Dynamic | Self::String | Self::Number | Self::Bool | Self::Bytes => false,
            Self::List(element) | Self::Set(element) | Self::Map(element) => element.has_optional(),
            Self::Tuple(elements) => elements.iter().any(Self::has_optional),
            Self::Object(object) => {
                !object.optional.is_empty() || object.attributes.values().any(Self::has_optional)
            }
        }
    }

    /// The type of a value after its conversion to this constraint: the same type, with no attribute optional.
    #[must_use]
    pub(crate) fn without_optional(&self) -> Self {
        if !self.has_optional() {
            return self.clone();
        }
        match self {
            Self::List(element) => Self::list(element.without_optional()),
            Self::Set(element) => Self::set(element.without_optional()),
            Self::Map(element) => Self::map(element.without_optional()),
            Self::Tuple(elements) => Self::tuple(elements.iter().map(Self::without_optional)),
            Self::Object(object) => Self::object(
                object
                    .attributes
                    .iter()
                    .map(|(name, ty)| (name.clone(), ty.without_optional())),
            ),
            other => other.clone(),
        }
    }

    /// The name of the type with its article: `a list of string`, `an object`.
    pub(crate) fn with_article(&self) -> String {
        let name = self.name();
        let article = if name.starts_with(['a', 'e', 'i', 'o', 'u']) {
            "an"
        } else {
            "a"
        };
        format!("{article} {name}")
    }

    /// The English name of a type, for messages about values: `list of string`, `tuple`, `dynamic`. As in go-cty,
    /// tuples and objects are not spelled out.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Dynamic => "dynamic".into(),
            Self::List(element) => format!("list of {}", element.name()),
            Self::Set(element) => format!("set of {}", element.name()),
            Self::Map(element) => format!("map of {}", element.name()),
            other => other.kind().into(),
        }
    }

    /// The English name of a constraint: as [`Type::name`], but with `any type` and `list of any single type` for
    /// [`Type::Dynamic`].
    pub(crate) fn constraint_name(&self) -> String {
        let of = |element: &Self| match element {
            Self::Dynamic => "any single type".to_owned(),
            other => other.constraint_name(),
        };
        match self {
            Self::Dynamic => "any type".into(),
            Self::List(element) => format!("list of {}", of(element)),
            Self::Set(element) => format!("set of {}", of(element)),
            Self::Map(element) => format!("map of {}", of(element)),
            other => other.kind().into(),
        }
    }

    /// The type's keyword, without its parameters: `list`, `object`, `string`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Dynamic => "dynamic",
            Self::String => "string",
            Self::Number => "number",
            Self::Bool => "bool",
            Self::List(_) => "list",
            Self::Set(_) => "set",
            Self::Map(_) => "map",
            Self::Tuple(_) => "tuple",
            Self::Object(_) => "object",
            Self::Bytes => "bytes",
        }
    }
}

/// Writes the type as a type expression of the language: `list(string)`, `object({a=number,b=any})`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dynamic => f.write_str("any"),
            Self::List(element) => write!(f, "list({element})"),
            Self::Set(element) => write!(f, "set({element})"),
            Self::Map(element) => write!(f, "map({element})"),
            Self::Tuple(elements) => {
                f.write_str("tuple([")?;
                for (place, element) in elements.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    write!(f, "{comma}{element}")?;
                }
                f.write_str("])")
            }
            Self::Object(object) => {
                f.write_str("object({")?;
                for (place, (name, ty)) in object.attributes.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    if object.is_optional(name) {
                        write!(f, "{comma}{name}=optional({ty})")?;
                    } else {
                        write!(f, "{comma}{name}={ty}")?;
                    }
                }
                f.write_str("})")
            }
            other => f.write_str(other.kind()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Type {
        Type::Object(Arc::new(ObjectType::with_optional(
            [("a".into(), Type::String), ("b".into(), Type::Number)].into(),
            ["b".into(), "z".into()],
        )))
    }

    #[test]
    fn types_have_english_names() {
        assert_eq!(
            Type::list(Type::map(Type::String)).name(),
            "list of map of string"
        );
        assert_eq!(Type::list(Type::Dynamic).name(), "list of dynamic");
        assert_eq!(
            Type::list(Type::Dynamic).constraint_name(),
            "list of any single type"
        );
        assert_eq!(Type::Dynamic.constraint_name(), "any type");
        assert_eq!(pair().name(), "object");
    }

    #[test]
    fn display_is_a_type_expression() {
        assert_eq!(
            Type::tuple([Type::list(Type::Dynamic), pair()]).to_string(),
            "tuple([list(any),object({a=string,b=optional(number)})])"
        );
    }

    #[test]
    fn without_optional_reaches_every_depth() {
        let list = Type::list(Type::set(pair()));
        assert!(list.has_optional());
        assert!(!list.without_optional().has_optional());
        assert_ne!(list, list.without_optional());
    }
}
