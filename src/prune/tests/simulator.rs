//! A registry in memory, with the ways of deleting that registries have.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::placeholder;
use crate::prune::graph::{ManifestSource, RepositoryReading, RepositoryState, UnreadableManifest};
use crate::prune::plan::{
    DeletionTraits, PruneAct, PrunePlan, PruneStep, TagRemoval, TaggedManifest,
};
use crate::types::{Digest, ImageTag};

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The time of all tests.
pub(super) fn now() -> Timestamp {
    "2026-11-28T22:30:00Z".parse().unwrap()
}

pub(super) fn hours_ago(hours: i64) -> Timestamp {
    now() - SignedDuration::from_hours(hours)
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pushed {
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
    pub(super) uploaded: Option<Timestamp>,
}

impl Pushed {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }
}

/// A repository in memory.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SimulatedRepository {
    pub(super) traits: DeletionTraits,
    pub(super) tags: BTreeMap<ImageTag, Digest>,
    pub(super) manifests: BTreeMap<Digest, Pushed>,
    /// Manifests that the registry lists but does not give.
    pub(super) broken: BTreeSet<Digest>,
}

pub(super) fn tag(text: &str) -> ImageTag {
    text.parse().unwrap()
}

pub(super) fn descriptor(digest: &Digest, media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": digest.as_str(), "size": 100})
}

/// The descriptor of the attestations of `image`.
pub(super) fn attesting(digest: &Digest, image: &Digest) -> Value {
    let mut found = descriptor(digest, MANIFEST);
    found["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image.as_str(),
    });
    found
}

/// The content of an image with these layers.
pub(super) fn image_of(name: &str, layers: &[&str]) -> Value {
    let layer = |layer: &&str| {
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        descriptor(&Digest::sha256(layer.as_bytes()), media_type)
    };
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(&Digest::sha256(format!("config of {name}").as_bytes()), "application/vnd.oci.image.config.v1+json"),
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    })
}

impl SimulatedRepository {
    pub(super) fn new(traits: DeletionTraits) -> Self {
        Self {
            traits,
            tags: BTreeMap::new(),
            manifests: BTreeMap::new(),
            broken: BTreeSet::new(),
        }
    }

    pub(super) fn push(
        &mut self,
        media_type: &str,
        content: &Value,
        uploaded: Option<Timestamp>,
    ) -> Digest {
        let bytes = content.to_string().into_bytes();
        let digest = Digest::sha256(&bytes);
        let pushed = Pushed {
            media_type: media_type.to_owned(),
            bytes,
            uploaded,
        };
        self.manifests.entry(digest.clone()).or_insert(pushed);
        digest
    }

    /// An image of one platform.
    pub(super) fn image(&mut self, name: &str, hours: i64) -> Digest {
        let content = image_of(name, &["base", name]);
        self.push(MANIFEST, &content, Some(hours_ago(hours)))
    }

