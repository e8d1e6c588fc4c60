//! Removal of tags at real registries: one that deletes tags, one that does not, and one that deletes nothing.

use super::distribution::{Distribution, DistributionVersion, PASSWORD, TokenServer, USER};
use super::live::{index, push};
use super::{TestRun, tag};
use crate::registry::{RawManifest, RemoteRepository, TagOrDigest, Untagged};
use crate::types::ImageTag;

/// Two images and an index of them, each with a second tag.
async fn push_all(repository: &RemoteRepository) -> (RawManifest, RawManifest) {
    let one = push(repository, "one").await;
    let two = push(repository, "two").await;
    repository.put(&tag("one-too"), &one).await.unwrap();
    let all = index(&[&one, &two]);
    for name in ["all", "all-too"] {
        repository.put(&tag(name), &all).await.unwrap();
    }
    (one, all)
}

fn image_tag(name: &str) -> ImageTag {
    name.parse().unwrap()
}

async fn has(repository: &RemoteRepository, name: &TagOrDigest, manifest: &RawManifest) -> bool {
    repository.get(name).await.unwrap().as_ref() == Some(manifest)
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn removed_tags_leave_their_manifests_other_tags_and_children() {
    for version in DistributionVersion::ALL {
        let registry = Distribution::start(version);
        let run = TestRun::new();
        let repository = run.repository(&registry.repository("a/b"));
        let (one, all) = push_all(&repository).await;
        for (name, manifest) in [("one", &one), ("all", &all)] {
            let name = image_tag(name);
            let untagged = repository.untag(&name, manifest.digest()).await;
            assert_eq!(untagged.unwrap(), Untagged::Removed, "{version:?} {name}");
            let again = repository.untag(&name, manifest.digest()).await;
            assert_eq!(again.unwrap(), Untagged::Gone, "{version:?} {name}");
        }
        let tags = repository.tags().await.unwrap().unwrap();
        let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
        assert_eq!(tags, ["all-too", "one-too", "two"], "{version:?}");
        for (name, manifest) in [
            (tag("one-too"), &one),
            (one.digest().clone().into(), &one),
            (tag("all-too"), &all),
            (all.digest().clone().into(), &all),
        ] {
            assert!(
                has(&repository, &name, manifest).await,
                "{version:?} {name}"
            );
        }
        let two = repository.get(&tag("two")).await.unwrap().unwrap();
        let by_digest = two.digest().clone().into();
        assert!(
            has(&repository, &by_digest, &two).await,
            "{version:?}: a child"
        );
        let moved = repository.untag(&image_tag("two"), one.digest()).await;
        let now = two.digest().clone();
        assert_eq!(moved.unwrap(), Untagged::Moved { now });
        assert!(has(&repository, &tag("two"), &two).await);
        assert!(run.pauses().is_empty(), "{version:?}");
    }
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn a_registry_that_keeps_everything_keeps_the_tag() {
    for version in DistributionVersion::ALL {
        let registry = Distribution::that_keeps_everything(version);
        let run = TestRun::new();
        let repository = run.repository(&registry.repository("a"));
        let (one, _) = push_all(&repository).await;
        let before = run.registries.counts()[registry.host()];
        let untagged = repository.untag(&image_tag("one"), one.digest()).await;
        assert_eq!(untagged.unwrap(), Untagged::Unsupported);
        let after = run.registries.counts()[registry.host()];
        assert_eq!((before.put, before.post), (after.put, after.post));
        assert!(has(&repository, &tag("one"), &one).await, "{version:?}");
    }
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn a_token_for_deletions_is_fetched_to_remove_a_tag() {
    let server = TokenServer::start().await;
    let registry = Distribution::with_tokens(&server);
    let run = TestRun::with_password(registry.host(), USER, PASSWORD);
    let repository = run.repository(&registry.repository("a"));
    let one = push(&repository, "one").await;
    let untagged = repository.untag(&image_tag("one"), one.digest()).await;
    assert_eq!(untagged.unwrap(), Untagged::Removed);
    let guest = TestRun::new();
    let repository = guest.repository(&registry.repository("a"));
    let by_digest = one.digest().clone().into();
    assert!(has(&repository, &by_digest, &one).await);
    push(&run.repository(&registry.repository("a")), "one").await;
    let untagged = repository.untag(&image_tag("one"), one.digest()).await;
    let fault = untagged.unwrap_err().fault;
    assert!(fault.is_denial(), "{fault}");
    assert!(has(&repository, &tag("one"), &one).await);
}
