//! Rules for images and for records of runs.

use serde_json::json;
use test_case::test_case;

use super::simulator::{
    MANIFEST, SimulatedRepository, attesting, descriptor, hours_ago, image_of, now, tag,
};
use super::{images, prune};
use crate::prune::graph::{KeepReason, LinkKind, ManifestKind};
use crate::prune::plan::{
    DeletionTraits, DeniedDeletion, MAX_DELETE, ManifestRemoval, PruneAct, PruneRefusal,
    TagRemoval, TaggedManifest, UntaggedManifest, plan,
};
use crate::prune::policy::{
    PruneRequest, RecordRetention, RemovalReason, RetentionPolicy, TagKeepReason,
};
use crate::publish::class::TagClass;
use crate::publish::journal::{
    EntryState, Journal, JournalEntry, JournalHeader, PublishedTag, RunOrigin, RunStatus, artifact,
};
use crate::types::Digest;

const OLD: i64 = 1000;

fn repository() -> SimulatedRepository {
    SimulatedRepository::new(DeletionTraits::DISTRIBUTION_3)
}

/// Pushes the record of a run that gave the tag `latest` to `to`.
fn record(
    repository: &mut SimulatedRepository,
    was: Option<&Digest>,
    to: &Digest,
    status: RunStatus,
    hours: i64,
) -> String {
    let started = hours_ago(hours);
    let run = started.strftime("%Y%m%dT%H%M%SZ-0a1b2c3d").to_string();
    let mut journal = Journal::new(JournalHeader {
        run: run.parse().unwrap(),
        started,
        origin: RunOrigin::Build,
        backwards: false,
        rbake: "0.1.0".to_owned(),
        revision: None,
    });
    journal.status = status;
    let entry = JournalEntry {
        class: TagClass::Mutable,
        was: was.cloned(),
        to: to.clone(),
        state: EntryState::Done,
    };
    let published = PublishedTag::parse("docker.io/a/b", "latest").unwrap();
    journal.entries.insert(published, entry);
    let content = artifact::encode(&journal, None).unwrap();
    let content = serde_json::from_slice(&content).unwrap();
    let digest = repository.push(MANIFEST, &content, None);
    let name = artifact::tag_of(&journal.header.run);
    repository.tag(&name, &digest);
    name
}

fn with_records(mut request: PruneRequest, newest: usize) -> PruneRequest {
    if let RetentionPolicy::Images(policy) = &mut request.policy {
        policy.records = RecordRetention {
            newest,
            ..RecordRetention::default()
        };
    }
    request
}

#[test]
fn records_of_the_last_runs_keep_what_they_name() {
    let mut repository = repository();
    let releases = [1, 2, 3].map(|number| {
        let image = repository.image(&format!("release {number}"), OLD + 10 - number);
        repository.index(&[descriptor(&image, MANIFEST)], OLD + 10 - number)
    });
    repository.tag("latest", &releases[2]);
    let complete = RunStatus::Complete;
    let first = record(&mut repository, None, &releases[0], complete, OLD + 9);
    let second = record(
        &mut repository,
        Some(&releases[0]),
        &releases[1],
        complete,
        OLD + 8,
    );
    let third = record(
        &mut repository,
        Some(&releases[1]),
        &releases[2],
        complete,
        OLD + 7,
    );
    let request = with_records(images(&["latest"], "*", 0), 1);
    let made = prune(&mut repository, &request);
    // The last release can be taken back, to the one before it.
    assert_eq!(made.kept_tags()[&tag(&third)].1, TagKeepReason::Record);
    assert!(made.kept().contains_key(&releases[1]));
    assert!(made.lost().contains(&releases[0]));
    assert_eq!(made.lost().len(), 4, "a release and two records");
    for gone in [first, second] {
        assert!(!repository.tags.contains_key(&tag(&gone)));
    }
}

