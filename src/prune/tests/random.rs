//! What holds for every repository and every policy.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::generate::{policy, push, registry, repository};
use super::simulator::{Pushed, SimulatedRepository, now, tag};
use super::{losses, request};
use crate::prune::plan::{
    DeletionTraits, PruneAct, PrunePlan, PruneProgress, StalePlan, StepOutcome, plan,
};
use crate::prune::policy::{PruneRequest, RetentionPolicy};
use crate::publish::journal::artifact;
use crate::types::Digest;

/// Everything that must be there for the tags and manifests that `made` keeps, by what the bytes in `before` say. It
/// uses none of the code that plans.
fn needed(before: &SimulatedRepository, made: &PrunePlan) -> BTreeSet<Digest> {
    let mut open: Vec<Digest> = made.kept().keys().cloned().collect();
    open.extend(made.kept_tags().values().map(|(digest, _)| digest.clone()));
    let mut found = BTreeSet::new();
    while let Some(digest) = open.pop() {
        let Some(pushed) = before.manifests.get(&digest) else {
            continue;
        };
        if !found.insert(digest.clone()) {
            continue;
        }
        open.extend(before.children(&digest));
        open.extend(before.referrers(&digest));
        let subject = pushed.json()["subject"]["digest"]
            .as_str()
            .map(str::to_owned);
        open.extend(subject.map(|subject| subject.parse().unwrap()));
        for (companion, _, to) in companions(before, &digest) {
            assert!(
                made.kept_tags().contains_key(&tag(&companion)),
                "{companion}"
            );
            open.push(to);
        }
    }
    found
}

/// The companion tags of `digest`, with where they point.
fn companions(before: &SimulatedRepository, digest: &Digest) -> Vec<(String, Digest, Digest)> {
    let start = format!("sha256-{}", digest.hex());
    let tags = before.tags.iter();
    let tags = tags.filter(|(tag, _)| tag.as_str().starts_with(&start));
    tags.map(|(tag, to)| (tag.to_string(), digest.clone(), to.clone()))
        .collect()
}

/// Checks that all that is needed is there, and that no manifest names one that is gone.
fn check_whole(
    before: &SimulatedRepository,
    after: &SimulatedRepository,
    made: &PrunePlan,
    needed: &BTreeSet<Digest>,
) {
    for (tag, (digest, reason)) in made.kept_tags() {
        assert_eq!(after.tags.get(tag), Some(digest), "{tag}: {reason}");
    }
    for digest in needed {
        let is_same = after.manifests.get(digest) == before.manifests.get(digest);
        assert!(is_same, "{digest} is gone: {:?}", made.kept().get(digest));
    }
    for (digest, pushed) in &after.manifests {
        let mut named = after.children(digest);
        let subject = pushed.json()["subject"]["digest"]
            .as_str()
            .map(str::to_owned);
        named.extend(subject.map(|subject| subject.parse().unwrap()));
        for child in named
            .iter()
            .filter(|child| before.manifests.contains_key(child))
        {
            assert!(after.manifests.contains_key(child), "{digest} lost {child}");
        }
    }
}

