//! Plans for programs.

use serde_json::{Value, json};

use super::text::kind_name;
use super::work::PlannedPrune;
use crate::prune::plan::PruneAct;

/// The plan for one repository.
pub(super) fn of_plan(planned: &PlannedPrune) -> Value {
    let plan = &planned.plan;
    let steps = plan.steps().iter().map(|step| {
        let tags = step.tags.iter();
        let tags =
            tags.map(|(tag, reason)| json!({"tag": tag.as_str(), "why": reason.to_string()}));
        json!({
            "act": match step.act {
                PruneAct::RemoveTag(_) => "untag",
                PruneAct::DeleteManifest => "delete",
            },
            "digest": step.digest.as_str(),
            "kind": kind_name(step.kind),
            "why": step.reason().to_string(),
            "tags": tags.collect::<Vec<_>>(),
        })
    });
    let kept_tags = plan.kept_tags().iter().map(|(tag, (digest, reason))| {
        json!({"tag": tag.as_str(), "digest": digest.as_str(), "why": reason.to_string()})
    });
    let kept = plan.kept().keys().map(|digest| {
        let chain = plan.why(digest);
        let why = chain.iter().map(|(_, reason)| reason.to_string());
        json!({"digest": digest.as_str(), "why": why.collect::<Vec<_>>()})
    });
    json!({
        "repository": planned.repository.to_string(),
        "plan": plan.digest().as_str(),
        "steps": steps.collect::<Vec<_>>(),
        "keptTags": kept_tags.collect::<Vec<_>>(),
        "keptManifests": kept.collect::<Vec<_>>(),
        "freed": plan.freed(),
        "cacheBytes": plan.cache_bytes(),
        "openRun": plan.lease().map(ToString::to_string),
        "listsManifests": planned.lists_manifests,
        "obstacle": planned.obstacle.as_ref().map(|obstacle| &obstacle.reason),
    })
}