#[test_case(RunStatus::Open)]
#[test_case(RunStatus::Moving)]
#[test_case(RunStatus::Held)]
#[test_case(RunStatus::Undoing)]
fn a_run_that_has_not_ended_keeps_what_it_names_and_everything_younger(status: RunStatus) {
    let mut repository = repository();
    let was = repository.image("was", OLD + 100);
    let to = repository.image("to", OLD + 100);
    let older = repository.image("older", OLD + 1);
    let younger = repository.image("younger", OLD - 1);
    let name = record(&mut repository, Some(&was), &to, status, OLD);
    let made = prune(&mut repository, &with_records(images(&[], "*", 0), 0));
    assert_eq!(made.lost(), &[older].into());
    let run = artifact::run_of(&name).unwrap();
    assert_eq!(made.lease(), Some(&run));
    assert_eq!(made.kept()[&younger], KeepReason::Lease(run.clone()));
    assert_eq!(made.kept()[&was], KeepReason::Named(run));
}

#[test]
fn an_ended_run_is_not_a_lease_and_old_versions_of_its_record_go() {
    let mut repository = repository();
    let image = repository.image("image", OLD);
    record(&mut repository, None, &image, RunStatus::Moving, OLD);
    record(&mut repository, None, &image, RunStatus::Complete, OLD);
    let made = prune(&mut repository, &images(&[], "*", 0));
    assert_eq!(made.lease(), None);
    let kinds: Vec<_> = made.steps().iter().map(|step| step.kind).collect();
    assert_eq!(kinds, [ManifestKind::Record]);
    assert_eq!(repository.manifests.len(), 2);
}

#[test]
fn a_damaged_record_closes_the_repository() {
    let mut repository = repository();
    let image = repository.image("image", OLD);
    repository.tag("rbake-run-20261128T223000Z-0a1b2c3d", &image);
    let made = plan(&repository.read(), &images(&[], "*", 0), repository.traits);
    assert!(matches!(made, Err(PruneRefusal::Closed)));
}

#[test]
fn tags_without_a_rule_and_young_images_stay() {
    let mut repository = repository();
    let old = repository.image("old", OLD);
    let young = repository.image("young", 23);
    let unknown = repository.push(MANIFEST, &image_of("unknown", &[]), None);
    let future = repository.image("future", -100);
    for (name, image) in [
        ("other", &old),
        ("build-1", &young),
        ("build-2", &unknown),
        ("build-3", &future),
    ] {
        repository.tag(name, image);
    }
    let stray = repository.image("stray", 25);
    let untagged = repository.image("untagged", 23);
    let made = prune(&mut repository, &images(&[], "build-*", 0));
    assert_eq!(made.lost(), &[stray].into());
    let reason = |name: &str| made.kept_tags()[&tag(name)].1.clone();
    assert_eq!(reason("other"), TagKeepReason::NoRule);
    assert_eq!(reason("build-1"), TagKeepReason::Grace);
    assert_eq!(reason("build-2"), TagKeepReason::NoTime);
    assert_eq!(reason("build-3"), TagKeepReason::Grace);
    assert_eq!(made.kept()[&untagged], KeepReason::Grace);
}

#[test]
fn children_without_a_time_have_the_age_of_their_index() {
    let mut repository = repository();
    let child = repository.push(MANIFEST, &image_of("child", &[]), None);
    let index = repository.index(&[descriptor(&child, MANIFEST)], OLD);
    let signature = repository.push(MANIFEST, &image_of("signature", &[]), None);
    repository.tag("build-1", &index);
    repository.tag(&format!("sha256-{}.sig", index.hex()), &signature);
    let made = prune(&mut repository, &images(&[], "build-*", 0));
    assert_eq!(made.lost(), &[child, index, signature].into());
    assert_eq!(repository.tags.len(), 0);
}

#[test]
fn a_tag_is_not_judged_by_the_time_of_a_parent() {
    let mut repository = repository();
    let child = repository.push(MANIFEST, &image_of("child", &[]), None);
    let index = repository.index(&[descriptor(&child, MANIFEST)], OLD);
    repository.tag("build-1-amd64", &child);
    repository.tag("build-1", &index);
    let made = prune(&mut repository, &images(&[], "build-*", 0));
    assert_eq!(made.lost(), &[index].into());
    let (_, reason) = &made.kept_tags()[&tag("build-1-amd64")];
    assert_eq!(*reason, TagKeepReason::NoTime);
}