/// Checks rules of the policy by themselves.
fn check_policy(before: &SimulatedRepository, request: &PruneRequest, made: &PrunePlan) {
    let keeps = |name: &str| made.kept_tags().contains_key(&tag(name));
    let young = |pushed: &Pushed| {
        let created = pushed.json()["annotations"]["org.opencontainers.image.created"]
            .as_str()
            .and_then(|text| text.parse().ok());
        let time: Option<jiff::Timestamp> = created.max(pushed.uploaded);
        time.is_some_and(|time| now().duration_since(time).as_hours() < 24)
    };
    for (digest, pushed) in &before.manifests {
        assert!(!young(pushed) || made.kept().contains_key(digest));
    }
    match &request.policy {
        RetentionPolicy::Images(policy) => {
            let has_latest = before.tags.contains_key(&tag("latest"));
            assert!(!has_latest || policy.keep.is_empty() || keeps("latest"));
            let caches = before
                .tags
                .keys()
                .filter(|tag| tag.as_str().starts_with("cache-"));
            assert!(caches.into_iter().all(|cache| keeps(cache.as_str())));
        }
        RetentionPolicy::Caches(_) => {
            let is_other = |name: &str| name.starts_with('v') || name.starts_with("rbake");
            for (tag, digest) in &before.tags {
                let content = before.manifests[digest].json();
                let is_cache = content["config"]["mediaType"]
                    .as_str()
                    .is_some_and(|text| text.contains("cacheconfig"));
                assert!(is_cache || !is_other(tag.as_str()) || keeps(tag.as_str()));
                let is_main = content["annotations"]["vnd.rbake.cache.branch"] == "main";
                assert!(!is_main || tag.as_str().starts_with("sha256-") || keeps(tag.as_str()));
            }
        }
    }
    // What the records that stay name stays, too.
    let tags = made.kept_tags().iter();
    for (tag, (digest, _)) in tags.filter(|(tag, _)| tag.as_str().starts_with("rbake-run-")) {
        if let Ok(journal) = artifact::decode(&before.manifests[digest].bytes) {
            for entry in journal.journal.entries.values() {
                for name in entry.was.iter().chain([&entry.to]) {
                    let is_here = before.manifests.contains_key(name);
                    assert!(!is_here || made.kept().contains_key(name), "{tag}: {name}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn everything_that_stays_is_whole_wherever_the_plan_ends(
        pushes in prop::collection::vec(push(), 1..40),
        policy in policy(),
        traits in registry(),
        stop in any::<prop::sample::Index>(),
    ) {
        let before = repository(&pushes, traits);
        let request = request(policy);
        let state = before.read();
        prop_assume!(state.closed().is_empty());
        let made = plan(&state, &request, traits).unwrap();
        // Equal input gives an equal plan.
        let again = plan(&before.read(), &request, traits).unwrap();
        prop_assert_eq!(&made, &again);
        prop_assert_eq!(made.digest(), again.digest());
        check_policy(&before, &request, &made);
        let needed = needed(&before, &made);
        prop_assert!(needed.iter().all(|digest| made.kept().contains_key(digest)));

        let mut after = before.clone();
        let stop = stop.index(made.steps().len() + 1);
        for (number, step) in made.steps().iter().enumerate() {
            if number == stop {
                // Killed, and begun again from a new plan.
                let mut rest = after.clone();
                if let (PruneAct::RemoveTag(tag), false) = (&step.act, number % 2 == 0)
                    && traits == DeletionTraits::GHCR
                {
                    rest.replace(&made, tag);
                }
                let state = rest.read();
                prop_assert!(state.closed().is_empty(), "{:?}", state.closed());
                let second = plan(&state, &request, traits).unwrap();
                for step in second.steps() {
                    rest.apply(&second, step);
                    check_whole(&before, &rest, &made, &needed);
                }
            }
            let fresh = after.read();
            let allowed = made.recheck(&fresh, &request.roots).unwrap().allows(step);
            prop_assert_eq!(allowed, Ok(()));
            after.apply(&made, step);
            check_whole(&before, &after, &made, &needed);
        }
        prop_assert_eq!(losses(&made, &after.read()), [].into());
        if traits.deletes_manifests() {
            let left: BTreeSet<_> = after.manifests.keys().cloned().collect();
            let kept: BTreeSet<_> = made.kept().keys().cloned().collect();
            prop_assert_eq!(left, kept);
        }
        // A second run finds nothing more: what the first one kept was not kept by chance.
        let second = plan(&after.read(), &request, traits).unwrap();
        prop_assert_eq!(second.steps(), []);
    }

    #[test]
    fn nothing_is_deleted_from_a_repository_with_a_broken_manifest(
        pushes in prop::collection::vec(push(), 1..20),
        policy in policy(),
        traits in registry(),
        broken in any::<prop::sample::Index>(),
        how in 0..3,
    ) {
        let mut repository = repository(&pushes, traits);
        prop_assume!(!repository.manifests.is_empty());
        let place = broken.index(repository.manifests.len());
        let digest = repository.manifests.keys().nth(place).unwrap().clone();
        let pushed = repository.manifests.get_mut(&digest).unwrap();
        match how {
            0 => drop(repository.broken.insert(digest)),
            1 => pushed.media_type = "application/vnd.example+json".to_owned(),
            _ => drop(pushed.bytes.pop()),
        }
        let state = repository.read();
        prop_assert!(!state.closed().is_empty());
        prop_assert!(plan(&state, &request(policy), traits).is_err());
    }

    #[test]
    fn a_plan_for_a_repository_that_changed_is_refused(
        pushes in prop::collection::vec(push(), 1..20),
        policy in policy(),
        traits in registry(),
        change in push(),
    ) {
        let before = repository(&pushes, traits);
        let request = request(policy);
        let state = before.read();
        prop_assume!(state.closed().is_empty());
        let made = plan(&state, &request, traits).unwrap();
        let mut all = pushes;
        all.push(change);
        let after = repository(&all, traits);
        let result = made.check_unchanged(&after.read());
        prop_assert_eq!(result.is_err(), after != before);
        if result.is_err() {
            prop_assert_eq!(result, Err(StalePlan::Changed));
        }
    }

    #[test]
    fn no_step_deletes_what_a_change_after_the_plan_needs(
        pushes in prop::collection::vec(push(), 1..30),
        policy in policy(),
        traits in registry(),
        changes in prop::collection::vec(push(), 1..4),
        failures in prop::collection::vec(any::<bool>(), 40),
    ) {
        let before = repository(&pushes, traits);
        let request = request(policy);
        let state = before.read();
        prop_assume!(state.closed().is_empty());
        let made = plan(&state, &request, traits).unwrap();
        let mut all = pushes;
        all.extend(changes);
        let changed = repository(&all, traits);
        prop_assume!(changed.read().closed().is_empty());
        let mut after = changed.clone();
        let mut progress = PruneProgress::new(&made);
        let mut failures = failures.into_iter();
        while let Some(step) = progress.next_step() {
            let fresh = after.read();
            let recheck = made.recheck(&fresh, &request.roots).unwrap();
            let outcome = if recheck.allows(step).is_err() {
                StepOutcome::Refused
            } else if failures.next().unwrap_or_default() {
                StepOutcome::Failed
            } else {
                after.apply(&made, step);
                StepOutcome::Done
            };
            progress.record(outcome);
        }
        // All tags that are new or have moved are whole, with everything that belongs to them.
        let mut open: Vec<Digest> = Vec::new();
        for (tag, digest) in &changed.tags {
            if before.tags.get(tag) != Some(digest) {
                prop_assert_eq!(after.tags.get(tag), Some(digest));
                open.push(digest.clone());
            }
        }
        let mut seen = BTreeSet::new();
        while let Some(digest) = open.pop() {
            if changed.manifests.contains_key(&digest) && seen.insert(digest.clone()) {
                prop_assert!(after.manifests.contains_key(&digest), "{}", digest);
                open.extend(changed.children(&digest));
                open.extend(changed.referrers(&digest));
            }
        }
        prop_assert_eq!(progress.tally().left, 0);
    }

    #[test]
    fn a_registry_that_lists_only_tags_loses_nothing_that_stays(
        pushes in prop::collection::vec(push(), 1..30),
        policy in policy(),
    ) {
        let traits = DeletionTraits::DISTRIBUTION_2;
        let before = repository(&pushes, traits);
        let state = before.read_by_tags();
        prop_assume!(state.closed().is_empty());
        let made = plan(&state, &request(policy), traits).unwrap();
        let mut after = before.clone();
        for step in made.steps() {
            after.apply(&made, step);
        }
        for digest in needed(&before, &made) {
            prop_assert!(after.manifests.contains_key(&digest), "{}", digest);
        }
    }
}
