//! Removal of tags: whatever the registry can do, the manifest stays, and a failure changes nothing.

use test_case::test_case;

use super::model::{Abilities, KeptState, ModelRegistry};
use super::scripted::{ScriptedAnswer, SeenRequest, error, status};
use super::{TestRun, tag};
use crate::registry::{RawManifest, RegistryAct, RegistryError, RegistryFault, Untagged};
use crate::types::Digest;
use crate::types::causes::in_one_line;

pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const NO_TAGS: Abilities = Abilities {
    deletes_tags: false,
    ..Abilities::ALL
};

pub(super) fn index(name: &str) -> RawManifest {
    let text = format!(r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"name":"{name}"}}}}"#);
    RawManifest::new(OCI_INDEX, text.into()).unwrap()
}

/// Gives two tags to a manifest, and removes one. The digest of the manifest is returned, too.
async fn untag(
    run: &TestRun,
    registry: &ModelRegistry,
) -> (Result<Untagged, RegistryError>, Digest) {
    let repository = run.repository(&registry.http.repository("a"));
    let manifest = index("one");
    for name in ["old", "new"] {
        repository.put(&tag(name), &manifest).await.unwrap();
    }
    let tag = "old".parse().unwrap();
    let untagged = repository.untag(&tag, manifest.digest()).await;
    (untagged, manifest.digest().clone())
}

/// The requests after the two that set the tags, without the path of the repository and with `placeholder` instead
/// of its digest.
fn requests(registry: &ModelRegistry, digest: &Digest) -> Vec<String> {
    let lines = registry.http.lines().into_iter().skip(2);
    let empty = Digest::sha256(b"{}");
    lines
        .map(|line| {
            let line = line.replace("/v2/a/", "").replace(digest.as_str(), "one");
            match line.split_once("manifests/sha256:") {
                Some((method, _)) => format!("{method}manifests/placeholder"),
                None => line.replace(empty.as_str(), "empty"),
            }
        })
        .collect()
}

fn tags(registry: &ModelRegistry) -> Vec<(String, String)> {
    registry.kept("a").tags.into_iter().collect()
}

fn both(digest: &Digest) -> Vec<(String, String)> {
    ["new", "old"]
        .map(|tag| (tag.to_owned(), digest.to_string()))
        .into()
}

#[tokio::test]
async fn a_tag_is_deleted_by_its_name_if_the_registry_can() {
    let registry = ModelRegistry::start(Abilities::ALL).await;
    let (untagged, digest) = untag(&TestRun::new(), &registry).await;
    assert_eq!(untagged.unwrap(), Untagged::Removed);
    assert_eq!(tags(&registry), [("new".to_owned(), digest.to_string())]);
    assert_eq!(
        requests(&registry, &digest),
        [
            "HEAD manifests/old",
            "GET manifests/one",
            "DELETE manifests/old",
            "HEAD manifests/one",
            "HEAD manifests/old",
        ]
    );
}

#[tokio::test]
async fn a_manifest_that_was_deleted_with_its_tag_is_written_again() {
    let registry = ModelRegistry::start(Abilities {
        deletes_manifest_with_tag: true,
        ..Abilities::ALL
    })
    .await;
    let (untagged, digest) = untag(&TestRun::new(), &registry).await;
    assert_eq!(untagged.unwrap(), Untagged::Removed);
    let kept = registry.kept("a");
    let bytes = index("one").bytes().to_vec();
    assert_eq!(
        kept.manifests[digest.as_str()],
        (OCI_INDEX.to_owned(), bytes)
    );
    assert!(!kept.tags.contains_key("old"));
    assert!(requests(&registry, &digest).contains(&"PUT manifests/one".to_owned()));
}

#[tokio::test]
async fn a_placeholder_is_deleted_if_the_registry_cannot_delete_tags() {
    let registry = ModelRegistry::start(NO_TAGS).await;
    let (untagged, digest) = untag(&TestRun::new(), &registry).await;
    assert_eq!(untagged.unwrap(), Untagged::Removed);
    let kept = registry.kept("a");
    assert_eq!(tags(&registry), [("new".to_owned(), digest.to_string())]);
    assert_eq!(kept.manifests.keys().collect::<Vec<_>>(), [digest.as_str()]);
    assert_eq!(
        requests(&registry, &digest),
        [
            "HEAD manifests/old",
            "GET manifests/one",
            "DELETE manifests/old",
            // Whether it deletes at all.
            "DELETE manifests/placeholder",
            "HEAD blobs/empty",
            "POST blobs/uploads/",
            "PUT blobs/uploads/1",
            "HEAD manifests/old",
            "PUT manifests/old",
            "DELETE manifests/placeholder",
            "HEAD manifests/one",
            "HEAD manifests/old",
        ]
    );
    let seen = registry.http.seen();
    let placeholder = seen
        .iter()
        .rfind(|request| request.line() == "PUT /v2/a/manifests/old");
    let placeholder: serde_json::Value =
        serde_json::from_slice(&placeholder.unwrap().body).unwrap();
    assert_eq!(
        placeholder["artifactType"],
        "application/vnd.rbake.removed.v1+json"
    );
    let annotations = &placeholder["annotations"];
    assert_eq!(annotations["vnd.rbake.removed.tag"], "old");
    assert_eq!(
        annotations["vnd.rbake.removed.repository"],
        registry.http.repository("a")
    );
    assert_eq!(
        annotations["org.opencontainers.image.created"],
        "1970-01-01T00:01:40Z"
    );
}

