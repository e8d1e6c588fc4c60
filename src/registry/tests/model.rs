//! A registry that keeps what it receives, for tests of several requests that depend on each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use super::scripted::{ScriptedAnswer, ScriptedRegistry, SeenRequest, error, ok, status};
use crate::types::Digest;

/// A manifest: its media type and its bytes.
pub(super) type KeptManifest = (String, Vec<u8>);

/// What one repository of the registry has.
#[derive(Debug, Default, Clone)]
pub(super) struct KeptRepository {
    pub(super) tags: BTreeMap<String, String>,
    pub(super) manifests: BTreeMap<String, KeptManifest>,
    pub(super) blobs: BTreeMap<String, Vec<u8>>,
}

impl KeptRepository {
    /// The digest that a tag or a digest names.
    fn resolve<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let digest = self.tags.get(name).map_or(name, String::as_str);
        self.manifests.contains_key(digest).then_some(digest)
    }
}

/// What the registry can do.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a difference between registries"
)]
pub(super) struct Abilities {
    pub(super) deletes_tags: bool,
    pub(super) deletes_digests: bool,
    pub(super) deletes_manifest_with_tag: bool,
    pub(super) lists_referrers: bool,
    pub(super) mounts: bool,
}

impl Abilities {
    /// Those of distribution 3.
    pub(super) const ALL: Self = Self {
        deletes_tags: true,
        deletes_digests: true,
        deletes_manifest_with_tag: false,
        lists_referrers: false,
        mounts: true,
    };
}

/// The state of the registry, by the paths of its repositories.
pub(super) type KeptState = BTreeMap<String, KeptRepository>;

/// The registry.
pub(super) struct ModelRegistry {
    pub(super) http: ScriptedRegistry,
    state: Arc<Mutex<KeptState>>,
}

impl ModelRegistry {
    pub(super) async fn start(abilities: Abilities) -> Self {
        Self::with_faults(abilities, |_, _| None).await
    }