#[test]
fn a_group_with_fewer_images_than_it_keeps_loses_none() {
    let mut repository = repository();
    let oldest = repository.image("oldest", OLD + 1);
    repository.tag("build-1", &oldest);
    let newest = repository.image("newest", OLD);
    repository.tag("build-2", &newest);
    for (count, lost) in [(3, 0), (2, 0), (1, 1), (0, 2)] {
        let made = plan(
            &repository.read(),
            &images(&[], "build-*", count),
            repository.traits,
        );
        assert_eq!(made.unwrap().lost().len(), lost, "{count}");
    }
}

#[test]
fn the_last_tag_of_a_manifest_that_stays_is_not_a_companion_of_one_that_goes() {
    let mut repository = SimulatedRepository::new(DeletionTraits::ECR);
    let signed = repository.image("signed", OLD);
    let signature = repository.image("signature", OLD);
    repository.tag(&format!("sha256-{}.sig", signed.hex()), &signature);
    repository.tag("build-1", &signature);
    let mut request = images(&[], "build-*", 0);
    request.roots.locked = [signature].into();
    let made = prune(&mut repository, &request);
    assert_eq!(made.lost(), &[signed].into());
    let left: Vec<_> = made.kept_tags().iter().collect();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].1.1, TagKeepReason::LastTag);
    assert!(prune(&mut repository, &request).steps().is_empty());
}

#[test]
fn an_index_without_a_time_is_not_as_old_as_its_children() {
    let mut repository = repository();
    let child = repository.image("child", OLD);
    let content = json!({"manifests": [descriptor(&child, MANIFEST)]});
    let index = repository.push(super::simulator::INDEX, &content, None);
    let made = prune(&mut repository, &images(&[], "*", 0));
    assert_eq!(made.kept()[&index], KeepReason::NoTime);
    let chain = made.why(&child);
    assert_eq!(chain.len(), 2, "{chain:?}");
    assert_eq!(*chain[0].1, KeepReason::Linked(LinkKind::Child, index));
}

#[test]
fn a_kept_image_keeps_its_newest_attestations_but_not_those_of_older_indexes() {
    let mut repository = repository();
    let image = repository.image("image", OLD + 9);
    let mut indexes = Vec::new();
    for hours in [OLD, OLD + 1] {
        let attestation = repository.image(&format!("attestation {hours}"), hours);
        let children = [
            descriptor(&image, MANIFEST),
            attesting(&attestation, &image),
        ];
        indexes.push(repository.index(&children, hours));
    }
    // Whether the tag leads to the index, or to the image itself, which only the indexes attest.
    for tagged in [&indexes[0], &image] {
        let mut repository = repository.clone();
        repository.tag("v1", tagged);
        let request = images(&["v*"], "*", 0);
        let made = prune(&mut repository, &request);
        assert_eq!(made.lost().len(), 2);
        assert!(made.lost().contains(&indexes[1]));
        assert!(prune(&mut repository, &request).steps().is_empty());
    }
}

#[test]
fn locked_digests_and_digests_in_use_stay_and_must_be_looked_up() {
    let mut repository = repository();
    let locked = repository.image("locked", OLD);
    let in_use = repository.image("in use", OLD);
    let stray = repository.image("stray", OLD);
    let mut request = images(&[], "*", 0);
    request.roots.locked = [locked.clone()].into();
    request.roots.in_use = [in_use].into();
    let made = prune(&mut repository, &request);
    assert_eq!(made.lost(), &[stray].into());
    assert_eq!(made.kept()[&locked], KeepReason::Locked);
    request.roots.locked = [Digest::sha256(b"elsewhere")].into();
    let refused = plan(&repository.read(), &request, repository.traits);
    assert!(matches!(refused, Err(PruneRefusal::UnreadRoot(_))));
}