#[tokio::test]
async fn no_two_placeholders_are_equal() {
    let run = TestRun::new();
    let repository = run.repository("r.example/a");
    let tag = "old".parse().unwrap();
    let one = repository.placeholder(&tag).unwrap();
    let other = repository.placeholder(&tag).unwrap();
    assert_ne!(one.digest(), other.digest());
}

#[tokio::test]
async fn nothing_changes_at_a_registry_that_does_not_delete() {
    let registry = ModelRegistry::start(Abilities {
        deletes_digests: false,
        ..NO_TAGS
    })
    .await;
    let (untagged, digest) = untag(&TestRun::new(), &registry).await;
    assert_eq!(untagged.unwrap(), Untagged::Unsupported);
    assert_eq!(tags(&registry), both(&digest));
    let requests = requests(&registry, &digest);
    let is_write = |line: &&String| !line.starts_with("HEAD") && !line.starts_with("GET");
    let writes: Vec<_> = requests.iter().filter(is_write).collect();
    assert_eq!(
        writes,
        ["DELETE manifests/old", "DELETE manifests/placeholder"]
    );
}

#[tokio::test]
async fn a_missing_or_moved_tag_is_left_as_it_is() {
    let registry = ModelRegistry::start(Abilities::ALL).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.http.repository("a"));
    let (one, two) = (index("one"), index("two"));
    repository.put(&tag("v1"), &one).await.unwrap();
    let untag = async |name: &str| {
        let tag = name.parse().unwrap();
        repository.untag(&tag, two.digest()).await.unwrap()
    };
    let now = one.digest().clone();
    assert_eq!(untag("v1").await, Untagged::Moved { now });
    assert_eq!(untag("v2").await, Untagged::Gone);
    let lines = registry.http.lines();
    assert_eq!(
        lines[1..],
        ["HEAD /v2/a/manifests/v1", "HEAD /v2/a/manifests/v2"]
    );
}

fn is_placeholder(request: &SeenRequest) -> bool {
    request.target.contains("manifests/sha256:")
        && !request.target.contains(index("one").digest().as_str())
}

/// Fails the second deletion of the placeholder, which is the one after the tag was set.
fn second_deletion(
    answer: ScriptedAnswer,
) -> impl FnMut(&SeenRequest, &mut KeptState) -> Option<ScriptedAnswer> + Send {
    let mut deletions = 0;
    move |request, _| {
        deletions += usize::from(request.method == "DELETE" && is_placeholder(request));
        (deletions == 2 && request.method == "DELETE").then(|| answer.clone())
    }
}

#[test_case(error(403, "DENIED", "no deletions"), Some("DENIED: no deletions"); "denied")]
#[test_case(error(409, "CONFLICT", "in use"), Some("CONFLICT: in use"); "in use")]
#[test_case(status(202), Some("the tag is still there after its deletion"); "only a promise")]
#[test_case(status(404), Some("the tag is still there after its deletion"); "not found")]
#[test_case(error(405, "UNSUPPORTED", "no"), None; "unsupported")]
#[tokio::test]
async fn the_tag_is_set_back_if_its_placeholder_is_not_deleted(
    answer: ScriptedAnswer,
    expected: Option<&str>,
) {
    let registry = ModelRegistry::with_faults(NO_TAGS, second_deletion(answer)).await;
    let (untagged, digest) = untag(&TestRun::new(), &registry).await;
    match (untagged, expected) {
        (Err(failure), Some(expected)) => {
            assert_eq!(failure.act, RegistryAct::RemoveTag);
            let text = in_one_line(&failure);
            assert!(
                text.starts_with("cannot remove the tag `127.0.0.1:"),
                "{text}"
            );
            assert!(text.ends_with(expected), "{text}");
        }
        (Ok(Untagged::Unsupported), None) => {}
        (untagged, _) => panic!("{untagged:?}"),
    }
    assert_eq!(tags(&registry), both(&digest));
}

#[tokio::test]
async fn a_tag_that_cannot_be_set_back_is_named() {
    let mut deleted = 0;
    let registry = ModelRegistry::with_faults(NO_TAGS, move |request, _| {
        deleted += usize::from(request.method == "DELETE" && is_placeholder(request));
        (deleted == 2).then(|| error(403, "DENIED", "no more"))
    })
    .await;
    let (untagged, _) = untag(&TestRun::new(), &registry).await;
    let failure = untagged.unwrap_err();
    assert!(!failure.is_transient());
    let image = registry.http.repository("a:old");
    let expected = format!(
        "cannot remove the tag `{image}`: could not put back `{image}`: the registry denies access (403 Forbidden): DENIED: no more"
    );
    assert_eq!(in_one_line(&failure), expected);
}

