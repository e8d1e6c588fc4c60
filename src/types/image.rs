//! Names of images, parsed once.
//!
//! The daemon gets the text that the user wrote. Its meaning is the parsed [`Reference`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Reference;
use super::reference::InvalidReference;

/// The name of an image: the text that the user wrote, and the reference that it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    text: Arc<str>,
    reference: Reference,
}

impl ImageName {
    /// The text that the user wrote.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The parsed reference.
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

/// The image from which a named context takes its files.
///
/// The daemon looks at it only if the Dockerfile uses the context. So here it is not an error if the text is not a
/// reference.
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

    /// The text that the user wrote.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The parsed reference. `None` if the text is not a reference.
    pub(crate) fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }
}
