//! What the text and object forms of attributes have in common: reading fields, and the errors.

use std::collections::BTreeMap;

use super::SharedText;
use crate::golang::csv::{self, CsvError};
use crate::types::secret::redact_fields;

/// Fields that rbake does not interpret and passes on unchanged, by name.
pub(crate) type Attrs = BTreeMap<SharedText, SharedText>;

/// Why a text or object is not a valid entry of its attribute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    /// The text is not a valid CSV record.
    #[error("`{text}` is not a valid list of comma-separated fields: {source}")]
    Csv {
        /// The text, without values that may be secret.
        text: String,
        /// The error of the CSV reader.
        source: CsvError,
    },
    /// A field without `=`.
    #[error("`{field}` must have the form `key=value`")]
    NoPair {
        /// The field, or `xxxxx` if it may be part of a secret.
        field: String,
    },
    /// A single word instead of `key=value` fields.
    #[error("`{word}` alone is not a valid entry of this list")]
    Bare {
        /// The word.
        word: String,
        /// The entry that the user probably meant.
        meant: String,
    },
    /// The mode of provenance without its key.
    #[error("`{word}` must have the form `key=value`")]
    BareMode {
        /// The mode.
        word: String,
        /// The field that the user probably meant.
        meant: String,
    },
    /// The required `type` field is missing or empty.
    #[error("a `type` is required")]
    NoType,
    /// A boolean field has another value.
    #[error("`{key}` must be a boolean, but is `{value}`")]
    NoBool {
        /// The field's key.
        key: String,
        /// The field's value.
        value: String,
    },
    /// An integer field has another value.
    #[error("`{key}` must be a whole number, but is `{value}`")]
    NoInteger {
        /// The field's key.
        key: String,
        /// The field's value.
        value: String,
    },
    /// The attribute has no field with this key.
    #[error("`{key}` is not a valid key here")]
    UnknownKey {
        /// The unknown key.
        key: String,
        /// The valid keys.
        known: &'static [&'static str],
    },
    /// The field accepts only certain words.
    #[error("`{value}` is not a valid value of `{key}`")]
    UnknownValue {
        /// The field's key.
        key: &'static str,
        /// The field's value.
        value: String,
        /// The valid values.
        known: &'static [&'static str],
    },
    /// The value that replaces a secret's source contains the id of another secret.
    #[error("the new source of secret `{declared}` has the id of another secret, `{given}`")]
    OtherId {
        /// The secret whose source is set.
        declared: String,
        /// The id in the value.
        given: String,
    },
    /// A field that must not be empty is empty.
    #[error("`{key}` must not be empty")]
    EmptyValue {
        /// The field's key.
        key: &'static str,
    },
}

impl EntryError {
    /// What may be misspelled (`a key` or `a value`), its text, and the valid texts, for a suggestion.
    pub(crate) fn misspelling(&self) -> Option<(&'static str, &str, &'static [&'static str])> {
        match self {
            Self::UnknownKey { key, known } => Some(("a key", key, known)),
            Self::UnknownValue { value, known, .. } => Some(("a value", value, known)),
            _ => None,
        }
    }
}

impl EntryError {
    /// The entry that the user probably meant, if that is known.
    pub(crate) fn meant(&self) -> Option<&str> {
        match self {
            Self::Bare { meant, .. } | Self::BareMode { meant, .. } => Some(meant),
            _ => None,
        }
    }
}

/// Splits the text form of an entry into its fields.
pub(super) fn fields(text: &str) -> Result<Vec<std::borrow::Cow<'_, str>>, EntryError> {
    csv::fields(text).map_err(|source| EntryError::Csv {
        text: redact_fields(text),
        source,
    })
}

/// Splits a field into key and value. `text` is the whole entry. If it contains a secret, the error does not show
/// the field: it may be the second half of a secret value with an unquoted comma.
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

/// Splits a field into key and value. The error shows the field, so the entry must not be able to hold secrets.
pub(super) fn pair(field: &str) -> Result<(&str, &str), EntryError> {
    field.split_once('=').ok_or_else(|| EntryError::NoPair {
        field: field.to_owned(),
    })
}

/// Parses the value of a boolean field with the spellings that Go accepts.
pub(super) fn boolean(key: &str, value: &str) -> Result<bool, EntryError> {
    crate::golang::strconv::parse_bool(value).ok_or_else(|| EntryError::NoBool {
        key: key.to_owned(),
        value: value.to_owned(),
    })
}
