//! Finds out when the images and caches of a repository were made, if their manifests do not say it.
//!
//! Most registries do not tell when they received a manifest. What is read instead:
//!
//! * of an index with provenance, the end of the build (BuildKit makes new provenance for every build);
//! * of another index, the newest configuration of its images;
//! * of an image, its configuration;
//! * of a cache, its newest layer (`buildkit/createdat`).
//!
//! Only what a tag names is looked at, because tags are what a policy judges. All of this is kept on this machine.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::PruneError;
use super::read::{AT_ONCE, RepositoryReader};
use super::watch::PrunePhase;
use crate::prune::graph::{ManifestKind, RepositoryState, StoredManifest};
use crate::registry::{RegistryError, RegistryFault};
use crate::types::Digest;

/// The largest configuration of an image, and the largest provenance, in bytes.
const CONFIG_LIMIT: usize = 8 << 20;
const PROVENANCE_LIMIT: usize = 16 << 20;
/// The most images of one index whose configurations are read.
const CHILDREN: usize = 32;

const CONFIG_TYPES: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];
/// The annotation of a layer of attestations (BuildKit, `exporter/containerimage/writer.go`).
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
const PROVENANCE: &str = "https://slsa.dev/provenance/";
/// The annotation of a layer of a cache (BuildKit, `cache/refs.go`).
const LAYER_CREATED: &str = "buildkit/createdat";
/// Where the end of a build is in provenance of the versions 1 and 0.2.
const ENDS: [[&str; 4]; 2] = [
    ["predicate", "runDetails", "metadata", "finishedOn"],
    ["predicate", "metadata", "buildFinishedOn", ""],
];

/// The parts of a manifest that tell ages.
#[derive(Debug, Default, Deserialize)]
struct AgedManifest {
    #[serde(default)]
    config: Option<AgedDescriptor>,
    #[serde(default)]
    layers: Option<Vec<AgedDescriptor>>,
}

#[derive(Debug, Deserialize)]
struct AgedDescriptor {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl AgedDescriptor {
    fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(name).map(String::as_str)
    }
}

impl RepositoryReader {
    /// When the manifests were made or received. One of which that is not known is not in the answer.
    pub(super) async fn times(
        &self,
        state: &RepositoryState,
    ) -> Result<BTreeMap<Digest, Timestamp>, PruneError> {
        let mut times: BTreeMap<Digest, Timestamp> = BTreeMap::new();
        for (digest, listed) in self.listed.iter().flatten() {
            times.insert(digest.clone(), listed.uploaded);
        }
        let tagged = state.tags_of().into_keys();
        let unknown = tagged.filter_map(|digest| {
            let manifest = state.manifests().get(digest)?;
            let is_unknown = manifest.time.is_none() && !times.contains_key(digest);
            is_unknown.then_some((digest, manifest))
        });
        let unknown: Vec<_> = unknown.collect();
        self.watch.begin(PrunePhase::Ages, unknown.len());
        let reads = unknown.into_iter().map(|(digest, manifest)| async move {
            let time = self.time(state, digest, manifest).await?;
            self.watch.count();
            Ok::<_, PruneError>(time.map(|time| (digest.clone(), time)))
        });
        let found: Vec<_> = stream::iter(reads)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        times.extend(found.into_iter().flatten());
        Ok(times)
    }

    async fn time(
        &self,
        state: &RepositoryState,
        digest: &Digest,
        manifest: &StoredManifest,
    ) -> Result<Option<Timestamp>, PruneError> {
        match manifest.kind {
            ManifestKind::Cache => Ok(self.layers_time(digest)),
            ManifestKind::Image => self.config_time(digest).await,
            ManifestKind::Index => self.index_time(state, manifest).await,
            ManifestKind::Record | ManifestKind::Placeholder => Ok(None),
        }
    }

    async fn index_time(
        &self,
        state: &RepositoryState,
        index: &StoredManifest,
    ) -> Result<Option<Timestamp>, PruneError> {
        let attestations = index.entries.iter().filter(|entry| entry.attests.is_some());
        let mut newest = None;
        for attestation in attestations.take(CHILDREN) {
            newest = newest.max(self.provenance_time(&attestation.digest).await?);
        }
        if newest.is_some() {
            return Ok(newest);
        }
        let images = index.entries.iter().filter(|entry| entry.attests.is_none());
        for image in images.take(CHILDREN) {
            let Some(found) = state.manifests().get(&image.digest) else {
                continue;
            };
            let time = match found.time {
                Some(time) => Some(time),
                None if found.kind == ManifestKind::Cache => self.layers_time(&image.digest),
                None => self.config_time(&image.digest).await?,
            };
            newest = newest.max(time);
        }
        Ok(newest)
    }

