//! Why a plan is not made or not carried out.

use crate::types::{Digest, ImageTag};

/// A plan cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PruneRefusal {
    /// Something in the repository cannot be read. [`RepositoryState::closed`] says what.
    ///
    /// [`RepositoryState::closed`]: crate::prune::graph::RepositoryState::closed
    #[error("nothing may be deleted, because not everything in the repository can be read")]
    Closed,
    /// A digest that must stay was not read.
    #[error("the locked digest `{0}` was not looked up")]
    UnreadRoot(Digest),
}

/// A plan, or a step of it, must not be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StalePlan {
    /// The repository changed since the plan was made.
    #[error("the repository has changed since the plan was made; make a new plan")]
    Changed,
    /// It can no longer be read completely.
    #[error("the repository can no longer be read completely")]
    Closed,
    /// A tag has moved, or is gone.
    #[error("the tag `{0}` has moved since the plan was made")]
    TagMoved(ImageTag),
    /// A manifest has got a tag.
    #[error("the tag `{tag}` was set to `{digest}` since the plan was made")]
    NewTag {
        /// The tag.
        tag: ImageTag,
        /// The manifest that would have been deleted.
        digest: Digest,
    },
    /// Something that stays leads to the manifest now.
    #[error("`{0}` is needed since the plan was made")]
    Needed(Digest),
    /// The registry would delete the manifest with this tag, because its other tags are gone.
    #[error("`{0}` would be deleted with its last tag")]
    LastTag(Digest),
}

/// The plan deletes more than the user allows without a second flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the plan deletes {deleted} of {total} manifests, which is more than {allowed} % (`--max-delete {needed}` allows it)"
)]
pub(crate) struct TooManyDeletions {
    /// The number of manifests that go.
    pub(crate) deleted: usize,
    /// The number of manifests.
    pub(crate) total: usize,
    /// The limit, in percent.
    pub(crate) allowed: u8,
    /// The limit that would allow the plan, in percent.
    pub(crate) needed: u8,
}