#[test_case(error(400, "TAG_INVALID", "the tag is immutable"), false; "refused")]
#[test_case(status(418), true; "set nevertheless")]
#[tokio::test]
async fn a_tag_that_cannot_be_replaced_stays(answer: ScriptedAnswer, is_set: bool) {
    let mut puts = 0;
    let registry = ModelRegistry::with_faults(NO_TAGS, move |request, state| {
        puts += usize::from(request.line() == "PUT /v2/a/manifests/old");
        // The first one is the test's own.
        let is_replacing = puts == 2 && request.line() == "PUT /v2/a/manifests/old";
        if is_replacing && is_set {
            let kept = state.get_mut("a").unwrap();
            let digest = Digest::sha256(&request.body).to_string();
            let media_type = request.header("content-type").to_owned();
            kept.tags.insert("old".to_owned(), digest.clone());
            kept.manifests
                .insert(digest, (media_type, request.body.clone()));
        }
        is_replacing.then(|| answer.clone())
    })
    .await;
    let (untagged, digest) = untag(&TestRun::new(), &registry).await;
    let fault = untagged.unwrap_err().fault;
    assert!(matches!(fault, RegistryFault::Refused { .. }), "{fault}");
    assert_eq!(tags(&registry), both(&digest));
}

/// Moves the tag `old` when the request `line` arrives for the `nth` time.
fn moved_at(
    line: &'static str,
    nth: usize,
) -> impl FnMut(&SeenRequest, &mut KeptState) -> Option<ScriptedAnswer> + Send {
    let mut seen = 0;
    move |request, state| {
        let is_line = request.line() == line
            || line == "placeholder" && request.method == "DELETE" && is_placeholder(request);
        seen += usize::from(is_line);
        if is_line && seen == nth {
            let kept = state.get_mut("a").unwrap();
            let two = index("two");
            let digest = two.digest().to_string();
            kept.tags.insert("old".to_owned(), digest.clone());
            kept.manifests
                .insert(digest, (OCI_INDEX.to_owned(), two.bytes().to_vec()));
        }
        None
    }
}

#[test_case("HEAD /v2/a/manifests/old", 2; "before it is replaced")]
#[test_case("placeholder", 2; "before the placeholder is deleted")]
#[tokio::test]
async fn a_tag_that_another_client_sets_meanwhile_is_kept(line: &'static str, nth: usize) {
    let registry = ModelRegistry::with_faults(NO_TAGS, moved_at(line, nth)).await;
    let (untagged, _) = untag(&TestRun::new(), &registry).await;
    let now = index("two").digest().clone();
    assert_eq!(untagged.unwrap(), Untagged::Moved { now: now.clone() });
    assert_eq!(registry.kept("a").tags["old"], now.as_str());
}

#[tokio::test]
async fn a_deletion_that_takes_its_time_is_awaited() {
    let mut heads = 0;
    let registry = ModelRegistry::with_faults(Abilities::ALL, move |request, state| {
        let kept = state.get_mut("a")?;
        match request.line().as_str() {
            "DELETE /v2/a/manifests/old" => Some(status(202)),
            "HEAD /v2/a/manifests/old" => {
                heads += 1;
                if heads == 4 {
                    kept.tags.remove("old");
                }
                None
            }
            _ => None,
        }
    })
    .await;
    let run = TestRun::new();
    let (untagged, _) = untag(&run, &registry).await;
    assert_eq!(untagged.unwrap(), Untagged::Removed);
    assert_eq!(run.pauses().len(), 2);
}

#[tokio::test]
async fn a_registry_that_does_not_find_tags_to_delete_gets_a_placeholder() {
    let registry = ModelRegistry::with_faults(Abilities::ALL, |request, _| {
        let is_tag = request.line() == "DELETE /v2/a/manifests/old";
        is_tag.then(|| error(404, "MANIFEST_UNKNOWN", "no"))
    })
    .await;
    let (untagged, digest) = untag(&TestRun::new(), &registry).await;
    assert_eq!(untagged.unwrap(), Untagged::Removed);
    assert_eq!(tags(&registry), [("new".to_owned(), digest.to_string())]);
}

#[tokio::test]
async fn a_stopped_run_still_finishes_a_removal_that_has_begun() {
    for abilities in [NO_TAGS, Abilities::ALL] {
        let run = TestRun::new();
        let stop = run.stop.clone();
        let mut puts = 0;
        let registry = ModelRegistry::with_faults(abilities, move |request, _| {
            puts += usize::from(request.line() == "PUT /v2/a/manifests/old");
            if puts == 2 || abilities.deletes_tags && request.method == "DELETE" {
                stop.cancel();
            }
            None
        })
        .await;
        let (untagged, digest) = untag(&run, &registry).await;
        assert_eq!(untagged.unwrap(), Untagged::Removed);
        assert_eq!(tags(&registry), [("new".to_owned(), digest.to_string())]);
    }
}
