//! Each test is an accident that programs for cleaning up have caused in public repositories.

use std::collections::BTreeSet;

use serde_json::json;
use test_case::test_case;

use super::simulator::{
    INDEX, MANIFEST, SimulatedRepository, attesting, descriptor, hours_ago, tag,
};
use super::{REGISTRIES, images, losses, prune};
use crate::prune::plan::{
    DeletionTraits, PruneAct, PruneLoss, PruneProgress, PruneRecheck, PruneTally, StalePlan,
    StepOutcome, plan,
};
use crate::prune::policy::{PruneRoots, TagKeepReason};
use crate::types::Digest;

const OLD: i64 = 1000;

#[test]
fn accident_1_untagged_platforms_and_attestations_of_a_tagged_index_stay() {
    for traits in REGISTRIES {
        let mut repository = SimulatedRepository::new(traits);
        let children: Vec<_> = ["amd64", "arm64"]
            .map(|name| {
                let image = repository.image(name, OLD);
                let attestation = repository.image(&format!("attestation of {name}"), OLD);
                [
                    descriptor(&image, MANIFEST),
                    attesting(&attestation, &image),
                ]
            })
            .concat();
        let inner = repository.index(&children, OLD);
        let outer = repository.index(&[descriptor(&inner, INDEX)], OLD);
        repository.tag("v1", &outer);
        let stray = repository.image("nothing leads to it", OLD);
        let plan = prune(&mut repository, &images(&["v*"], "*", 0));
        assert_eq!(plan.lost(), &[stray].into());
        assert_eq!(plan.kept().len(), 6);
    }
}

#[test]
fn accident_2_staging_tags_of_platforms_go_and_the_platforms_stay() {
    for traits in REGISTRIES {
        let mut repository = SimulatedRepository::new(traits);
        let images_of = ["sha-amd64", "sha-arm64"].map(|name| {
            let image = repository.image(name, OLD);
            repository.tag(name, &image);
            descriptor(&image, MANIFEST)
        });
        let index = repository.index(&images_of, OLD);
        repository.tag("v1", &index);
        let plan = prune(&mut repository, &images(&["v*"], "sha-*", 0));
        assert!(plan.lost().is_empty());
        assert_eq!(repository.manifests.len(), 3);
        assert!(repository.tags.contains_key(&tag("v1")));
        // Where the last tag takes the manifest with it, the tags stay.
        let staging_stays = traits.last_tag_deletes();
        assert_eq!(repository.tags.len(), if staging_stays { 3 } else { 1 });
    }
}

#[test]
fn accident_3_a_tag_goes_without_the_other_tags_of_the_same_digest() {
    for traits in REGISTRIES {
        let mut repository = SimulatedRepository::new(traits);
        let image = repository.image("one image", OLD);
        for name in ["latest", "build-1", "build-2"] {
            repository.tag(name, &image);
        }
        let plan = prune(&mut repository, &images(&["latest"], "build-*", 0));
        assert!(plan.lost().is_empty());
        let left: Vec<_> = repository.tags.keys().map(ToString::to_string).collect();
        assert_eq!(left, ["latest"]);
        assert!(repository.manifests.contains_key(&image));
    }
}

#[test]
fn accident_3_a_tag_that_cannot_go_alone_stays() {
    let traits = DeletionTraits {
        tags: crate::prune::plan::TagRemoval::Unsupported,
        ..DeletionTraits::DISTRIBUTION_2
    };
    let mut repository = SimulatedRepository::new(traits);
    let image = repository.image("one image", OLD);
    repository.tag("latest", &image);
    repository.tag("build-1", &image);
    let plan = prune(&mut repository, &images(&["latest"], "build-*", 0));
    let (_, reason) = &plan.kept_tags()[&tag("build-1")];
    assert_eq!(*reason, TagKeepReason::CannotUntag);
}

#[test]
fn accident_4_a_child_of_two_indexes_survives_several_runs() {
    for traits in REGISTRIES {
        let mut repository = SimulatedRepository::new(traits);
        let shared = repository.image("shared", OLD);
        let candidate = repository.index(&[descriptor(&shared, MANIFEST)], OLD);
        let release = repository.index(&[descriptor(&shared, MANIFEST)], OLD - 1);
        repository.tag("rc-1", &candidate);
        repository.tag("v1", &release);
        let request = images(&["v*"], "rc-*", 0);
        let first = prune(&mut repository, &request);
        assert_eq!(first.lost(), &[candidate].into());
        let second = prune(&mut repository, &request);
        assert!(second.steps().is_empty(), "{second:?}");
        assert!(repository.manifests.contains_key(&shared));
    }
}

