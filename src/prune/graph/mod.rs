//! The content of a repository, and where its manifests lead.
//!
//! Start at [`RepositoryReading`], which the caller fills.

mod ages;
mod companion;
mod content;
mod keep;
mod links;
mod members;
mod state;
#[cfg(test)]
mod tests;

use crate::types::{Digest, ImageTag};

pub(crate) use ages::{ManifestAges, is_younger};
pub(crate) use content::{
    ManifestKind, ManifestSource, RunRecord, StoredManifest, UnreadableManifest,
};
pub(crate) use keep::{KeepReason, KeptContent};
pub(crate) use links::RepositoryGraph;
pub(crate) use state::{RepositoryReading, RepositoryState};

#[cfg(test)]
pub(crate) use {content::PLACEHOLDER_TYPE, links::LinkKind};

/// Why nothing may be deleted from a repository.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClosedReason {
    /// A manifest cannot be read.
    #[error("cannot read the manifest `{0}`")]
    Unreadable(Digest, #[source] UnreadableManifest),
    /// Something leads to a manifest that was not read.
    #[error("the manifest `{0}` was not read")]
    Unread(Digest),
    /// A tag points to a manifest that does not exist.
    #[error("the manifest of the tag `{0}` does not exist")]
    Dangling(ImageTag),
    /// The tag moved while the repository was read.
    #[error("the tag `{0}` moved while the repository was read")]
    Moved(ImageTag),
    /// The record of a run cannot be read, so that it is not known what it needs.
    #[error("the record of a run with the tag `{0}` cannot be read")]
    Record(ImageTag),
    /// There is more than rbake can handle.
    #[error("the repository is too large")]
    TooLarge,
}
