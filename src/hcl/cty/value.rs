//! Values: what expressions evaluate to.
//!
//! A value knows its type at all times, nulls included. It is cheap to clone; whole collections are shared. Strings and
//! names are in Unicode's normalization form C, maps and objects iterate sorted by name, sets in the order that go-cty
//! gives them. Knows nothing of expressions. Start at [`Value`].

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

use super::number::Number;
use super::set_order;
use super::types::Type;

/// Text in normalization form C.
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
    /// No value, of some type; [`Type::Dynamic`] for a plain `null`.
    Null(Type),
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    String(Text),
    /// A sequence of one type.
    List(Sequence),
    /// Distinct values of one type, in set order.
    Set(Sequence),
    /// Values of one type by name.
    Map(MapElements),
    /// A sequence of any types.
    Tuple(Tuple),
    /// Values of any types by name.
    Object(Object),
    /// Raw bytes.
    Bytes(Arc<[u8]>),
}

/// How large a value is when everything in it is written out; what is shared within it counts each time.
///
/// Values are cheap to make of shared parts, but not to go through, so whoever makes them must be able to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// How many collections are within each other at the deepest place.
    pub(crate) depth: u32,
    /// Roughly how many bytes a copy without sharing would take.
    pub(crate) weight: u64,
}

impl Extent {
    /// What every value takes, whatever is in it.
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

/// The elements of a list or set: all of one type, nulls included.
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

/// The elements of a map: all of one type, nulls included.
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

    /// One attribute.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.entries.get(name)
    }
}

impl Value {
    /// A null of no particular type.
    pub(crate) const fn null() -> Self {
        Self::Null(Type::Dynamic)
    }

    /// A string; it is normalized.
    pub(crate) fn string(text: impl Into<Text>) -> Self {
        Self::String(text.into())
    }

    /// A number from one of Rust's integers.
    pub(crate) fn number(value: impl Into<Number>) -> Self {
        Self::Number(value.into())
    }

    /// A list; the items must be of the type `element`, or null.
    pub(crate) fn list(element: Type, items: Vec<Self>) -> Self {
        Self::List(Self::sequence(element, items))
    }

    /// A set; the items must be of the type `element`, or null. Duplicates go, and the order is the set's.
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

    /// A map; the values must be of the type `element`, or null.
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

    /// How large the value is.
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

    /// Whether the value is null.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null(_))
    }

    /// The text of a string.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number of a number.
    pub(crate) fn as_number(&self) -> Option<&Number> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The truth value of a bool.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of a list, set or tuple, in order.
    pub(crate) fn items(&self) -> Option<&[Self]> {
        match self {
            Self::List(sequence) | Self::Set(sequence) => Some(&sequence.0.items),
            Self::Tuple(tuple) => Some(tuple.items()),
            _ => None,
        }
    }

    /// The elements of a map or object, sorted by name.
    pub(crate) fn entries(&self) -> Option<&BTreeMap<Text, Self>> {
        match self {
            Self::Map(map) => Some(&map.0.entries),
            Self::Object(object) => Some(object.entries()),
            _ => None,
        }
    }

    /// How many elements a list, set, tuple, map or object has.
    pub(crate) fn len(&self) -> Option<usize> {
        self.items()
            .map(<[Self]>::len)
            .or_else(|| self.entries().map(BTreeMap::len))
    }

    /// Whether two values are equal as `==` has it: nothing is converted, values of different types are unequal, but
    /// any two nulls are equal.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        (self.is_null() && other.is_null()) || self.same(other)
    }

    /// Whether two values are equal, types of nulls included.
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

/// The value in something like the language's own syntax, for messages to developers.
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
