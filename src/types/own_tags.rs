//! The tags under which rbake keeps its own records in the repositories of images.

/// What the tags of the records of runs begin with.
pub(crate) const RUN_PREFIX: &str = "rbake-run-";
/// What the tags of the leases of prunes begin with.
pub(crate) const PRUNE_PREFIX: &str = "rbake-prune-";

/// Whether an image under `tag` would replace such a record.
pub(crate) fn is_own(tag: &str) -> bool {
    tag.starts_with(RUN_PREFIX) || tag.starts_with(PRUNE_PREFIX)
}
