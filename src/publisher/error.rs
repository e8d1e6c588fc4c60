//! Errors of publishing.

use crate::publish::compare::ManifestError;
use crate::publish::journal::artifact::ArtifactError;
use crate::publish::journal::file::JournalFileError;
use crate::publish::journal::{JournalEventError, RunId};
use crate::registry::{CopyError, RegistryError, TagRemovalError};
use crate::types::{Digest, ImageRepository};

/// Publishing failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// A request to a registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The journal on this machine cannot be written, so the change must not be made.
    #[error(transparent)]
    Journal(#[from] JournalFileError),
    /// A step does not fit the journal.
    #[error("cannot record a change")]
    Record(#[from] JournalEventError),
    /// The system has no random numbers.
    #[error("cannot make a name for the run")]
    Random(#[source] getrandom::Error),
    /// The journal does not fit into a registry.
    #[error("cannot record the run in the registry")]
    Artifact(#[from] ArtifactError),
    /// The registry does not have an image that was pushed to it.
    #[error("`{repository}@{digest}` is not in the registry, although it was pushed")]
    Missing {
        /// The repository.
        repository: ImageRepository,
        /// The image.
        digest: Digest,
    },
    /// An image could not be copied.
    #[error("cannot copy an image")]
    Copy(#[from] CopyError),
    /// A copy is not complete, although all requests have succeeded.
    #[error("`{repository}@{digest}` is not what was copied")]
    NotCopied {
        /// The repository that should have the image.
        repository: ImageRepository,
        /// The image.
        digest: Digest,
    },
    /// The index of an image in the registry cannot be changed.
    #[error("cannot record the commit in the index of the image")]
    Index(#[from] ManifestError),
    /// A tag was not removed.
    #[error(transparent)]
    Untag(#[from] TagRemovalError),
    /// Somebody else has taken the run back.
    #[error("another command has taken run {0} back in the meantime")]
    TakenBack(RunId),
    /// Another command moves tags to the images of the run that is to be taken back.
    #[error("run {by} moves tags to the images of run {run}")]
    BeingMoved {
        /// The run that is to be taken back.
        run: RunId,
        /// The promotion or rollback.
        by: RunId,
    },
    /// An immutable tag that was to be set points to another image, which somebody else has set at the same time.
    #[error("`{tag}` is immutable, and somebody else has set it at the same time")]
    ImmutableTaken {
        /// The tag.
        tag: String,
    },
    /// Other runs move the same tags so often that no end was found.
    #[error("other runs keep moving the tags of `{repository}`")]
    Contended {
        /// The repository.
        repository: ImageRepository,
    },
}

impl PublishError {
    /// Whether the same may succeed later, without a change by the user.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Registry(error) | Self::Copy(CopyError::Request(error)) => {
                error.is_transient() || error.is_stop()
            }
            Self::Untag(error) => error
                .request()
                .is_some_and(|error| error.is_transient() || error.is_stop()),
            Self::Contended { .. } => true,
            _ => false,
        }
    }

    /// What the user can do about it, beside repeating the command. `None` if nothing is known that helps.
    pub(crate) fn help(&self) -> Option<&'static str> {
        match self {
            Self::Untag(error) => error.help(),
            Self::TakenBack(_) => Some("build again"),
            Self::ImmutableTaken { .. } => Some(
                "the other tags of this copy are taken back; name another tag: `--to REPOSITORY:TAG`",
            ),
            Self::BeingMoved { .. } => Some(
                "wait until the other run has ended; `rbake resume` ends one that was killed, and `rbake promote` again records one that has ended",
            ),
            _ => None,
        }
    }
}
