//! Values: the results of expressions.
//!
//! Every value knows its type, nulls included. Values are cheap to clone, because clones share their collections.
//! Strings and names are in Unicode's normalization form C. Maps and objects iterate in the order of their names,
//! sets in the order that go-cty gives them. This module knows nothing of expressions. Start at [`Value`].

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

use super::number::Number;
use super::set_order;
use super::types::Type;

/// Text in Unicode's normalization form C, as go-cty normalizes all strings. Conversions from other strings
/// normalize.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Text(Arc<str>);

impl Text {
    /// The text as a string slice.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
            Self(text.into())
        } else {
            Self(text.nfc().collect::<String>().into())
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        if text.is_ascii() {
            Self(text.into())
        } else {
            Self::from(text.as_str())
        }
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&Text> for Arc<str> {
    fn from(text: &Text) -> Self {
        Arc::clone(&text.0)
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// A value of the language.
#[derive(Clone)]
pub(crate) enum Value {
    /// A null and its type, which is [`Type::Dynamic`] for a plain `null`.
    Null(Type),
    /// A bool.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    String(Text),
    /// Elements of one type, in order.
    List(Sequence),
    /// Distinct elements of one type, in the order of [`set_order`].
    Set(Sequence),
    /// Elements of one type by name.
    Map(MapElements),
    /// Elements of any types, in order.
    Tuple(Tuple),
    /// Attributes of any types by name.
    Object(Object),
    /// Raw bytes: a capsule type of go-cty. Only the functions on bytes take them.
    Bytes(Arc<[u8]>),
}

/// The size of a value, as if nothing in it were shared: a part that occurs twice counts twice.
///
/// A value can be built cheaply from shared parts and still take very long to walk or print. So every value knows
/// its extent, and [`crate::hcl::eval`] limits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The nesting depth: 0 for a value that is not a collection.
    pub(crate) depth: u32,
    /// The approximate number of bytes of a copy without sharing.
    pub(crate) weight: u64,
}

impl Extent {
    /// The weight of any value in addition to its content.
    const OWN: u64 = 16;

    fn of<'a>(parts: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut whole = Self {
            depth: 0,
            weight: Self::OWN,
        };
        for part in parts {
            let part = part.extent();
            whole.depth = whole.depth.max(part.depth);
            whole.weight = whole.weight.saturating_add(part.weight);
        }
        whole.depth = whole.depth.saturating_add(1);
        whole
    }
}

/// The elements of a list or set, all of one type. Nulls have that type, too.
#[derive(Clone)]
pub(crate) struct Sequence(Arc<SequenceData>);

struct SequenceData {
    extent: Extent,
    element: Type,
    items: Box<[Value]>,
}

impl Sequence {
    fn new(element: Type, items: Box<[Value]>) -> Self {
        Self(Arc::new(SequenceData {
            extent: Extent::of(&items),
            element,
            items,
        }))
    }

    /// The type of the elements.
    pub(crate) fn element_type(&self) -> &Type {
        &self.0.element
    }

    /// The elements in order.
    pub(crate) fn items(&self) -> &[Value] {
        &self.0.items
    }
}

/// The elements of a map, all of one type. Nulls have that type, too.
#[derive(Clone)]
pub(crate) struct MapElements(Arc<MappingData>);

struct MappingData {
    extent: Extent,
    element: Type,
    entries: BTreeMap<Text, Value>,
}

impl MapElements {
    /// The type of the elements.
    pub(crate) fn element_type(&self) -> &Type {
        &self.0.element
    }

    /// The elements, sorted by name.
    pub(crate) fn entries(&self) -> &BTreeMap<Text, Value> {
        &self.0.entries
    }
}

/// The elements of a tuple.
#[derive(Clone)]
pub(crate) struct Tuple(Arc<TupleData>);

struct TupleData {
    extent: Extent,
    items: Box<[Value]>,
    ty: OnceLock<Type>,
}

impl Tuple {
    /// The elements in order.
    pub(crate) fn items(&self) -> &[Value] {
        &self.0.items
    }
}

/// The attributes of an object.
#[derive(Clone)]
pub(crate) struct Object(Arc<ObjectData>);

