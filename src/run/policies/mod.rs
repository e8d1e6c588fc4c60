//! Policies in Rego: finds the files of a target's policies, and has its session decide about sources by them.
//!
//! [`find`] looks at this machine before any work, and reports what is missing there. What is in a remote context is read when the
//! target is built: [`Judge::load`].

mod digests;
mod found;
mod judge;
mod local;
mod log;
mod merged;
mod remote;

use std::sync::Arc;

pub(super) use found::find;
pub(super) use judge::Judge;
pub(super) use merged::MergedJudge;
pub(super) use remote::RemoteContexts;

/// The policies of a target, as far as they are known before it is built. Clones share their state.
#[derive(Debug, Clone, Default)]
pub(super) struct TargetPolicies(Option<Arc<found::FoundPolicies>>);

impl TargetPolicies {
    /// Whether the target may have a policy.
    pub(super) const fn are_possible(&self) -> bool {
        self.0.is_some()
    }
}
