//! What goes wrong in the text and object forms of attributes, and what those forms share.

use std::collections::BTreeMap;

use super::SharedText;
use crate::golang::csv::{self, CsvError};
use crate::types::secret::redact_fields;

/// Attributes that rbake does not interpret and hands on as they are.
pub(crate) type Attrs = BTreeMap<SharedText, SharedText>;

/// Why a text or object is no entry of the attribute it was written for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    /// The text is no comma-separated record.
    #[error("`{text}` cannot be read as comma-separated fields: {source}")]
    Csv {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: CsvError,
    },
    /// A field without `=`.
    #[error("`{field}` must have the form `key=value`")]
    NoPair {
        /// The field.
        field: String,
    },
    /// A word alone, where fields are wanted.
    #[error("`{word}` alone is no entry of this list")]
    Bare {
        /// The word.
        word: String,
        /// The entry that may be meant.
        meant: String,
    },
    /// No `type`.
    #[error("a `type` is required")]
    NoType,
    /// A field that must be a boolean is none.
    #[error("`{value}` is not a boolean, as `{key}` must be")]
    NoBool {
        /// The field's key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A field that must be an integer is none.
    #[error("`{value}` is not a whole number, as `{key}` must be")]
    NoInteger {
        /// The field's key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A key that nothing knows.
    #[error("`{key}` is not known here")]
    UnknownKey {
        /// The key.
        key: String,
        /// The keys there are.
        known: &'static [&'static str],
    },
    /// A value that is not one of a few.
    #[error("`{value}` is not one of the values of `{key}`")]
    UnknownValue {
        /// The field's key.
        key: &'static str,
        /// Its value.
        value: String,
        /// The values there are.
        known: &'static [&'static str],
    },
    /// A secret's new source names another secret.
    #[error("the new source of secret `{declared}` names the secret `{given}`")]
    OtherId {
        /// The secret whose source is set.
        declared: String,
        /// The one that is named.
        given: String,
    },
    /// A value that must not be empty is.
    #[error("`{key}` must not be empty")]
    EmptyValue {
        /// The field's key.
        key: &'static str,
    },
}

impl EntryError {
    /// The word that may be a slip of the hand, and what it may have meant.
    pub(crate) fn misspelling(&self) -> Option<(&str, &'static [&'static str])> {
        match self {
            Self::UnknownKey { key, known } => Some((key, known)),
            Self::UnknownValue { value, known, .. } => Some((value, known)),
            _ => None,
        }
    }
}

impl EntryError {
    /// The entry that may have been meant, where that can be told.
    pub(crate) fn meant(&self) -> Option<&str> {
        match self {
            Self::Bare { meant, .. } => Some(meant),
            _ => None,
        }
    }
}

/// The fields of an attribute's text form.
pub(super) fn fields(text: &str) -> Result<Vec<std::borrow::Cow<'_, str>>, EntryError> {
    csv::fields(text).map_err(|source| EntryError::Csv {
        text: redact_fields(text),
        source,
    })
}

/// A field's key and value. `text` is the whole that the field is part of: where it holds a secret, the field may be the rest of
/// that, after a comma that nobody has quoted.
pub(super) fn pair_of<'a>(field: &'a str, text: &str) -> Result<(&'a str, &'a str), EntryError> {
    let shown = if redact_fields(text) == text {
        field
    } else {
        "xxxxx"
    };
    field.split_once('=').ok_or_else(|| EntryError::NoPair {
        field: shown.to_owned(),
    })
}

/// A field's key and value.
pub(super) fn pair(field: &str) -> Result<(&str, &str), EntryError> {
    field.split_once('=').ok_or_else(|| EntryError::NoPair {
        field: field.to_owned(),
    })
}

/// A field's value as a boolean, by Go's words.
pub(super) fn boolean(key: &str, value: &str) -> Result<bool, EntryError> {
    crate::golang::strconv::parse_bool(value).ok_or_else(|| EntryError::NoBool {
        key: key.to_owned(),
        value: value.to_owned(),
    })
}
