//! Tests of the renewal of leases, against a registry in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::credential::{Provider, ProviderOptions};
use crate::registry::tests::scripted::{
    ScriptedAnswer, ScriptedRegistry, SeenRequest, error, status,
};
use crate::registry::{DeletionSettings, Registries, RegistrySecurity};
use crate::types::{Environment, ImageRepository, Reference};

const RUN: &str = "20261128T223000Z-0a1b2c3d";
const OTHER: &str = "20261128T223100Z-0a1b2c3d";

/// Tags with manifests.
type Tags = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

fn digest_of(bytes: &[u8]) -> String {
    Digest::sha256(bytes).to_string()
}

/// Answers a request. Tags move only if `moves`.
fn answer(request: &SeenRequest, tags: &Tags, moves: bool) -> ScriptedAnswer {
    let mut tags = tags.lock().unwrap();
    let Some(rest) = request.target.strip_prefix("/v2/a/") else {
        return status(200);
    };
    if rest.starts_with("tags/list") {
        let names: Vec<&String> = tags.keys().collect();
        return status(200).with_body(json!({"tags": names}).to_string());
    }
    let Some(name) = rest.strip_prefix("manifests/") else {
        // An upload begins and ends.
        return match request.method.as_str() {
            "POST" => status(202).with("location", "/v2/a/blobs/uploads/1"),
            _ => status(201),
        };
    };
    let tag = tags
        .iter()
        .find(|(tag, bytes)| *tag == name || digest_of(bytes) == name);
    let tag = tag.map(|(tag, _)| tag.clone());
    match (request.method.as_str(), tag) {
        ("PUT", Some(_)) if !moves => error(400, "TAG_INVALID", "the tag is immutable"),
        ("PUT", _) => {
            tags.insert(name.to_owned(), request.body.clone());
            status(201)
        }
        (_, None) => error(404, "MANIFEST_UNKNOWN", "not here"),
        ("DELETE", Some(tag)) => {
            tags.remove(&tag);
            status(202)
        }
        (_, Some(tag)) => status(200)
            .with("content-type", MANIFEST_TYPE)
            .with("docker-content-digest", digest_of(&tags[&tag]))
            .with_body(tags[&tag].clone()),
    }
}

/// A repository with a lease for [`RUN`], which was written two minutes ago.
async fn leased(moves: bool) -> (PruneLease, Tags) {
    let tags = Tags::default();
    let kept = Arc::clone(&tags);
    let registry = ScriptedRegistry::start(move |request| answer(request, &kept, moves)).await;
    let environment = Environment::of([("HOME", "/nowhere")], "/");
    let provider = Provider::new(ProviderOptions::new(&environment));
    let clock = Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000));
    let registries = Registries::new(provider, clock.clone(), CancellationToken::new());
    let name = ImageRepository::of(&registry.repository("a").parse::<Reference>().unwrap());
    let settings = DeletionSettings::of(&environment).unwrap();
    let deleter = Deleter::of(&registries, RegistrySecurity::Required, &settings, &name);
    let deleter = deleter.await.unwrap();
    let run = RUN.parse().unwrap();
    let lease = PruneLease::take(&deleter, &run, &clock, |_| false)
        .await
        .unwrap();
    clock.advance(Duration::from_secs(120));
    (lease, tags)
}

#[tokio::test]
async fn a_lease_is_renewed_also_if_tags_do_not_move() {
    for moves in [true, false] {
        let (mut lease, tags) = leased(moves).await;
        let before = lease.until;
        lease.keep().await.unwrap();
        assert!(lease.until > before, "{moves}");
        let held = tags
            .lock()
            .unwrap()
            .values()
            .next()
            .map(|bytes| digest_of(bytes));
        assert_eq!(held, Some(lease.digest.to_string()));
        lease.release().await;
        assert!(tags.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_prune_ends_if_another_one_has_begun_while_its_lease_was_replaced() {
    let (mut lease, tags) = leased(false).await;
    let until = now(&lease.clock) + SignedDuration::from_mins(5);
    let text = json!({"run": OTHER, "until": until.to_string()});
    let other = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "annotations": {ANNOTATION: text.to_string()},
    });
    let tag = format!("{TAG_PREFIX}{OTHER}");
    tags.lock()
        .unwrap()
        .insert(tag, other.to_string().into_bytes());
    assert!(matches!(lease.keep().await, Err(PruneError::LeaseLost)));
}
