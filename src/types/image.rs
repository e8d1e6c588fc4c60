//! The names of images as users write them, read once.
//!
//! What a user wrote goes to the daemon as it is; what it means is its [`Reference`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Reference;
use super::reference::InvalidReference;

/// The name of an image: what a user wrote, and the reference that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    text: Arc<str>,
    reference: Reference,
}

impl ImageName {
    /// The name as it is written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// What it means.
    pub(crate) fn reference(&self) -> &Reference {
        &self.reference
    }
}

impl FromStr for ImageName {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let reference = text.parse()?;
        Ok(Self {
            text: text.into(),
            reference,
        })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The image that a named context takes its files from.
///
/// The daemon reads it only if the Dockerfile uses the context, so that a text that is not a reference is not an error here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextImage {
    text: Arc<str>,
    reference: Option<Reference>,
}

impl ContextImage {
    /// The image that `text` names.
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            reference: text.parse().ok(),
        }
    }

    /// The name as it is written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// What it means; `None` if it is not a reference.
    pub(crate) fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }
}