    /// A registry that gives the answer of `fault` instead, if there is one.
    pub(super) async fn with_faults(
        abilities: Abilities,
        mut fault: impl FnMut(&SeenRequest, &mut KeptState) -> Option<ScriptedAnswer> + Send + 'static,
    ) -> Self {
        let state: Arc<Mutex<KeptState>> = Arc::default();
        let kept = Arc::clone(&state);
        let http = ScriptedRegistry::start(move |request| {
            let mut state = kept.lock().unwrap();
            fault(request, &mut state).unwrap_or_else(|| answer(request, &mut state, abilities))
        })
        .await;
        Self { http, state }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, KeptState> {
        self.state.lock().unwrap()
    }

    /// A copy of what the repository has.
    pub(super) fn kept(&self, path: &str) -> KeptRepository {
        self.state().get(path).cloned().unwrap_or_default()
    }
}

fn answer(request: &SeenRequest, state: &mut KeptState, abilities: Abilities) -> ScriptedAnswer {
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let path = path.strip_prefix("/v2/").unwrap();
    for kind in ["manifests", "blobs", "referrers"] {
        let Some((name, rest)) = path.split_once(&format!("/{kind}/")) else {
            continue;
        };
        let fields: BTreeMap<_, _> = url::form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        return match kind {
            "manifests" => manifests(
                request,
                state.entry(name.to_owned()).or_default(),
                rest,
                abilities,
            ),
            "blobs" => blobs(request, state, name, rest, &fields, abilities),
            _ => referrers(state.entry(name.to_owned()).or_default(), rest, abilities),
        };
    }
    status(404)
}

fn manifests(
    request: &SeenRequest,
    kept: &mut KeptRepository,
    name: &str,
    abilities: Abilities,
) -> ScriptedAnswer {
    let is_digest = name.contains(':');
    let unknown = || error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    match request.method.as_str() {
        "PUT" => {
            let digest = Digest::sha256(&request.body).to_string();
            for needed in blobs_of(&request.body) {
                if !kept.blobs.contains_key(&needed) {
                    return error(400, "MANIFEST_BLOB_UNKNOWN", &needed);
                }
            }
            for needed in children_of(&request.body) {
                if !kept.manifests.contains_key(&needed) {
                    return error(400, "MANIFEST_UNKNOWN", &needed);
                }
            }
            let media_type = request.header("content-type").to_owned();
            let manifest = (media_type, request.body.clone());
            kept.manifests.insert(digest.clone(), manifest);
            if !is_digest {
                kept.tags.insert(name.to_owned(), digest.clone());
            }
            let answer = status(201).with("docker-content-digest", &digest);
            match subject_of(&request.body) {
                Some(subject) if abilities.lists_referrers => answer.with("oci-subject", subject),
                _ => answer,
            }
        }
        "DELETE" if is_digest && !abilities.deletes_digests => error(405, "UNSUPPORTED", "no"),
        "DELETE" if !is_digest && !abilities.deletes_tags => error(400, "DIGEST_INVALID", "no"),
        "DELETE" if is_digest => {
            kept.tags.retain(|_, digest| digest != name);
            kept.manifests
                .remove(name)
                .map_or_else(unknown, |_| status(202))
        }
        "DELETE" => match kept.tags.remove(name) {
            Some(digest) => {
                if abilities.deletes_manifest_with_tag {
                    kept.manifests.remove(&digest);
                }
                status(202)
            }
            None => unknown(),
        },
        _ => match kept.resolve(name) {
            Some(digest) => {
                let (media_type, bytes) = &kept.manifests[digest];
                ok(bytes.clone())
                    .with("content-type", media_type)
                    .with("docker-content-digest", digest)
            }
            None => unknown(),
        },
    }
}

fn blobs(
    request: &SeenRequest,
    state: &mut KeptState,
    path: &str,
    rest: &str,
    fields: &BTreeMap<String, String>,
    abilities: Abilities,
) -> ScriptedAnswer {
    match request.method.as_str() {
        "POST" => {
            let mount = fields.get("mount").zip(fields.get("from"));
            let mounted = mount.and_then(|(digest, from)| {
                let blob = state.get(from)?.blobs.get(digest)?.clone();
                Some((digest.clone(), blob))
            });
            match mounted.filter(|_| abilities.mounts) {
                Some((digest, blob)) => {
                    let kept = state.entry(path.to_owned()).or_default();
                    kept.blobs.insert(digest, blob);
                    status(201)
                }
                None => status(202).with("location", format!("/v2/{path}/blobs/uploads/1")),
            }
        }
        "PUT" => {
            let digest = Digest::sha256(&request.body).to_string();
            if fields.get("digest") != Some(&digest) {
                return error(400, "DIGEST_INVALID", "another digest");
            }
            let kept = state.entry(path.to_owned()).or_default();
            kept.blobs.insert(digest, request.body.clone());
            status(201)
        }
        "DELETE" => status(204),
        _ => match state.get(path).and_then(|kept| kept.blobs.get(rest)) {
            Some(blob) => ok(blob.clone()).with("docker-content-digest", rest),
            None => error(404, "BLOB_UNKNOWN", "blob unknown"),
        },
    }
}

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn referrers(kept: &KeptRepository, subject: &str, abilities: Abilities) -> ScriptedAnswer {
    if !abilities.lists_referrers {
        return status(404).with_body("404 page not found\n");
    }
    let found = kept.manifests.iter();
    let found = found.filter(|(_, (_, bytes))| subject_of(bytes).as_deref() == Some(subject));
    let found: Vec<_> = found
        .map(|(digest, (media_type, bytes))| {
            serde_json::json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
        })
        .collect();
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found});
    ok(index.to_string()).with("content-type", OCI_INDEX)
}

fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}

fn digest_in(descriptor: &serde_json::Value) -> Option<String> {
    descriptor["digest"].as_str().map(str::to_owned)
}

fn subject_of(bytes: &[u8]) -> Option<String> {
    digest_in(&json(bytes)["subject"])
}

fn children_of(bytes: &[u8]) -> BTreeSet<String> {
    let manifest = json(bytes);
    let children = manifest["manifests"].as_array();
    children
        .into_iter()
        .flatten()
        .filter_map(digest_in)
        .collect()
}

fn blobs_of(bytes: &[u8]) -> BTreeSet<String> {
    let manifest = json(bytes);
    let layers = manifest["layers"].as_array();
    let layers = layers.into_iter().flatten();
    // As distribution does, it accepts layers that are elsewhere.
    let layers = layers.filter(|layer| layer["urls"].is_null());
    let layers = layers.filter_map(digest_in);
    layers.chain(digest_in(&manifest["config"])).collect()
}