#[test]
fn signatures_of_images_in_other_repositories_stay() {
    let mut repository = repository();
    let elsewhere = Digest::sha256(b"elsewhere");
    let referrer = repository.referrer("referrer", &elsewhere, OLD);
    let signature = repository.image("signature", OLD);
    let name = format!("sha256-{}.sig", elsewhere.hex());
    repository.tag(&name, &signature);
    let made = prune(&mut repository, &images(&[], "*", 0));
    assert!(made.lost().is_empty());
    assert_eq!(made.kept()[&referrer], KeepReason::Elsewhere(elsewhere));
    assert_eq!(made.kept_tags()[&tag(&name)].1, TagKeepReason::Elsewhere);
}

#[test]
fn a_placeholder_that_is_left_over_goes_after_the_grace_time() {
    let mut repository = SimulatedRepository::new(DeletionTraits::DISTRIBUTION_2);
    let image = repository.image("image", OLD);
    repository.tag("latest", &image);
    repository.tag("build-1", &image);
    let mut request = images(&["latest", "build-*"], "*", 0);
    let stopped = images(&["latest"], "build-*", 0);
    let made = plan(&repository.read(), &stopped, repository.traits).unwrap();
    assert_eq!(made.steps()[0].act, PruneAct::RemoveTag(tag("build-1")));
    // Prune is killed after it has replaced the tag.
    let left = repository.replace(&made, &tag("build-1"));
    assert!(prune(&mut repository, &request).steps().is_empty());
    request.now = now() + jiff::SignedDuration::from_hours(25);
    let made = prune(&mut repository, &request);
    assert_eq!(made.lost(), &[left].into());
    assert_eq!(made.steps()[0].reason(), &RemovalReason::Placeholder);
    assert_eq!(repository.tags.len(), 1);
}

#[test]
fn nothing_goes_from_a_registry_that_cannot_delete() {
    for tags in [TagRemoval::Unsupported, TagRemoval::Replacement] {
        let mut repository = SimulatedRepository::new(DeletionTraits {
            tags,
            manifests: ManifestRemoval::Unsupported,
            tagged: TaggedManifest::TagsGo,
            untagged: UntaggedManifest::Stays,
            denied: DeniedDeletion::All,
        });
        let image = repository.image("image", OLD);
        repository.tag("build-1", &image);
        let made = prune(&mut repository, &images(&[], "build-*", 0));
        assert!(made.steps().is_empty());
        let (_, reason) = &made.kept_tags()[&tag("build-1")];
        assert_eq!(*reason, TagKeepReason::CannotUntag);
    }
}

#[test]
fn large_plans_need_a_second_flag() {
    let mut repository = repository();
    for number in 0..9 {
        repository.image(&format!("image {number}"), OLD);
    }
    let kept = repository.image("kept", OLD);
    repository.tag("v1", &kept);
    let made = plan(
        &repository.read(),
        &images(&["v*"], "*", 0),
        repository.traits,
    )
    .unwrap();
    let refused = made.check_limit(MAX_DELETE).unwrap_err();
    assert_eq!((refused.deleted, refused.total), (9, 10));
    let text = refused.to_string();
    assert!(text.contains("`--max-delete 90`"), "{text}");
    assert_eq!(made.check_limit(refused.needed), Ok(()));
    // 9 manifests, each with a config and a layer of 100 bytes of its own, but not the layer of the kept image.
    let manifests: usize = repository.manifests[&kept].bytes.len() * 9;
    assert_eq!(made.freed(), manifests as u64 + 9 * 200);
}

#[test]
fn caches_are_not_images() {
    let mut repository = repository();
    let owner = json!({"vnd.rbake.cache.pull-request": "1"});
    let cache = repository.cache(&owner, &["layer"], Some(OLD));
    let untagged = repository.cache(&owner, &["other"], Some(OLD));
    repository.tag("cache", &cache);
    let made = prune(&mut repository, &images(&[], "*", 0));
    assert_eq!(made.kept()[&untagged], KeepReason::OtherKind);
    assert_eq!(made.kept_tags()[&tag("cache")].1, TagKeepReason::OtherKind);
}
