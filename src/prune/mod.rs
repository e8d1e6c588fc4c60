//! What rbake may delete from a repository, and in which order.
//!
//! Pure logic without any request. The caller reads a repository, asks for a plan, shows it, and carries it out; what
//! the registry says is not trusted.
//!
//! The model:
//!
//! * A repository is a graph of manifests ([`graph`]). An index leads to its children; a manifest leads to its subject
//!   and to all that refer to it, by the subject or by a companion tag such as `sha256-….sig`. If one manifest cannot
//!   be read, the repository is closed: nothing in it is deleted, because nobody knows where that manifest leads.
//! * A policy ([`policy`]) decides which tags stay. These, the digests that the user locks, the records of runs and
//!   the digests that they name, and everything young are the roots.
//! * All that a root leads to is kept. The rest is deleted, parents before their children, so that a plan that ends in
//!   the middle leaves nothing broken that is kept ([`plan`]).
//! * A plan is valid for the repository that was read. If the repository has changed since, the plan is refused, and
//!   each deletion is checked once more right before it.
//! * Registries differ only in [`plan::DeletionTraits`].

pub(crate) mod graph;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod record;
#[cfg(test)]
mod tests;
