//! What the client and the scripted registries assume of real ones, at the distribution registry.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::json;

use super::distribution::{Distribution, DistributionVersion, PASSWORD, TokenServer, USER};
use super::{TestRun, repository_name, tag};
use crate::credential::{Provider, ProviderOptions, RegistryClientSpec};
use crate::registry::challenge::challenges;
use crate::registry::{
    Deletion, ManifestContent, PushRight, RawManifest, RegistryFault, RegistrySecurity,
    RemoteRepository, TagOrDigest,
};
use crate::types::causes::in_one_line;
use crate::types::{Digest, Environment};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: Bytes = Bytes::from_static(b"{}");

/// A manifest that has only a configuration, and differs by `name`.
pub(super) fn manifest(name: &str) -> RawManifest {
    let text = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::sha256(&CONFIG).as_str(),
            "size": CONFIG.len(),
        },
        "layers": [],
        "annotations": {"name": name},
        "unknown": [1],
    });
    RawManifest::new(OCI_MANIFEST, text.to_string().into()).unwrap()
}

pub(super) fn index(manifests: &[&RawManifest]) -> RawManifest {
    let manifests: Vec<_> = manifests
        .iter()
        .map(|m| json!({"mediaType": m.media_type(), "digest": m.digest().as_str(), "size": m.bytes().len()}))
        .collect();
    let text = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    RawManifest::new(OCI_INDEX, text.to_string().into()).unwrap()
}

/// Pushes everything that a manifest needs, the manifest by its digest, and the tag.
pub(super) async fn push(repository: &RemoteRepository, name: &str) -> RawManifest {
    let manifest = manifest(name);
    repository.put_blob(&CONFIG).await.unwrap();
    let by_digest = manifest.digest().clone().into();
    repository.put(&by_digest, &manifest).await.unwrap();
    repository.put(&tag(name), &manifest).await.unwrap();
    manifest
}

/// One request without the client.
async fn raw(method: &str, url: String) -> reqwest::Response {
    let environment = Environment::of([("DOCKER_CONFIG", "/nonexistent")], "/");
    let provider = Provider::new(ProviderOptions::new(&environment));
    let client = provider
        .registry_client("r.example", client_spec(true))
        .await;
    let method = method.parse().unwrap();
    client.unwrap().request(method, url).send().await.unwrap()
}