#[test]
fn accident_5_all_tags_of_an_image_count_before_the_newest_are_chosen() {
    for traits in REGISTRIES {
        let mut repository = SimulatedRepository::new(traits);
        let newest = repository.image("newest", OLD);
        let second = repository.image("second", OLD + 1);
        let oldest = repository.image("oldest", OLD + 2);
        for (name, image) in [
            ("build-3", &newest),
            ("build-3-amd64", &newest),
            ("build-latest", &newest),
            ("build-2", &second),
            ("build-1", &oldest),
        ] {
            repository.tag(name, image);
        }
        // Three tags of one image are one image.
        let plan = prune(&mut repository, &images(&[], "build-*", 2));
        assert_eq!(plan.lost(), &[oldest].into());
        assert_eq!(repository.tags.len(), 4);
    }
}

#[test]
fn accident_6_a_list_whose_pages_shifted_is_not_used() {
    let mut repository = SimulatedRepository::new(DeletionTraits::GHCR);
    for number in 0..20 {
        let image = repository.image(&format!("image {number}"), OLD + number);
        repository.tag(&format!("build-{number}"), &image);
    }
    let request = images(&[], "build-*", 12);
    // Somebody deletes while rbake turns the pages, so that a page begins later and a tag is skipped.
    let mut partial = repository.clone();
    partial.tags.remove(&tag("build-7"));
    let made = plan(&partial.read(), &request, repository.traits).unwrap();
    let checked = made.check_unchanged(&repository.read());
    assert_eq!(checked, Err(StalePlan::Changed));
    // A whole list is read before the first deletion, so nothing is skipped.
    let made = prune(&mut repository, &request);
    assert_eq!(made.lost().len(), 8);
    assert_eq!(repository.tags.len(), 12);
    assert_eq!(repository.manifests.len(), 12);
}

#[test]
fn accident_7_signatures_stay_with_their_image_and_go_with_it() {
    for traits in REGISTRIES {
        let mut repository = SimulatedRepository::new(traits);
        for (name, hours) in [("v1", OLD), ("build-1", OLD + 1)] {
            let image = repository.image(name, hours);
            repository.tag(name, &image);
            // By the subject, as an index of a registry without the referrers API, and as cosign does.
            let referrer = repository.referrer(&format!("referrer of {name}"), &image, hours);
            repository.referrer(&format!("referrer of that of {name}"), &referrer, hours);
            let fallback = repository.index(&[descriptor(&referrer, MANIFEST)], hours);
            repository.tag(&format!("sha256-{}", image.hex()), &fallback);
            for suffix in ["sig", "att", "sbom"] {
                let signature = repository.image(&format!("{suffix} of {name}"), hours);
                repository.tag(&format!("sha256-{}.{suffix}", image.hex()), &signature);
            }
        }
        let request = images(&["v*"], "*", 0);
        let before = repository.clone();
        let made = prune(&mut repository, &request);
        assert_eq!(made.kept().len(), 7);
        assert_eq!(repository.tags.len(), 5);
        if traits.deletes_manifests() {
            assert_eq!(repository.manifests.len(), 7);
        }
        // A copy of the signed image under another tag keeps everything, too.
        let mut copied = before;
        let signed = copied.tags[&tag("build-1")].clone();
        copied.tag("v2", &signed);
        assert!(prune(&mut copied, &request).lost().is_empty());
    }
}

#[test]
fn accident_8_an_image_to_which_an_older_build_moves_a_tag_after_the_plan_stays() {
    let mut repository = SimulatedRepository::new(DeletionTraits::GHCR);
    let new = repository.image("new", OLD);
    let old = repository.image("old", OLD + 1);
    repository.tag("latest", &new);
    repository.tag("build-1", &old);
    let request = images(&["latest"], "build-*", 0);
    let made = plan(&repository.read(), &request, repository.traits).unwrap();
    repository.tag("latest", &old);
    assert_eq!(
        made.check_unchanged(&repository.read()),
        Err(StalePlan::Changed)
    );
    // It may also happen between two steps.
    let fresh = repository.read();
    let recheck = made.recheck(&fresh, &request.roots).unwrap();
    assert_eq!(
        recheck.allows(&made.steps()[0]),
        Err(StalePlan::Needed(old))
    );
}

#[test]
fn accident_9_losses_after_the_last_step_are_found() {
    let mut repository = SimulatedRepository::new(DeletionTraits::DISTRIBUTION_3);
    let image = repository.image("image", OLD);
    let index = repository.index(&[descriptor(&image, MANIFEST)], OLD);
    repository.tag("v1", &index);
    let stray = repository.image("stray", OLD);
    let before = repository.read();
    let made = prune(&mut repository, &images(&["v*"], "*", 0));
    assert_eq!(made.lost(), &[stray].into());
    // The garbage collector deletes more than it should.
    repository.manifests.remove(&image);
    let found = losses(&made, &repository.read());
    assert_eq!(found, [PruneLoss::Manifest(image)].into());
    repository.tags.clear();
    assert_eq!(losses(&made, &repository.read()).len(), 2);
    // Blobs can only be asked for. The layer of the base is in both images.
    assert_eq!(
        made.shared_blobs(&before),
        [&Digest::sha256(b"base")].into()
    );
}

