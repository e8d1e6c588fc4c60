//! Tests of whole plans, against a registry in memory.

mod accidents;
mod caches;
mod generate;
mod images;
mod placeholder;
mod random;
mod simulator;

use std::collections::BTreeSet;

use super::graph::RepositoryState;
use super::plan::{DeletionTraits, PruneLoss, PrunePlan, plan};
use super::policy::{
    CachePolicy, GRACE, ImagePolicy, PruneRequest, PruneRoots, RetentionPolicy, TagGroup,
};
use simulator::{SimulatedRepository, now};

/// All ways of deleting.
const REGISTRIES: [DeletionTraits; 8] = [
    DeletionTraits::DISTRIBUTION_2,
    DeletionTraits::DISTRIBUTION_3,
    DeletionTraits::GHCR,
    DeletionTraits::ECR,
    DeletionTraits::GITLAB,
    DeletionTraits::GOOGLE,
    DeletionTraits::DOCKER_HUB,
    DeletionTraits::DOCKER_HUB.without_manifests(),
];

fn request(policy: RetentionPolicy) -> PruneRequest {
    PruneRequest {
        policy,
        grace: GRACE,
        now: now(),
        roots: PruneRoots::default(),
    }
}

/// Keeps the tags that match `keep`, and of those that match `group` the newest.
fn images(keep: &[&str], group: &str, newest: usize) -> PruneRequest {
    request(RetentionPolicy::Images(ImagePolicy {
        keep: keep.iter().map(|text| text.parse().unwrap()).collect(),
        groups: vec![TagGroup {
            patterns: vec![group.parse().unwrap()],
            newest,
        }],
        ..ImagePolicy::default()
    }))
}

fn caches(pull_requests: usize, ceiling: Option<u64>) -> PruneRequest {
    request(RetentionPolicy::Caches(CachePolicy {
        branches: vec!["main".parse().unwrap(), "release/*".parse().unwrap()],
        pull_requests,
        ceiling,
        removes_unowned: false,
    }))
}

/// What the plan keeps, and `after` does not have.
fn losses(made: &PrunePlan, after: &RepositoryState) -> BTreeSet<PruneLoss> {
    let tags = after.tags().keys().cloned().collect();
    let manifests = after.manifests().keys().cloned().collect();
    made.losses(&tags, &manifests)
}

/// Plans and makes all steps, each after its check.
fn prune(repository: &mut SimulatedRepository, request: &PruneRequest) -> PrunePlan {
    let state = repository.read();
    let made = plan(&state, request, repository.traits).unwrap();
    assert_eq!(made.traits(), repository.traits);
    made.check_unchanged(&repository.read()).unwrap();
    for step in made.steps() {
        let fresh = repository.read();
        made.recheck(&fresh, &request.roots)
            .unwrap()
            .allows(step)
            .unwrap();
        repository.apply(&made, step);
    }
    assert_eq!(losses(&made, &repository.read()), [].into());
    made
}
