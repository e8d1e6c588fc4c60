//! The tree of values that this module returns.

use indexmap::IndexMap;

use super::YamlTimestamp;
use crate::diag::Span;

/// A value and its place. A value that comes from an alias has the place of the anchor.
#[derive(Debug, Clone)]
pub(crate) struct YamlNode {
    /// The place. A block collection starts at its first entry; a missing value has an empty span.
    pub(crate) span: Span,
    /// The tag, if there is one, such as `!override` or `!!str`.
    pub(crate) tag: Option<Box<str>>,
    /// The value.
    pub(crate) value: YamlValue,
    /// The byte offset of a string's text in the file, if the file contains exactly that text: no escapes, no
    /// folded lines.
    pub(super) verbatim: Option<u32>,
}

/// The kinds of value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum YamlValue {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`. `yes` and `no` are strings.
    Bool(bool),
    /// An integer from the smallest `i64` to the largest `u64`.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// A date, with or without a time.
    Timestamp(YamlTimestamp),
    /// A string.
    String(String),
    /// A sequence.
    Sequence(Vec<YamlNode>),
    /// A mapping, including merged keys.
    Mapping(YamlMapping),
}

/// The entries of a mapping by key, in the order of the file. Merged entries come last.
pub(crate) type YamlMapping = IndexMap<String, YamlEntry>;

/// An entry of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct YamlEntry {
    /// The place of the key.
    pub(crate) key: Span,
    /// The value.
    pub(crate) value: YamlNode,
}

impl YamlNode {
    /// A node without a tag, at `span`.
    pub(crate) const fn new(value: YamlValue, span: Span) -> Self {
        Self {
            span,
            tag: None,
            value,
            verbatim: None,
        }
    }

    /// A copy with another value, but the same place and tag.
    #[must_use]
    pub(crate) fn with(&self, value: YamlValue) -> Self {
        Self {
            tag: self.tag.clone(),
            ..Self::new(value, self.span)
        }
    }

    /// The entries, or `None` if this is not a mapping.
    pub(crate) const fn as_mapping(&self) -> Option<&YamlMapping> {
        match &self.value {
            YamlValue::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// The items, or `None` if this is not a sequence.
    pub(crate) fn as_sequence(&self) -> Option<&[Self]> {
        match &self.value {
            YamlValue::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The text, or `None` if this is not a string.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            YamlValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether this is null.
    pub(crate) const fn is_null(&self) -> bool {
        matches!(self.value, YamlValue::Null)
    }

    /// The value of `key`, or `None` if this is not a mapping or has no such key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.as_mapping()?.get(key).map(|entry| &entry.value)
    }

    /// The place of the bytes `range` of a string. The place of the whole node if the file contains the string in
    /// another form (see `verbatim`).
    pub(crate) fn part(&self, range: std::ops::Range<usize>) -> Span {
        match self.verbatim {
            Some(offset) => Span::new(
                self.span.source,
                offset as usize + range.start..offset as usize + range.end,
            ),
            None => self.span,
        }
    }

    /// The type in words for messages, such as `a string`.
    pub(crate) const fn kind(&self) -> &'static str {
        match self.value {
            YamlValue::Null => "null",
            YamlValue::Bool(_) => "a boolean",
            YamlValue::Int(_) | YamlValue::Float(_) => "a number",
            YamlValue::Timestamp(_) => "a date",
            YamlValue::String(_) => "a string",
            YamlValue::Sequence(_) => "a list",
            YamlValue::Mapping(_) => "a mapping",
        }
    }
}

// Compares the values only, not the places and tags.
impl PartialEq for YamlNode {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}