    pub(super) fn index(&mut self, children: &[Value], hours: i64) -> Digest {
        // The time makes indexes with the same children different, as the provenance does.
        let content = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": children,
            "annotations": {"test.hours": hours.to_string()},
        });
        self.push(INDEX, &content, Some(hours_ago(hours)))
    }

    /// An artifact that refers to `subject`.
    pub(super) fn referrer(&mut self, name: &str, subject: &Digest, hours: i64) -> Digest {
        let mut content = image_of(name, &[name]);
        content["artifactType"] = "application/vnd.example.signature".into();
        content["subject"] = descriptor(subject, MANIFEST);
        self.push(MANIFEST, &content, Some(hours_ago(hours)))
    }

    /// A cache with this owner, whose layers have 100 bytes each.
    pub(super) fn cache(&mut self, owner: &Value, layers: &[&str], hours: Option<i64>) -> Digest {
        let mut content = image_of("cache", layers);
        content["config"]["mediaType"] = "application/vnd.buildkit.cacheconfig.v0".into();
        content["annotations"] = owner.clone();
        if let Some(hours) = hours {
            let created = hours_ago(hours).to_string();
            content["annotations"]["org.opencontainers.image.created"] = created.into();
        }
        self.push(MANIFEST, &content, None)
    }

    pub(super) fn tag(&mut self, text: &str, digest: &Digest) {
        self.tags.insert(tag(text), digest.clone());
    }

    /// Reads the repository, as from a registry that lists all manifests.
    pub(super) fn read(&self) -> RepositoryState {
        let mut reading = RepositoryReading::default();
        for digest in self.manifests.keys() {
            reading.expect(digest.clone());
        }
        self.read_rest(reading)
    }

    /// Reads the repository by its tags and the referrers of what they lead to, as from a registry that lists no
    /// manifests.
    pub(super) fn read_by_tags(&self) -> RepositoryState {
        self.read_rest(RepositoryReading::default())
    }

    fn read_rest(&self, mut reading: RepositoryReading) -> RepositoryState {
        for (tag, digest) in &self.tags {
            reading.add_tag(tag.clone(), digest.clone());
        }
        loop {
            let missing = reading.missing();
            if missing.is_empty() {
                return reading.finish();
            }
            for digest in missing {
                match self.manifests.get(&digest) {
                    None => reading.add_absent(digest),
                    Some(_) if self.broken.contains(&digest) => {
                        reading.add_unreadable(digest, UnreadableManifest::Refused);
                    }
                    Some(pushed) => {
                        reading.add_manifest(&ManifestSource {
                            digest: &digest,
                            media_type: &pushed.media_type,
                            bytes: &pushed.bytes,
                            uploaded: pushed.uploaded,
                        });
                        for referrer in self.referrers(&digest) {
                            reading.expect(referrer);
                        }
                    }
                }
            }
        }
    }

    /// The manifests whose subject is `digest`.
    pub(super) fn referrers(&self, digest: &Digest) -> Vec<Digest> {
        let refers =
            |pushed: &Pushed| pushed.json()["subject"]["digest"].as_str() == Some(digest.as_str());
        let found = self.manifests.iter().filter(|(_, pushed)| refers(pushed));
        found.map(|(digest, _)| digest.clone()).collect()
    }

    /// The children of `digest`, by what its bytes say.
    pub(super) fn children(&self, digest: &Digest) -> Vec<Digest> {
        let content = self.manifests.get(digest).map(Pushed::json);
        let children = content.and_then(|content| content["manifests"].as_array().cloned());
        let children = children.unwrap_or_default();
        let digests = children.iter().filter_map(|child| child["digest"].as_str());
        digests.map(|text| text.parse().unwrap()).collect()
    }

    /// Makes a step. Panics if the registry would refuse it.
    pub(super) fn apply(&mut self, plan: &PrunePlan, step: &PruneStep) {
        match &step.act {
            PruneAct::DeleteManifest => self.delete(&step.digest),
            PruneAct::RemoveTag(tag) => {
                assert_eq!(self.tags.get(tag), Some(&step.digest), "{tag}");
                match self.traits.tags {
                    TagRemoval::Unsupported => panic!("cannot remove tags"),
                    TagRemoval::Request | TagRemoval::Api => drop(self.tags.remove(tag)),
                    TagRemoval::Replacement => {
                        let digest = self.replace(plan, tag);
                        self.delete(&digest);
                    }
                }
                self.collect(&step.digest);
            }
        }
    }

    /// The first half of removing a tag by a placeholder.
    pub(super) fn replace(&mut self, plan: &PrunePlan, tag: &ImageTag) -> Digest {
        let bytes = placeholder::manifest(tag, &plan.digest(), now());
        let content = serde_json::from_slice(&bytes).unwrap();
        let digest = self.push(placeholder::MEDIA_TYPE, &content, None);
        self.tags.insert(tag.clone(), digest.clone());
        digest
    }

    fn delete(&mut self, digest: &Digest) {
        assert!(self.traits.deletes_manifests());
        assert!(self.manifests.remove(digest).is_some(), "{digest}");
        let is_tagged = self.tags.values().any(|found| found == digest);
        assert!(!is_tagged || self.traits.tagged == TaggedManifest::TagsGo);
        self.tags.retain(|_, found| found != digest);
    }

    /// Deletes a manifest with its last tag, if the registry does so.
    fn collect(&mut self, digest: &Digest) {
        let is_tagged = self.tags.values().any(|found| found == digest);
        let has_parent = self
            .manifests
            .keys()
            .any(|parent| self.children(parent).contains(digest));
        // A manifest that is deleted by the next step is not collected yet.
        if self.traits.last_tag_deletes() && !is_tagged && !has_parent {
            self.manifests.remove(digest);
        }
    }
}
