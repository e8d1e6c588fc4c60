//! The tree that users of this module see.

use indexmap::IndexMap;

use super::Timestamp;
use crate::diag::Span;

/// A value and where it was written; what an alias brings in was written at its anchor.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where. A block collection begins at its first entry, an absent value is an empty place.
    pub span: Span,
    /// The tag, if one was written: `!override`, `!!str`.
    pub tag: Option<Box<str>>,
    /// What.
    pub value: Value,
    /// Offset in the file of a string's text, where it stands there as it is: no escapes, no folded lines.
    pub(super) verbatim: Option<u32>,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`, not `yes` and `no`.
    Bool(bool),
    /// A whole number from the smallest signed to the largest unsigned one of 64 bits.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// A date, with or without a time.
    Timestamp(Timestamp),
    /// Text.
    String(String),
    /// `[…]`.
    Sequence(Vec<Node>),
    /// `{…}`, with the keys of merges.
    Mapping(Mapping),
}

/// The entries of a mapping by key, in the order of the file, merged ones last.
pub type Mapping = IndexMap<String, Entry>;

/// A value in a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Where the key was written.
    pub key: Span,
    /// What stands behind it.
    pub value: Node,
}

impl Node {
    /// `value`, written at `span`.
    pub const fn new(value: Value, span: Span) -> Self {
        Self {
            span,
            tag: None,
            value,
            verbatim: None,
        }
    }

    /// The same place and tag with another value.
    #[must_use]
    pub fn with(&self, value: Value) -> Self {
        Self {
            tag: self.tag.clone(),
            ..Self::new(value, self.span)
        }
    }

    /// The entries, if it is a mapping.
    pub const fn as_mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// The items, if it is a sequence.
    pub fn as_sequence(&self) -> Option<&[Self]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The text, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub const fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The value behind `key`, if it is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_mapping()?.get(key).map(|entry| &entry.value)
    }

    /// The place of `range` of the string it holds: exact where the file has that very text, else the whole node.
    pub fn part(&self, range: std::ops::Range<usize>) -> Span {
        match self.verbatim {
            Some(offset) => Span::new(
                self.span.source,
                offset as usize + range.start..offset as usize + range.end,
            ),
            None => self.span,
        }
    }

    /// What it is, for messages: `a string`.
    pub const fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Timestamp(_) => "a date",
            Value::String(_) => "a string",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

// Equal by content, wherever it was written.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}
