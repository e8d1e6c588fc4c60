//! The tree that users of this module see.

use indexmap::IndexMap;

use super::YamlTimestamp;
use crate::diag::Span;

/// A value and where it was written; what an alias brings in was written at its anchor.
#[derive(Debug, Clone)]
pub(crate) struct YamlNode {
    /// Where. A block collection begins at its first entry, an absent value is an empty place.
    pub(crate) span: Span,
    /// The tag, if one was written: `!override`, `!!str`.
    pub(crate) tag: Option<Box<str>>,
    /// What.
    pub(crate) value: YamlValue,
    /// Offset in the file of a string's text, where it stands there as it is: no escapes, no folded lines.
    pub(super) verbatim: Option<u32>,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum YamlValue {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`, not `yes` and `no`.
    Bool(bool),
    /// A whole number from the smallest signed to the largest unsigned one of 64 bits.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// A date, with or without a time.
    Timestamp(YamlTimestamp),
    /// Text.
    String(String),
    /// `[…]`.
    Sequence(Vec<YamlNode>),
    /// `{…}`, with the keys of merges.
    Mapping(YamlMapping),
}

/// The entries of a mapping by key, in the order of the file, merged ones last.
pub(crate) type YamlMapping = IndexMap<String, YamlEntry>;

/// A value in a mapping.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct YamlEntry {
    /// Where the key was written.
    pub(crate) key: Span,
    /// What stands behind it.
    pub(crate) value: YamlNode,
}

impl YamlNode {
    /// `value`, written at `span`.
    pub(crate) const fn new(value: YamlValue, span: Span) -> Self {
        Self {
            span,
            tag: None,
            value,
            verbatim: None,
        }
    }

    /// The same place and tag with another value.
    #[must_use]
    pub(crate) fn with(&self, value: YamlValue) -> Self {
        Self {
            tag: self.tag.clone(),
            ..Self::new(value, self.span)
        }
    }

    /// The entries, if it is a mapping.
    pub(crate) const fn as_mapping(&self) -> Option<&YamlMapping> {
        match &self.value {
            YamlValue::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// The items, if it is a sequence.
    pub(crate) fn as_sequence(&self) -> Option<&[Self]> {
        match &self.value {
            YamlValue::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The text, if it is a string.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            YamlValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub(crate) const fn is_null(&self) -> bool {
        matches!(self.value, YamlValue::Null)
    }

    /// The value behind `key`, if it is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.as_mapping()?.get(key).map(|entry| &entry.value)
    }

    /// The place of `range` of the string it holds: exact where the file has that very text, else the whole node.
    pub(crate) fn part(&self, range: std::ops::Range<usize>) -> Span {
        match self.verbatim {
            Some(offset) => Span::new(
                self.span.source,
                offset as usize + range.start..offset as usize + range.end,
            ),
            None => self.span,
        }
    }

    /// What it is, for messages: `a string`.
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

// Equal by content, wherever it was written.
impl PartialEq for YamlNode {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}
