//! Rules for caches.

use serde_json::{Value, json};

use super::simulator::{MANIFEST, SimulatedRepository, descriptor, tag};
use super::{caches, prune};
use crate::prune::graph::ManifestKind;
use crate::prune::plan::DeletionTraits;
use crate::prune::policy::{BranchPattern, CacheOwner, RetentionPolicy, TagKeepReason};

const OLD: i64 = 1000;

fn repository() -> SimulatedRepository {
    SimulatedRepository::new(DeletionTraits::GHCR)
}

fn branch(name: &str) -> Value {
    json!({"vnd.rbake.cache.branch": name})
}

fn pull_request(number: u64) -> Value {
    json!({
        "vnd.rbake.cache.branch": "main",
        "vnd.rbake.cache.pull-request": number.to_string(),
        "vnd.rbake.cache.target": "web",
    })
}

fn left(repository: &SimulatedRepository) -> Vec<String> {
    repository.tags.keys().map(ToString::to_string).collect()
}

#[test]
fn caches_of_kept_branches_and_of_the_last_pull_requests_stay() {
    let mut repository = repository();
    for (name, owner, hours) in [
        ("a-main", branch("main"), Some(OLD)),
        ("b-release", branch("release/1.x/fix"), Some(OLD)),
        ("c-feature", branch("feature"), Some(OLD)),
        // Several caches of a pull request stay with the newest of them.
        ("d-pr-9-web", pull_request(9), Some(50)),
        ("e-pr-9-test", pull_request(9), Some(900)),
        ("f-pr-12", pull_request(12), Some(60)),
        ("g-pr-11", pull_request(11), Some(70)),
        ("h-young", branch("feature"), Some(20)),
        ("i-no-time", branch("feature"), None),
        ("j-no-owner", json!({}), Some(OLD)),
        (
            "k-odd",
            json!({"vnd.rbake.cache.pull-request": "x"}),
            Some(OLD),
        ),
    ] {
        let cache = repository.cache(&owner, &[name], hours);
        repository.tag(name, &cache);
    }
    let untagged = repository.cache(&branch("main"), &["untagged"], Some(OLD));
    let made = prune(&mut repository, &caches(2, None));
    let expected = [
        "a-main",
        "b-release",
        "d-pr-9-web",
        "e-pr-9-test",
        "f-pr-12",
        "h-young",
        "i-no-time",
        "j-no-owner",
        "k-odd",
    ];
    assert_eq!(left(&repository), expected);
    assert!(made.lost().contains(&untagged));
    let reason = |name: &str| made.kept_tags()[&tag(name)].1.clone();
    assert_eq!(reason("f-pr-12"), TagKeepReason::PullRequest(12));
    assert_eq!(reason("j-no-owner"), TagKeepReason::NoOwner);
    assert_eq!(reason("i-no-time"), TagKeepReason::NoTime);
}

#[test]
fn caches_without_an_owner_go_only_if_the_user_wants_it() {
    let mut repository = SimulatedRepository::new(DeletionTraits::DISTRIBUTION_2);
    let cache = repository.cache(&json!({}), &["layer"], Some(OLD));
    repository.tag("cache", &cache);
    let mut request = caches(0, None);
    assert!(prune(&mut repository, &request).steps().is_empty());
    if let RetentionPolicy::Caches(policy) = &mut request.policy {
        policy.removes_unowned = true;
    }
    prune(&mut repository, &request);
    assert!(repository.manifests.is_empty());
}

#[test]
fn a_pull_request_from_a_branch_with_a_kept_name_is_a_pull_request() {
    let mut repository = repository();
    let cache = repository.cache(&pull_request(7), &["layer"], Some(OLD));
    repository.tag("cache", &cache);
    let state = repository.read();
    let cache = &state.manifests()[&cache];
    assert_eq!(CacheOwner::of(cache), Some(CacheOwner::PullRequest(7)));
    prune(&mut repository, &caches(0, None));
    assert!(repository.manifests.is_empty());
}

#[test]
fn the_oldest_caches_go_until_the_rest_is_below_the_ceiling() {
    let mut repository = repository();
    let base: Vec<_> = (0..10).map(|layer| format!("base {layer}")).collect();
    let mut layers: Vec<&str> = base.iter().map(String::as_str).collect();
    let main = repository.cache(&branch("main"), &layers, Some(OLD + 100));
    repository.tag("main", &main);
    let names: Vec<_> = (1..=5).map(|number| format!("pr-{number}")).collect();
    for (number, (name, age)) in (1..=5).zip(names.iter().zip((0..OLD).rev().step_by(10))) {
        layers.push(name);
        let cache = repository.cache(&pull_request(number), &layers, Some(age));
        repository.tag(name, &cache);
        layers.pop();
    }
    let all = prune(&mut repository, &caches(5, None));
    assert!(all.steps().is_empty());
    // Shared layers count once, so each pull request adds its manifest and one layer.
    let whole = all.cache_bytes().unwrap();
    let made = prune(&mut repository, &caches(5, Some(whole - 1)));
    assert_eq!(left(&repository), ["main", "pr-2", "pr-3", "pr-4", "pr-5"]);
    assert!(made.cache_bytes().unwrap() < whole);
    // The branch stays even if it alone is too large.
    let made = prune(&mut repository, &caches(5, Some(1)));
    assert_eq!(left(&repository), ["main"]);
    assert!(made.cache_bytes().unwrap() > 1);
    assert!(repository.manifests.contains_key(&main));
}

#[test]
fn a_ceiling_does_not_remove_caches_that_would_stay_anyway() {
    let mut repository = repository();
    let locked = repository.cache(&pull_request(1), &["a"], Some(OLD));
    let free = repository.cache(&pull_request(2), &["b"], Some(OLD - 1));
    repository.tag("locked", &locked);
    repository.tag("free", &free);
    let mut request = caches(2, Some(1));
    request.roots.locked = [locked].into();
    prune(&mut repository, &request);
    assert_eq!(left(&repository), ["locked"]);
}

#[test]
fn images_are_not_caches_and_signatures_go_with_their_cache() {
    let mut repository = repository();
    let image = repository.image("image", OLD);
    let index = repository.index(&[descriptor(&image, MANIFEST)], OLD);
    repository.tag("v1", &index);
    let untagged = repository.image("untagged", OLD);
    let cache = repository.cache(&branch("feature"), &["layer"], Some(OLD));
    repository.tag("cache", &cache);
    let referrer = repository.referrer("signature", &cache, OLD);
    let made = prune(&mut repository, &caches(0, None));
    assert_eq!(made.lost(), &[cache, referrer].into());
    assert!(repository.manifests.contains_key(&untagged));
    assert_eq!(made.steps()[1].kind, ManifestKind::Cache);
}

#[test]
fn patterns_of_branches_match_whole_names() {
    let pattern = |text: &str| text.parse::<BranchPattern>().unwrap();
    assert!(pattern("release/*").matches("release/1/2"));
    assert!(!pattern("main").matches("maintenance"));
    assert!("".parse::<BranchPattern>().is_err());
    assert!("*".repeat(257).parse::<BranchPattern>().is_err());
}