struct ObjectData {
    extent: Extent,
    entries: BTreeMap<Text, Value>,
    ty: OnceLock<Type>,
}

impl Object {
    /// The attributes, sorted by name.
    pub(crate) fn entries(&self) -> &BTreeMap<Text, Value> {
        &self.0.entries
    }

    /// The attribute `name`, or `None` if the object does not have it.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.entries.get(name)
    }
}

impl Value {
    /// A null of no particular type: the value of the keyword `null`.
    pub(crate) const fn null() -> Self {
        Self::Null(Type::Dynamic)
    }

    /// A string. The text is normalized.
    pub(crate) fn string(text: impl Into<Text>) -> Self {
        Self::String(text.into())
    }

    /// A number from an integer of Rust.
    pub(crate) fn number(value: impl Into<Number>) -> Self {
        Self::Number(value.into())
    }

    /// A list. The caller guarantees that each item is of the type `element` or null; nulls get that type.
    pub(crate) fn list(element: Type, items: Vec<Self>) -> Self {
        Self::List(Self::sequence(element, items))
    }

    /// A set. The caller guarantees that each item is of the type `element` or null; nulls get that type.
    /// Duplicates are removed, and the items are sorted in set order.
    pub(crate) fn set(element: Type, items: Vec<Self>) -> Self {
        let items = items
            .into_iter()
            .map(|item| item.settled(&element))
            .collect();
        let items = set_order::arrange(&element, items);
        Self::Set(Sequence::new(element, items.into()))
    }

    fn sequence(element: Type, items: Vec<Self>) -> Sequence {
        let items = items
            .into_iter()
            .map(|item| item.settled(&element))
            .collect();
        Sequence::new(element, items)
    }

    /// A map. The caller guarantees that each value is of the type `element` or null; nulls get that type.
    pub(crate) fn map(element: Type, entries: BTreeMap<Text, Self>) -> Self {
        let entries: BTreeMap<Text, Self> = entries
            .into_iter()
            .map(|(name, value)| (name, value.settled(&element)))
            .collect();
        Self::Map(MapElements(Arc::new(MappingData {
            extent: Extent::of(entries.values()),
            element,
            entries,
        })))
    }

    /// A tuple of any values.
    pub(crate) fn tuple(items: Vec<Self>) -> Self {
        Self::Tuple(Tuple(Arc::new(TupleData {
            extent: Extent::of(&items),
            items: items.into(),
            ty: OnceLock::new(),
        })))
    }

    /// An object of any values.
    pub(crate) fn object(entries: BTreeMap<Text, Self>) -> Self {
        Self::Object(Object(Arc::new(ObjectData {
            extent: Extent::of(entries.values()),
            entries,
            ty: OnceLock::new(),
        })))
    }

    /// Gives a null in a collection the type of the collection's elements.
    fn settled(self, element: &Type) -> Self {
        match self {
            Self::Null(_) => Self::Null(element.clone()),
            other => other,
        }
    }

    /// The value's size. It was computed when the value was made, so this is cheap.
    pub(crate) fn extent(&self) -> Extent {
        match self {
            Self::Null(_) | Self::Bool(_) | Self::Number(_) => Extent {
                depth: 0,
                weight: Extent::OWN,
            },
            Self::String(text) => Extent {
                depth: 0,
                weight: Extent::OWN + text.len() as u64,
            },
            Self::Bytes(bytes) => Extent {
                depth: 0,
                weight: Extent::OWN + bytes.len() as u64,
            },
            Self::List(sequence) | Self::Set(sequence) => sequence.0.extent,
            Self::Map(map) => map.0.extent,
            Self::Tuple(Tuple(data)) => data.extent,
            Self::Object(Object(data)) => data.extent,
        }
    }

