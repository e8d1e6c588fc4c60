//! Plans and results for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::work::PlannedPrune;
use crate::prune::graph::ManifestKind;
use crate::prune::plan::{PruneAct, PruneStep, PruneTally, StepOutcome};
use crate::pruner::EndedStep;
use crate::publish::journal::RunId;
use crate::types::{Digest, ImageRepository};

/// The tags with the same reason that are named before the others are counted.
const NAMED: usize = 3;

/// The plan for one repository.
pub(super) fn of_plan(planned: &PlannedPrune) -> String {
    let plan = &planned.plan;
    let name = planned.repository.familiar();
    let removed: usize = plan.steps().iter().map(|step| step.tags.len()).sum();
    let (kept, lost) = (plan.kept_tags().len(), plan.lost().len());
    // Writing to a string cannot fail.
    let mut text = String::new();
    if plan.steps().is_empty() {
        let _ = writeln!(text, "{name}: nothing to delete");
    } else {
        let what = if plan.traits().deletes_manifests() {
            format!("{lost} of {} manifests", lost + plan.kept().len())
        } else {
            "no manifests".to_owned()
        };
        let _ = writeln!(
            text,
            "{name}: {removed} of {} tags and {what} go, which frees up to {}",
            removed + kept,
            size(plan.freed())
        );
    }
    let tags: BTreeMap<_, _> = plan
        .steps()
        .iter()
        .flat_map(|step| {
            let tags = step.tags.iter();
            tags.map(|(tag, reason)| (tag, (reason, &step.digest)))
        })
        .collect();
    for (tag, (reason, digest)) in tags {
        let _ = writeln!(text, "  - {tag}  {} ({reason})", short(digest));
    }
    let untagged = plan.steps().iter().filter(|step| step.tags.is_empty());
    for (kind, count) in by_kind(untagged) {
        let _ = writeln!(text, "  - {count} without a tag: {kind}");
    }
    for (reason, tags) in by_reason(planned) {
        let named = tags.iter().take(NAMED).copied().collect::<Vec<_>>();
        let named = named.join(", ");
        let more = tags.len().saturating_sub(NAMED);
        let rest = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let _ = writeln!(text, "  = {named}{rest} ({reason})");
    }
    if let Some(bytes) = plan.cache_bytes() {
        let _ = writeln!(text, "  the caches that stay have {}", size(bytes));
    }
    if let Some(run) = plan.lease() {
        let _ = writeln!(
            text,
            "  nothing younger than run {run} is deleted, because it has not ended"
        );
    }
    if !planned.lists_manifests {
        text += "  not seen: manifests that no tag leads to, because this registry does not list them\n";
    }
    text
}

/// How the steps ended.
pub(super) fn of_steps(
    repository: &ImageRepository,
    run: &RunId,
    steps: &[EndedStep],
    tally: PruneTally,
) -> String {
    let mut text = String::new();
    for ended in steps.iter().filter(|ended| ended.why.is_some()) {
        let how = match ended.outcome {
            StepOutcome::Refused => "stays",
            _ => "failed",
        };
        let why = ended.why.as_deref().unwrap_or_default();
        let _ = writeln!(text, "  {} {how}: {why}", step_name(&ended.step));
    }
    if tally.blocked > 0 {
        let _ = writeln!(
            text,
            "  {} stay, because something that leads to them does",
            manifests(tally.blocked)
        );
    }
    let done = steps
        .iter()
        .filter(|ended| matches!(ended.outcome, StepOutcome::Done | StepOutcome::AlreadyGone));
    let (mut tags, mut deleted) = (0, 0);
    for ended in done {
        tags += ended.step.tags.len();
        deleted += usize::from(ended.step.act == PruneAct::DeleteManifest);
    }
    let left = tally.failed + tally.refused + tally.blocked + tally.left;
    let rest = if left > 0 {
        format!(", {left} left")
    } else {
        String::new()
    };
    let tag = if tags == 1 { "tag" } else { "tags" };
    let _ = writeln!(
        text,
        "prune {run} of {}: {tags} {tag} and {} deleted{rest}",
        repository.familiar(),
        manifests(deleted)
    );
    text
}

fn manifests(count: usize) -> String {
    let noun = if count == 1 { "manifest" } else { "manifests" };
    format!("{count} {noun}")
}

fn step_name(step: &PruneStep) -> String {
    match &step.act {
        PruneAct::RemoveTag(tag) => tag.to_string(),
        PruneAct::DeleteManifest => match step.tags.keys().next() {
            Some(tag) => format!("{tag} ({})", short(&step.digest)),
            None => short(&step.digest),
        },
    }
}

/// A digest as people recognise it.
pub(super) fn short(digest: &Digest) -> String {
    let hex: String = digest.hex().chars().take(12).collect();
    format!("{}:{hex}…", digest.algorithm())
}

fn by_kind<'a>(steps: impl Iterator<Item = &'a PruneStep>) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for step in steps {
        *counts.entry(kind_name(step.kind)).or_default() += 1;
    }
    counts
}

/// The name of a kind.
pub(super) const fn kind_name(kind: ManifestKind) -> &'static str {
    match kind {
        ManifestKind::Image => "image",
        ManifestKind::Index => "index",
        ManifestKind::Cache => "cache",
        ManifestKind::Record => "record",
        ManifestKind::Placeholder => "placeholder",
    }
}

/// The tags that stay, by the reason, in the order of the reasons.
fn by_reason(planned: &PlannedPrune) -> BTreeMap<String, Vec<&str>> {
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (tag, (_, reason)) in planned.plan.kept_tags() {
        let tags = found.entry(reason.to_string()).or_default();
        tags.push(tag.as_str());
    }
    found
}

/// A size for people.
#[expect(
    clippy::cast_precision_loss,
    reason = "only three digits of the number are shown"
)]
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut number = bytes as f64;
    let mut unit = "";
    for next in UNITS {
        if number < 1024.0 {
            break;
        }
        number /= 1024.0;
        unit = next;
    }
    format!("{number:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
