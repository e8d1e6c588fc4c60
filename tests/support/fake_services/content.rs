//! A repository in memory, and the requests of the distribution API that read and write it.

use std::collections::{BTreeMap, BTreeSet};

use rbake::types::Digest;
use serde_json::{Value, json};

use super::exchange::{Answer, Asked};
use super::refusal;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A manifest.
#[derive(Debug, Clone)]
pub(crate) struct FakeManifest {
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
    /// When it was pushed.
    pub(crate) pushed: jiff::Timestamp,
}

/// The repository.
#[derive(Debug, Default)]
pub(crate) struct FakeRepository {
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) manifests: BTreeMap<String, FakeManifest>,
    blobs: BTreeSet<String>,
    /// Whether a tag cannot be set to another manifest.
    pub(crate) has_immutable_tags: bool,
}

impl FakeRepository {
    /// Pushes a manifest that is `days` old. Returns its digest.
    pub(crate) fn push(&mut self, tag: Option<&str>, manifest: &Value, days: i64) -> String {
        let pushed = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
        let mut manifest = manifest.clone();
        manifest["annotations"] = json!({"org.opencontainers.image.created": pushed.to_string()});
        let bytes = manifest.to_string().into_bytes();
        let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
        self.store(tag, media_type, bytes, pushed)
    }

    fn store(
        &mut self,
        tag: Option<&str>,
        media_type: String,
        bytes: Vec<u8>,
        pushed: jiff::Timestamp,
    ) -> String {
        let digest = Digest::sha256(&bytes).to_string();
        self.manifests
            .entry(digest.clone())
            .or_insert(FakeManifest {
                media_type,
                bytes,
                pushed,
            });
        if let Some(tag) = tag {
            self.tags.insert(tag.to_owned(), digest.clone());
        }
        digest
    }

    /// An image of one platform. Returns its descriptor.
    pub(crate) fn image(&mut self, name: &str, days: i64) -> Value {
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "name": name});
        let digest = self.push(None, &manifest, days);
        json!({"mediaType": MANIFEST, "digest": digest, "size": 100})
    }

    /// `build-1` to `build-4`, which share a platform, `v1` at the image of `build-1`, `latest` at that of `build-4`, and an
    /// image to which nothing leads. All are old.
    pub(crate) fn fill(&mut self) {
        let shared = self.image("shared", 90);
        for number in 1..=4 {
            let days = 90 - number;
            let own = self.image(&format!("own {number}"), days);
            let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [shared, own]});
            let digest = self.push(Some(&format!("build-{number}")), &index, days);
            match number {
                1 => drop(self.tags.insert("v1".to_owned(), digest)),
                4 => drop(self.tags.insert("latest".to_owned(), digest)),
                _ => {}
            }
        }
        self.image("stray", 60);
    }

    /// The names of all tags.
    pub(crate) fn tag_names(&self) -> Vec<&str> {
        self.tags.keys().map(String::as_str).collect()
    }

    pub(crate) fn is_tagged(&self, digest: &str) -> bool {
        self.tags.values().any(|found| found == digest)
    }

    /// Whether an index has the manifest.
    pub(crate) fn has_parent(&self, digest: &str) -> bool {
        self.manifests.values().any(|manifest| {
            let content: Value = serde_json::from_slice(&manifest.bytes).unwrap();
            let children = content["manifests"].as_array();
            children
                .into_iter()
                .flatten()
                .any(|child| child["digest"] == digest)
        })
    }

    /// Deletes a manifest with all its tags. Returns whether it was there.
    pub(crate) fn delete(&mut self, digest: &str) -> bool {
        self.tags.retain(|_, found| found != digest);
        self.manifests.remove(digest).is_some()
    }

    /// Checks that each tag leads to manifests that are there.
    pub(crate) fn assert_whole(&self) {
        let mut left: Vec<String> = self.tags.values().cloned().collect();
        while let Some(digest) = left.pop() {
            let manifest = self.manifests.get(&digest);
            let manifest = manifest.unwrap_or_else(|| panic!("{digest} is gone"));
            let content: Value = serde_json::from_slice(&manifest.bytes).unwrap();
            let children = content["manifests"].as_array().cloned();
            for child in children.unwrap_or_default() {
                left.push(child["digest"].as_str().unwrap().to_owned());
            }
        }
    }

    /// Answers a request for `rest` in the repository that deletes nothing.
    pub(crate) fn answer(&mut self, asked: &Asked, rest: &str) -> Answer {
        if rest == "tags/list" {
            return self.list(asked);
        }
        if let Some(name) = rest.strip_prefix("manifests/") {
            return self.manifest(asked, name);
        }
        if rest == "blobs/uploads/" {
            let place = "/v2/acme/web/blobs/uploads/1?state=1";
            return Answer::empty(202).with("location", place);
        }
        if rest.starts_with("blobs/uploads/") {
            self.blobs.insert(Digest::sha256(&asked.body).to_string());
            return Answer::empty(201);
        }
        match rest.strip_prefix("blobs/") {
            Some(digest) if self.blobs.contains(digest) => Answer::empty(200),
            _ => refusal(404, "UNKNOWN"),
        }
    }

    /// The tags, in pages that are smaller than a client asks for.
    fn list(&self, asked: &Asked) -> Answer {
        const PAGE: usize = 4;
        let last = asked.parameter("last").unwrap_or_default();
        let mut tags = self.tags.keys().filter(|tag| tag.as_str() > last);
        let page: Vec<&String> = tags.by_ref().take(PAGE).collect();
        let answer = Answer::of_json(200, &json!({"name": "acme/web", "tags": page}));
        match (tags.next(), page.last()) {
            (Some(_), Some(last)) => {
                let link = format!("</v2/acme/web/tags/list?n={PAGE}&last={last}>; rel=\"next\"");
                answer.with("link", link)
            }
            _ => answer,
        }
    }

    fn manifest(&mut self, asked: &Asked, name: &str) -> Answer {
        if asked.method == "PUT" {
            let tag = (!name.contains(':')).then_some(name);
            let digest = Digest::sha256(&asked.body).to_string();
            let now = tag.and_then(|tag| self.tags.get(tag));
            if self.has_immutable_tags && now.is_some_and(|now| *now != digest) {
                return refusal(400, "TAG_INVALID");
            }
            let media_type = asked.header("content-type").to_owned();
            let now = jiff::Timestamp::now();
            let digest = self.store(tag, media_type, asked.body.clone(), now);
            return Answer::empty(201).with("docker-content-digest", digest);
        }
        let digest = self.tags.get(name).cloned().unwrap_or(name.to_owned());
        let Some(manifest) = self.manifests.get(&digest) else {
            return refusal(404, "MANIFEST_UNKNOWN");
        };
        let headers = vec![
            ("content-type", manifest.media_type.clone()),
            ("docker-content-digest", digest),
        ];
        Answer(200, headers, manifest.bytes.clone())
    }
}
