//! Decides about the sources of a job that repeats the steps of several targets, to export their caches.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::TargetPolicies;
use super::found::FoundPolicies;
use crate::engine::session::SourceJudge;
use crate::engine::spec::JudgedSources;
use crate::types::build_source::{SourceAnswer, SourceDecision, SourceFacts};

/// Repeats what the policies of the targets have decided: they may decide differently, and one must not deny what another uses.
pub(in crate::run) struct MergedJudge {
    policies: Vec<Arc<FoundPolicies>>,
    /// Whether targets without policies are part of the job.
    has_free: bool,
}

impl MergedJudge {
    /// The judge of a job of targets with these `policies`. `None` if none has any.
    pub(in crate::run) fn of<'p>(
        policies: impl IntoIterator<Item = &'p TargetPolicies>,
    ) -> Option<Self> {
        let mut judge = Self {
            policies: Vec::new(),
            has_free: false,
        };
        for policies in policies {
            match &policies.0 {
                Some(found) => judge.policies.push(Arc::clone(found)),
                None => judge.has_free = true,
            }
        }
        (!judge.policies.is_empty()).then_some(judge)
    }

    /// What the job decides about.
    pub(in crate::run) fn judged(&self) -> JudgedSources {
        let mut policies = self.policies.iter();
        if policies.any(|found| found.proxy_network.load(Ordering::Relaxed)) {
            JudgedSources::SourcesAndDownloads
        } else {
            JudgedSources::Sources
        }
    }
}

#[tonic::async_trait]
impl SourceJudge for MergedJudge {
    async fn judge(&self, facts: SourceFacts) -> Result<SourceAnswer, String> {
        let decided = self
            .policies
            .iter()
            .filter_map(|found| found.decided(&facts));
        let decided: Vec<SourceDecision> = decided.collect();
        let converted = decided
            .iter()
            .find(|decision| matches!(decision, SourceDecision::Convert(_)));
        let decision = match converted {
            Some(converted) => converted.clone(),
            None if self.has_free || !decided.is_empty() => SourceDecision::Allow,
            None => {
                let reason = "no target has used this source";
                SourceDecision::Deny(vec![reason.to_owned()])
            }
        };
        Ok(SourceAnswer::Decided(decision))
    }
}