    /// The value's type.
    pub(crate) fn ty(&self) -> Type {
        match self {
            Self::Null(ty) => ty.clone(),
            Self::Bool(_) => Type::Bool,
            Self::Number(_) => Type::Number,
            Self::String(_) => Type::String,
            Self::List(list) => Type::list(list.0.element.clone()),
            Self::Set(set) => Type::set(set.0.element.clone()),
            Self::Map(map) => Type::map(map.0.element.clone()),
            Self::Tuple(Tuple(data)) => data
                .ty
                .get_or_init(|| Type::tuple(data.items.iter().map(Self::ty)))
                .clone(),
            Self::Object(Object(data)) => data
                .ty
                .get_or_init(|| {
                    Type::object(
                        data.entries
                            .iter()
                            .map(|(name, value)| (name.clone(), value.ty())),
                    )
                })
                .clone(),
            Self::Bytes(_) => Type::Bytes,
        }
    }

    /// Whether the value is a null of any type.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null(_))
    }

    /// The text, or `None` if this is not a string.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, or `None` if this is not a number.
    pub(crate) fn as_number(&self) -> Option<&Number> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The bool, or `None` if this is not a bool.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of a list, set or tuple, in order. `None` for any other value.
    pub(crate) fn items(&self) -> Option<&[Self]> {
        match self {
            Self::List(sequence) | Self::Set(sequence) => Some(&sequence.0.items),
            Self::Tuple(tuple) => Some(tuple.items()),
            _ => None,
        }
    }

    /// The elements of a map or object, sorted by name. `None` for any other value.
    pub(crate) fn entries(&self) -> Option<&BTreeMap<Text, Self>> {
        match self {
            Self::Map(map) => Some(&map.0.entries),
            Self::Object(object) => Some(object.entries()),
            _ => None,
        }
    }

    /// The number of elements of a list, set, tuple, map or object. `None` for any other value.
    pub(crate) fn len(&self) -> Option<usize> {
        self.items()
            .map(<[Self]>::len)
            .or_else(|| self.entries().map(BTreeMap::len))
    }

    /// Whether the operator `==` finds two values equal. Nothing is converted, so values of different types are
    /// unequal, except that any two nulls are equal.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        (self.is_null() && other.is_null()) || self.same(other)
    }

    /// Whether two values are equal, the types of nulls included.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null(left), Self::Null(right)) => left == right,
            (Self::Bool(left), Self::Bool(right)) => left == right,
            (Self::Number(left), Self::Number(right)) => left == right,
            (Self::String(left), Self::String(right)) => left == right,
            (Self::Bytes(left), Self::Bytes(right)) => left == right,
            (Self::List(left), Self::List(right)) | (Self::Set(left), Self::Set(right)) => {
                left.0.element == right.0.element && all_same(&left.0.items, &right.0.items)
            }
            (Self::Tuple(left), Self::Tuple(right)) => all_same(left.items(), right.items()),
            (Self::Map(left), Self::Map(right)) => {
                left.0.element == right.0.element && entries_same(&left.0.entries, &right.0.entries)
            }
            (Self::Object(left), Self::Object(right)) => {
                entries_same(left.entries(), right.entries())
            }
            _ => false,
        }
    }
}

fn all_same(left: &[Value], right: &[Value]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.same(right))
}

fn entries_same(left: &BTreeMap<Text, Value>, right: &BTreeMap<Text, Value>) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|((left_name, left), (right_name, right))| {
                left_name == right_name && left.same(right)
            })
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::string(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::string(text)
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Self::String(text)
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        Self::Number(number)
    }
}

/// For developers: the value in a form close to the language's syntax.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null(Type::Dynamic) => f.write_str("null"),
            Self::Null(ty) => write!(f, "null({ty})"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::String(text) => write!(f, "{text:?}"),
            Self::List(sequence) => {
                write!(f, "list({})", sequence.0.element)?;
                f.debug_list().entries(sequence.0.items.iter()).finish()
            }
            Self::Set(sequence) => {
                write!(f, "set({})", sequence.0.element)?;
                f.debug_list().entries(sequence.0.items.iter()).finish()
            }
            Self::Map(map) => {
                write!(f, "map({})", map.0.element)?;
                f.debug_map().entries(map.0.entries.iter()).finish()
            }
            Self::Tuple(tuple) => f.debug_list().entries(tuple.items()).finish(),
            Self::Object(object) => f.debug_map().entries(object.entries()).finish(),
            Self::Bytes(bytes) => write!(f, "bytes({})", bytes.len()),
        }
    }
}