fn client_spec(skips_certificate_check: bool) -> RegistryClientSpec {
    RegistryClientSpec {
        skips_certificate_check,
        skips_proxies: true,
        connect_timeout: std::time::Duration::from_secs(20),
    }
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn manifests_and_tags_are_written_and_read() {
    for version in DistributionVersion::ALL {
        let registry = Distribution::start(version);
        let run = TestRun::new();
        let repository = run.repository(&registry.repository("team/app"));
        assert_eq!(repository.tags().await.unwrap(), None, "{version:?}");
        let one = push(&repository, "v1").await;
        let two = push(&repository, "v2").await;
        let all = index(&[&one, &two]);
        repository.put(&tag("latest"), &all).await.unwrap();
        for (name, expected) in [
            (tag("v1"), &one),
            (two.digest().clone().into(), &two),
            (tag("latest"), &all),
        ] {
            let found = repository.get(&name).await.unwrap().unwrap();
            assert_eq!(found, *expected, "{version:?} {name}");
            let head = repository.head(&name).await.unwrap().unwrap();
            assert_eq!(head, expected.descriptor(), "{version:?} {name}");
        }
        let content = all.content().unwrap();
        let ManifestContent::Index(content) = content else {
            panic!("{content:?}");
        };
        assert_eq!(content.manifests().len(), 2);
        // A tag can be moved.
        repository.put(&tag("v1"), &two).await.unwrap();
        let moved = repository.head(&tag("v1")).await.unwrap().unwrap();
        assert_eq!(moved.digest, *two.digest());
        let tags = repository.tags().await.unwrap().unwrap();
        let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
        assert_eq!(tags, ["latest", "v1", "v2"], "{version:?}");
        for name in [tag("v3"), Digest::sha256(b"x").into()] {
            assert_eq!(repository.head(&name).await.unwrap(), None);
            assert_eq!(repository.get(&name).await.unwrap(), None);
        }
        assert!(run.pauses().is_empty(), "{version:?}");
    }
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn blobs_are_uploaded_and_mounted() {
    for version in DistributionVersion::ALL {
        let registry = Distribution::start(version);
        let run = TestRun::new();
        let one = run.repository(&registry.repository("one"));
        let two = run.repository(&registry.repository("two"));
        let from = repository_name(&registry.repository("one"));
        let digest = Digest::sha256(&CONFIG);
        assert!(!one.has_blob(&digest).await.unwrap());
        assert_eq!(one.get_blob(&digest, 2).await.unwrap(), None);
        assert!(
            !two.mount_blob(&digest, &from).await.unwrap(),
            "{version:?}"
        );
        assert_eq!(one.put_blob(&CONFIG).await.unwrap(), digest);
        // Again, although it exists.
        assert_eq!(one.put_blob(&CONFIG).await.unwrap(), digest);
        assert!(one.has_blob(&digest).await.unwrap());
        let read = one.get_blob(&digest, 2).await.unwrap();
        assert_eq!(read, Some(CONFIG), "{version:?}");
        assert!(one.get_blob(&digest, 1).await.is_err());
        assert!(!two.has_blob(&digest).await.unwrap());
        assert!(two.mount_blob(&digest, &from).await.unwrap(), "{version:?}");
        assert!(two.has_blob(&digest).await.unwrap());
        one.put_blob(&Bytes::new()).await.unwrap();
    }
}

/// The form of `Location` that the scripted registries have.
#[tokio::test]
#[ignore = "needs live peers"]
async fn the_place_of_an_upload_is_an_address_with_a_query_and_can_be_cancelled() {
    for version in DistributionVersion::ALL {
        let registry = Distribution::start(version);
        let uploads = format!("http://{}/v2/a/blobs/uploads/", registry.host());
        let answer = raw("POST", uploads.clone()).await;
        assert_eq!(answer.status(), 202, "{version:?}");
        let place = answer.headers()["location"].to_str().unwrap().to_owned();
        assert!(place.starts_with(&uploads), "{place}");
        assert!(place.contains("?_state="), "{place}");
        assert_eq!(raw("DELETE", place.clone()).await.status(), 204);
        assert_eq!(raw("DELETE", place).await.status(), 404);
        let run = TestRun::new();
        let right = run.repository(&registry.repository("a")).can_push().await;
        assert_eq!(right.unwrap(), PushRight::Allowed);
        let counts = run.registries.counts()[registry.host()];
        assert_eq!((counts.post, counts.delete, counts.total()), (1, 1, 2));
    }
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn tags_are_listed_page_by_page() {
    for version in DistributionVersion::ALL {
        let registry = Distribution::start(version);
        let run = TestRun::new();
        let repository = run.repository(&registry.repository("a"));
        let manifest = push(&repository, "v0").await;
        for number in 1..5 {
            let name = tag(&format!("v{number}"));
            repository.put(&name, &manifest).await.unwrap();
        }
        for (page, requests) in [(2, 3), (5, 2), (1000, 1)] {
            let before = run.registries.counts()[registry.host()].get;
            let tags = repository.tags_in_pages(page).await.unwrap().unwrap();
            assert_eq!(tags.len(), 5, "{version:?}");
            let sent = run.registries.counts()[registry.host()].get - before;
            // Version 2 has no pages: it sends all tags, and nothing new when it is asked again.
            let expected = match version {
                DistributionVersion::Two => requests.min(2),
                DistributionVersion::Three => requests,
            };
            assert_eq!(sent, expected, "{version:?}, pages of {page}");
        }
        let list = format!("http://{}/v2/a/tags/list?n=2", registry.host());
        let answer = raw("GET", list).await;
        let link = answer.headers().get("link");
        let expected = match version {
            DistributionVersion::Two => None,
            DistributionVersion::Three => Some("</v2/a/tags/list?last=v1&n=2>; rel=\"next\""),
        };
        assert_eq!(link.map(|link| link.to_str().unwrap()), expected);
    }
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn tags_with_a_prefix_are_found_among_others() {
    for version in DistributionVersion::ALL {
        let registry = Distribution::start(version);
        let run = TestRun::new();
        let repository = run.repository(&registry.repository("a"));
        let manifest = push(&repository, "b").await;
        for name in [
            "R-5", "Z", "c", "r-1", "r-2", "r-3T1", "r-3T2", "r-4", "rz", "s", "t", "u", "v", "w",
        ] {
            repository.put(&tag(name), &manifest).await.unwrap();
        }
        for (after, expected) in [
            ("r-", vec!["r-1", "r-2", "r-3T1", "r-3T2", "r-4"]),
            // There is no such tag.
            ("r-3T0", vec!["r-3T1", "r-3T2", "r-4"]),
            ("r-3T1", vec!["r-3T2", "r-4"]),
            ("r-9", vec![]),
        ] {
            let before = run.registries.counts()[registry.host()].get;
            let tags = repository.tags_in_range("r-", after, 3).await;
            let tags = tags.unwrap().unwrap();
            let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
            assert_eq!(tags, expected, "{version:?} after {after}");
            let sent = run.registries.counts()[registry.host()].get - before;
            // Version 2 sends all tags, whatever it is asked.
            assert!(sent <= 3, "{version:?} after {after}: {sent}");
        }
        let missing = run.repository(&registry.repository("b"));
        let tags = missing.tags_with_prefix("r-", "r-1").await.unwrap();
        match version {
            DistributionVersion::Two => assert_eq!(tags, None),
            DistributionVersion::Three => assert_eq!(tags, Some(BTreeSet::new())),
        }
    }
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn deletions_have_the_outcomes_of_the_scripted_registries() {
    for version in DistributionVersion::ALL {
        let registry = Distribution::start(version);
        let run = TestRun::new();
        let repository = run.repository(&registry.repository("a"));
        let manifest = push(&repository, "v1").await;
        repository.put(&tag("v2"), &manifest).await.unwrap();
        let untagged = repository.delete(&tag("v1")).await.unwrap();
        let expected = match version {
            DistributionVersion::Two => Deletion::Unsupported,
            DistributionVersion::Three => Deletion::Deleted,
        };
        assert_eq!(untagged, expected, "{version:?}");
        let by_digest: TagOrDigest = manifest.digest().clone().into();
        assert!(repository.head(&by_digest).await.unwrap().is_some());
        let deleted = repository.delete(&by_digest).await.unwrap();
        assert_eq!(deleted, Deletion::Deleted, "{version:?}");
        assert_eq!(repository.head(&tag("v2")).await.unwrap(), None);
        let again = repository.delete(&by_digest).await.unwrap();
        assert_eq!(again, Deletion::NotFound, "{version:?}");

        let registry = Distribution::that_keeps_everything(version);
        let repository = run.repository(&registry.repository("a"));
        let manifest = push(&repository, "v1").await;
        let deleted = repository.delete(&manifest.digest().clone().into()).await;
        assert_eq!(deleted.unwrap(), Deletion::Unsupported, "{version:?}");
    }
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn referrers_are_found_by_their_tag() {
    for version in DistributionVersion::ALL {
        let registry = Distribution::start(version);
        let run = TestRun::new();
        let repository = run.repository(&registry.repository("a"));
        let manifest = push(&repository, "v1").await;
        let found = repository.referrers(manifest.digest()).await.unwrap();
        assert!(found.is_empty(), "{version:?}");
        let list = index(&[&manifest]);
        let name = tag(&format!("sha256-{}", manifest.digest().hex()));
        repository.put(&name, &list).await.unwrap();
        let found = repository.referrers(manifest.digest()).await.unwrap();
        assert_eq!(found[0], manifest.descriptor(), "{version:?}");
    }
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn refusals_have_the_registrys_words() {
    for version in DistributionVersion::ALL {
        let registry = Distribution::start(version);
        let run = TestRun::new();
        let repository = run.repository(&registry.repository("a"));
        // Its configuration is not there.
        let failure = repository
            .put(&tag("v1"), &manifest("v1"))
            .await
            .unwrap_err();
        let RegistryFault::Refused { status, code, .. } = &failure.fault else {
            panic!("{version:?}: {failure:?}");
        };
        assert_eq!((*status, code.as_str()), (400, "MANIFEST_BLOB_UNKNOWN"));
        let broken = RawManifest::new(OCI_MANIFEST, Bytes::from_static(b"{")).unwrap();
        let failure = repository.put(&tag("v1"), &broken).await.unwrap_err();
        let text = in_one_line(&failure);
        assert!(
            text.contains("400 Bad Request: MANIFEST_INVALID"),
            "{version:?}: {text}"
        );
        assert!(run.pauses().is_empty());
    }
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn a_registry_with_passwords_accepts_only_the_right_one() {
    for version in DistributionVersion::ALL {
        let registry = Distribution::with_password(version);
        let answer = raw("GET", format!("http://{}/v2/a/tags/list", registry.host())).await;
        let challenges = challenges(answer.headers());
        assert_eq!(challenges[0].scheme, "basic", "{version:?}");
        assert_eq!(challenges[0].parameter("realm"), "test");

        let run = TestRun::with_password(registry.host(), USER, PASSWORD);
        let repository = run.repository(&registry.repository("a"));
        assert_eq!(repository.can_push().await.unwrap(), PushRight::Allowed);
        let manifest = push(&repository, "v1").await;
        assert_eq!(repository.get(&tag("v1")).await.unwrap(), Some(manifest));

        for stranger in [
            TestRun::new(),
            TestRun::with_password(registry.host(), USER, "wrong-password"),
        ] {
            let repository = stranger.repository(&registry.repository("a"));
            let failure = repository.head(&tag("v1")).await.unwrap_err();
            let text = in_one_line(&failure);
            assert!(
                text.contains(
                    "denies access (401 Unauthorized): UNAUTHORIZED: authentication required"
                ),
                "{version:?}: {text}"
            );
            assert!(!text.contains("wrong-password"));
            let right = repository.can_push().await.unwrap();
            assert!(matches!(right, PushRight::Denied { .. }), "{right:?}");
            assert!(stranger.pauses().is_empty());
        }
    }
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn a_registry_with_tokens_gets_one_per_repository_and_use() {
    let server = TokenServer::start().await;
    let registry = Distribution::with_tokens(&server);
    let answer = raw(
        "PUT",
        format!("http://{}/v2/a/manifests/1", registry.host()),
    )
    .await;
    let challenges = challenges(answer.headers());
    assert_eq!(challenges[0].scheme, "bearer");
    assert_eq!(challenges[0].parameter("realm"), server.http.url("/token"));
    assert!(!challenges[0].parameter("service").is_empty());
    let scope = challenges[0].parameter("scope").to_owned();
    assert!(scope.starts_with("repository:a:"), "{scope}");

    let run = TestRun::with_password(registry.host(), USER, PASSWORD);
    let repository = run.repository(&registry.repository("a"));
    let manifest = push(&repository, "v1").await;
    assert_eq!(repository.get(&tag("v1")).await.unwrap().unwrap(), manifest);
    let other = run.repository(&registry.repository("b"));
    let from = repository_name(&registry.repository("a"));
    let digest = Digest::sha256(&CONFIG);
    assert!(other.mount_blob(&digest, &from).await.unwrap());
    let deleted = repository.delete(&tag("v1")).await.unwrap();
    assert_eq!(deleted, Deletion::Deleted);
    assert_eq!(
        server.scopes(),
        [
            "repository:a:pull,push",
            "repository:a:pull",
            "repository:b:pull,push repository:a:pull",
            // The registry wants another right for this, and says so.
            "repository:a:pull,push",
            "repository:a:pull,push repository:a:delete",
        ]
    );

    // Everybody may read.
    let guest = TestRun::new();
    let repository = guest.repository(&registry.repository("a"));
    let by_digest = manifest.digest().clone().into();
    assert!(repository.head(&by_digest).await.unwrap().is_some());
    let right = repository.can_push().await.unwrap();
    assert!(matches!(right, PushRight::Denied { .. }), "{right:?}");
    let wrong = TestRun::with_password(registry.host(), USER, "wrong-password");
    let repository = wrong.repository(&registry.repository("a"));
    let right = repository.can_push().await.unwrap();
    let PushRight::Denied { reason } = right else {
        panic!("{right:?}");
    };
    assert!(reason.contains("token server"), "{reason}");
    assert!(!reason.contains("wrong-password"));
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn an_insecure_registry_may_have_any_certificate_or_none() {
    for version in DistributionVersion::ALL {
        let run = TestRun::new();
        for registry in [
            Distribution::with_tls(version),
            Distribution::start(version),
        ] {
            let name = registry.repository("a");
            let repository = run.repository_at(&name, RegistrySecurity::Waived);
            let manifest = push(&repository, "v1").await;
            let found = repository.get(&tag("v1")).await.unwrap();
            assert_eq!(found, Some(manifest), "{version:?}");
        }
        assert!(run.pauses().is_empty());
    }
}

#[tokio::test]
#[ignore = "needs live peers"]
async fn the_certificates_of_a_registry_are_checked() {
    let registry = Distribution::with_tls(DistributionVersion::Three);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let environment = Environment::of([("DOCKER_CONFIG", path)], "/");
    let ask = async || {
        let provider = Provider::new(ProviderOptions::new(&environment));
        let client = provider
            .registry_client(registry.host(), client_spec(false))
            .await;
        let url = format!("https://{}/v2/", registry.host());
        client.unwrap().get(url).send().await
    };
    let error = ask().await.unwrap_err();
    let cause = crate::registry::tls::cause(&error);
    assert!(
        matches!(cause, Some(rustls::Error::InvalidCertificate(_))),
        "{error:?}"
    );
    let own = dir.path().join("certs.d").join(registry.host());
    std::fs::create_dir_all(&own).unwrap();
    std::fs::copy(registry.certificate(), own.join("ca.crt")).unwrap();
    let answer = ask().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
}