    /// The end of the build that the attestation manifest tells.
    async fn provenance_time(&self, attestation: &Digest) -> Result<Option<Timestamp>, PruneError> {
        let manifest = self.aged(attestation);
        let layers = manifest.layers.unwrap_or_default();
        let provenance = layers.iter().find(|layer| {
            let predicate = layer.annotation(PREDICATE_TYPE);
            predicate.is_some_and(|predicate| predicate.starts_with(PROVENANCE))
        });
        let Some(provenance) = provenance else {
            return Ok(None);
        };
        let statement = self.blob(&provenance.digest, PROVENANCE_LIMIT).await?;
        Ok(statement.and_then(|bytes| end_of_build(&bytes)))
    }

    /// The time in the configuration of an image.
    async fn config_time(&self, image: &Digest) -> Result<Option<Timestamp>, PruneError> {
        #[derive(Deserialize)]
        struct Config {
            created: Option<String>,
        }
        let manifest = self.aged(image);
        let config = manifest.config;
        let config = config.filter(|config| CONFIG_TYPES.contains(&config.media_type.as_str()));
        let Some(config) = config else {
            return Ok(None);
        };
        let Some(bytes) = self.blob(&config.digest, CONFIG_LIMIT).await? else {
            return Ok(None);
        };
        let config: Option<Config> = serde_json::from_slice(&bytes).ok();
        Ok(config.and_then(|config| config.created?.parse().ok()))
    }

    /// The time of the newest layer of a cache.
    fn layers_time(&self, cache: &Digest) -> Option<Timestamp> {
        let manifest = self.aged(cache);
        let layers = manifest.layers.unwrap_or_default();
        let times = layers.iter().filter_map(|layer| {
            let text = layer.annotation(LAYER_CREATED)?;
            text.parse::<Timestamp>().ok()
        });
        times.max()
    }

    fn aged(&self, digest: &Digest) -> AgedManifest {
        let manifest = self.known.get(digest);
        let parsed = manifest.and_then(|manifest| serde_json::from_slice(manifest.bytes()).ok());
        parsed.unwrap_or_default()
    }

    /// A small blob. `None` if it is too large, is missing or is not what its digest says: then the age is not known.
    async fn blob(&self, digest: &str, limit: usize) -> Result<Option<Bytes>, PruneError> {
        let Ok(digest) = digest.parse::<Digest>() else {
            return Ok(None);
        };
        if let Some(bytes) = self.kept.read(&digest).await {
            return Ok(Some(bytes));
        }
        match self.repository.get_blob(&digest, limit).await {
            Ok(found) => {
                if let Some(bytes) = &found {
                    self.kept.keep(&digest, bytes).await;
                }
                Ok(found)
            }
            Err(RegistryError {
                fault: RegistryFault::Malformed { .. } | RegistryFault::Mismatch { .. },
                ..
            }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The end of the build in a statement of provenance. `None` if it has another form.
fn end_of_build(statement: &[u8]) -> Option<Timestamp> {
    let statement: Value = serde_json::from_slice(statement).ok()?;
    ENDS.iter().find_map(|path| {
        let mut keys = path.iter().filter(|key| !key.is_empty());
        let found = keys.try_fold(&statement, |value, key| value.get(key));
        found?.as_str()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provenance_of_both_versions_tells_the_end_of_the_build() {
        let time: Timestamp = "2026-11-28T22:30:00.5Z".parse().unwrap();
        let one = serde_json::json!({"predicate": {"runDetails": {"metadata": {"finishedOn": "2026-11-28T22:30:00.5Z"}}}});
        let old = serde_json::json!({"predicate": {"metadata": {"buildFinishedOn": "2026-11-28T22:30:00.5Z"}}});
        for statement in [one, old] {
            assert_eq!(end_of_build(statement.to_string().as_bytes()), Some(time));
        }
        for other in [
            "{}",
            "[",
            r#"{"predicate":{"metadata":{"buildFinishedOn":7}}}"#,
        ] {
            assert_eq!(end_of_build(other.as_bytes()), None);
        }
    }
}