#[test]
fn accident_10_one_failed_deletion_fails_the_run_and_spares_the_children() {
    let mut repository = SimulatedRepository::new(DeletionTraits::DISTRIBUTION_3);
    for name in ["build-1", "build-2"] {
        let image = repository.image(name, OLD);
        let index = repository.index(&[descriptor(&image, MANIFEST)], OLD);
        repository.tag(name, &index);
    }
    let failing = repository.tags[&tag("build-1")].clone();
    let made = plan(&repository.read(), &images(&[], "*", 0), repository.traits).unwrap();
    assert_eq!(made.steps().len(), 4);
    let mut progress = PruneProgress::new(&made);
    while let Some(step) = progress.next_step() {
        if step.digest == failing {
            progress.record(StepOutcome::Failed);
        } else {
            repository.apply(&made, step);
            progress.record(StepOutcome::Done);
        }
    }
    let tally = progress.tally();
    assert!(!tally.is_success());
    let expected = PruneTally {
        done: 2,
        failed: 1,
        blocked: 1,
        ..PruneTally::default()
    };
    assert_eq!(tally, expected);
    for child in repository.children(&failing) {
        assert!(repository.manifests.contains_key(&child));
    }
    assert_eq!(progress.outcomes().count(), 4);
}

#[test]
fn a_run_that_stops_early_is_not_a_success() {
    let mut repository = SimulatedRepository::new(DeletionTraits::DISTRIBUTION_3);
    repository.image("stray", OLD);
    let made = plan(&repository.read(), &images(&[], "*", 0), repository.traits).unwrap();
    assert!(!PruneProgress::new(&made).tally().is_success());
    let mut progress = PruneProgress::new(&made);
    progress.record(StepOutcome::AlreadyGone);
    assert!(progress.tally().is_success());
    assert!(progress.next_step().is_none());
}

#[test_case("application/vnd.oci.artifact.manifest.v1+json"; "unknown media type")]
#[test_case("text/html"; "a page for people")]
fn one_manifest_of_an_unknown_type_stops_everything(media_type: &str) {
    let mut repository = SimulatedRepository::new(DeletionTraits::GHCR);
    repository.image("stray", OLD);
    repository.push(media_type, &json!({}), Some(hours_ago(OLD)));
    let state = repository.read();
    assert_eq!(state.closed().len(), 1);
    assert!(plan(&state, &images(&[], "*", 0), repository.traits).is_err());
}

#[test]
fn an_unreadable_manifest_stops_a_plan_between_two_steps() {
    let mut repository = SimulatedRepository::new(DeletionTraits::GHCR);
    let stray = repository.image("stray", OLD);
    let made = plan(&repository.read(), &images(&[], "*", 0), repository.traits).unwrap();
    repository.broken.insert(stray);
    let refused = made.recheck(&repository.read(), &PruneRoots::default());
    assert_eq!(refused.unwrap_err(), StalePlan::Closed);
}

#[test]
fn new_tags_signatures_and_parents_between_two_steps_protect_a_manifest() {
    let mut before = SimulatedRepository::new(DeletionTraits::DISTRIBUTION_3);
    let image = before.image("image", OLD);
    before.tag("build-1", &image);
    let request = images(&[], "*", 0);
    let made = plan(&before.read(), &request, before.traits).unwrap();
    let step = &made.steps()[0];
    assert_eq!(step.act, PruneAct::DeleteManifest);
    let refusal = |change: &dyn Fn(&mut SimulatedRepository)| {
        let mut after = before.clone();
        change(&mut after);
        let fresh = after.read();
        let recheck: PruneRecheck<'_> = made.recheck(&fresh, &request.roots).unwrap();
        recheck.allows(step).err()
    };
    assert_eq!(refusal(&|_| ()), None);
    let needed = Some(StalePlan::Needed(image.clone()));
    assert_eq!(refusal(&|after| after.tag("v1", &image)), needed);
    let index = |after: &mut SimulatedRepository| {
        after.index(&[descriptor(&image, MANIFEST)], 0);
    };
    assert_eq!(refusal(&index), needed);
    let referrer = |after: &mut SimulatedRepository| {
        after.referrer("new", &image, 0);
    };
    assert_eq!(refusal(&referrer), needed);
    let companion = |after: &mut SimulatedRepository| {
        let signature = after.image("signature", 0);
        after.tag(&format!("sha256-{}.sig", image.hex()), &signature);
    };
    assert_eq!(refusal(&companion), needed);
    let moved = |after: &mut SimulatedRepository| {
        let other = after.image("other", 0);
        after.tag("build-1", &other);
    };
    let stale = Some(StalePlan::TagMoved(tag("build-1")));
    assert_eq!(refusal(&moved), stale);
    let locked: BTreeSet<_> = [image.clone()].into();
    let roots = PruneRoots {
        locked,
        ..PruneRoots::default()
    };
    let fresh = before.read();
    let recheck = made.recheck(&fresh, &roots).unwrap();
    assert_eq!(recheck.allows(step).err(), needed);
}
