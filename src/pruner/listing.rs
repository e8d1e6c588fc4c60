//! What a registry tells about all manifests of a repository, if it lists them.

use jiff::Timestamp;

/// A manifest in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedManifest {
    /// When the registry received it, or its tags changed.
    pub(crate) uploaded: Timestamp,
}
