//! What a stored cache holds: the manifest, which lists the layers, and the configuration, which lists the steps.
//!
//! BuildKit ignores a configuration of more than 1 MiB. A larger one is stored in parts: the first under the tag of the
//! cache, the others under tags of their own, which an annotation of the first one lists with their digests.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::config::{CONFIG_TYPE, CacheConfig, CannotSplit, IMPORT_LIMIT, READ_LIMIT};
use super::place::{CachePlace, PlaceError};
use crate::engine::session::content::CollectedBlobs;
use crate::publish::compare::{annotation, with_annotations};
use crate::registry::{BlobSize, RawManifest};
use crate::types::{Digest, ImageTag};

/// The annotation with the further parts of a cache: `TAG@DIGEST`, with commas between them.
pub(super) const PARTS: &str = "vnd.rbake.cache.parts";
/// The annotation of a further part with the tag of the first one.
pub(super) const PART_OF: &str = "vnd.rbake.cache.part-of";
/// What the tag of a further part adds to that of the first one, before its number.
const PART_TAG: &str = ".part-";
/// The most further parts that are read.
const MAX_PARTS: usize = 15;

const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A cache.
#[derive(Debug, Clone)]
pub(super) struct CacheContent {
    media_type: String,
    /// The descriptors of the layers, by digest, as they were written.
    layers: BTreeMap<String, Value>,
    config: CacheConfig,
}

/// How a cache was written.
#[derive(Debug)]
pub(super) struct Written {
    /// The bytes of all layers and configurations, each once.
    pub(super) size: u64,
    /// The number of parts.
    pub(super) parts: usize,
    /// Why the cache is not split although builders will ignore it.
    pub(super) ignored: Option<CannotSplit>,
    /// The manifest of the first part. `None` if there is nothing in the cache.
    pub(super) manifest: Option<ManifestDescriptor>,
}

/// The descriptor of a cache's manifest, in JSON, as the daemon has it in its response (`cache/remotecache/export.go`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::run) struct ManifestDescriptor(String);

impl ManifestDescriptor {
    pub(super) fn of(manifest: &RawManifest) -> Self {
        let descriptor = json!({
            "mediaType": manifest.media_type(),
            "digest": manifest.digest().as_str(),
            "size": manifest.bytes().len(),
        });
        Self(descriptor.to_string())
    }

    /// The descriptor `text`, which the daemon has sent. `None` if it is not one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let descriptor = Self(text.to_owned());
        descriptor.digest().map(|_| descriptor)
    }

    pub(in crate::run) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn digest(&self) -> Option<Digest> {
        let descriptor: Value = serde_json::from_str(&self.0).ok()?;
        digest_at(&descriptor)
    }
}

/// The descriptors in the manifest of a cache: that of the configuration, and those of the layers.
pub(super) struct Descriptors {
    config: Value,
    layers: Vec<Value>,
}

impl Descriptors {
    /// The descriptors of a manifest or of an index: BuildKit writes a cache in both forms.
    pub(super) fn of(manifest: &RawManifest) -> Result<Self, PlaceError> {
        let parsed: Map<String, Value> =
            serde_json::from_slice(manifest.bytes()).map_err(|_| PlaceError::NotACache)?;
        let is_config = |entry: &Value| entry["mediaType"] == CONFIG_TYPE;
        let list = |key: &str| {
            let list = parsed.get(key).and_then(Value::as_array);
            list.cloned().unwrap_or_default()
        };
        let (configs, layers): (Vec<Value>, Vec<Value>) = match parsed.get("config") {
            Some(config) => (vec![config.clone()], list("layers")),
            None => list("manifests").into_iter().partition(is_config),
        };
        let config = configs.into_iter().find(|entry| is_config(entry));
        let config = config.ok_or(PlaceError::NotACache)?;
        Ok(Self { config, layers })
    }

    fn config_size(&self) -> u64 {
        self.config["size"].as_u64().unwrap_or_default()
    }

    fn size(&self) -> u64 {
        let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
        for entry in self.layers.iter().chain([&self.config]) {
            let digest = entry["digest"].as_str().unwrap_or_default();
            sizes.insert(digest, entry["size"].as_u64().unwrap_or_default());
        }
        sizes
            .values()
            .fold(0, |sum, size| sum.saturating_add(*size))
    }
}

/// The digests of the further parts that `manifest`, which is the first one, lists.
pub(super) fn further_parts(manifest: &[u8]) -> Vec<Digest> {
    let listed = annotation(manifest, PARTS).unwrap_or_default();
    let digest = |part: &str| part.split_once('@')?.1.parse().ok();
    listed
        .split(',')
        .filter_map(digest)
        .take(MAX_PARTS)
        .collect()
}

impl CacheContent {
    /// Reads the cache at `place`, with all its parts. `None` if there is none.
    pub(super) async fn read(place: &CachePlace) -> Result<Option<Self>, PlaceError> {
        let Some(first) = place.manifest().await? else {
            return Ok(None);
        };
        let mut content = Self::of(place, &first).await?;
        for digest in further_parts(first.bytes()) {
            let part = place.manifest_of(&digest).await?;
            let part = part.ok_or(PlaceError::Missing(digest))?;
            content = content.joined(Self::of(place, &part).await?)?;
        }
        Ok(Some(content))
    }

    /// Reads the configuration of `manifest`.
    async fn of(place: &CachePlace, manifest: &RawManifest) -> Result<Self, PlaceError> {
        let descriptors = Descriptors::of(manifest)?;
        let digest = digest_at(&descriptors.config).ok_or(PlaceError::NotACache)?;
        let config = place.blob(&digest, READ_LIMIT).await?;
        Self::parsed(
            manifest,
            descriptors,
            &config.ok_or(PlaceError::Missing(digest))?,
        )
    }

    /// The cache whose manifest and configuration the daemon has written to `blobs`. `manifest` is the descriptor that it
    /// reports.
    pub(super) fn collected(blobs: &CollectedBlobs, manifest: &str) -> Result<Self, PlaceError> {
        let manifest: Value = serde_json::from_str(manifest).unwrap_or_default();
        let manifest = digest_at(&manifest).ok_or(PlaceError::NotACache)?;
        let bytes = blobs.get(&manifest);
        let bytes = bytes.ok_or(PlaceError::Missing(manifest))?;
        let manifest = RawManifest::with_own_type(bytes)?;
        let descriptors = Descriptors::of(&manifest)?;
        let digest = digest_at(&descriptors.config).ok_or(PlaceError::NotACache)?;
        let config = blobs.get(&digest).ok_or(PlaceError::Missing(digest))?;
        Self::parsed(&manifest, descriptors, &config)
    }

    fn parsed(
        manifest: &RawManifest,
        descriptors: Descriptors,
        config: &[u8],
    ) -> Result<Self, PlaceError> {
        let config = CacheConfig::parse(config)?;
        let by_digest = |entry: Value| Some((entry["digest"].as_str()?.to_owned(), entry));
        Ok(Self {
            media_type: manifest.media_type().to_owned(),
            layers: descriptors
                .layers
                .into_iter()
                .filter_map(by_digest)
                .collect(),
            config,
        })
    }

    /// The layers of the cache. Those without a valid digest are left out; no registry accepts them.
    pub(super) fn layers(&self) -> Vec<BlobSize> {
        let layers = self.layers.values().filter_map(|layer| {
            Some(BlobSize {
                digest: digest_at(layer)?,
                size: layer["size"].as_u64()?,
            })
        });
        layers.collect()
    }

    /// A cache that holds everything of `self` and of `other`, in the form of `self`.
    pub(super) fn joined(mut self, other: Self) -> Result<Self, PlaceError> {
        self.config = self.config.joined(&other.config)?;
        for (digest, entry) in other.layers {
            self.layers.entry(digest).or_insert(entry);
        }
        Ok(self)
    }

    /// Writes the cache to `place` with `facts` as annotations, in parts if it is too large for one. The first part is
    /// written last.
    pub(super) async fn write(
        self,
        place: &CachePlace,
        facts: &[(&str, String)],
    ) -> Result<Written, PlaceError> {
        let tag = place.tag().to_owned();
        let whole = self.config.clone();
        let split = crate::types::blocking::unblock(move || whole.split(IMPORT_LIMIT)).await;
        let (configs, ignored) = match split {
            Ok(configs) => (configs, None),
            Err(reason) => (
                vec![self.config.clone().with_one_last_record()],
                Some(reason),
            ),
        };
        let parts = configs.len();
        let mut further: Vec<String> = Vec::new();
        let mut first = None;
        let mut sizes = 0_u64;
        for (number, config) in (1..).zip(configs) {
            let blob = Bytes::from(config.to_json());
            sizes = sizes.saturating_add(blob.len() as u64);
            place.put_blob(&blob).await?;
            let manifest = self.manifest(&config, &blob)?;
            if number == 1 {
                first = Some(manifest);
                continue;
            }
            let part = format!("{tag}{PART_TAG}{number}");
            let Ok(part) = part.parse::<ImageTag>() else {
                return Err(PlaceError::PartTag(tag));
            };
            let facts = with_facts(facts, PART_OF, &tag);
            let manifest = annotated(&manifest, &facts)?;
            place.put_manifest(&part, &manifest).await?;
            further.push(format!("{}@{}", part.as_str(), manifest.digest()));
        }
        let mut manifest = None;
        if let Some(first) = first {
            let facts = match further.as_slice() {
                [] => facts.to_vec(),
                _ => with_facts(facts, PARTS, &further.join(",")),
            };
            let first = annotated(&first, &facts)?;
            place.put_first(&first).await?;
            manifest = Some(ManifestDescriptor::of(&first));
        }
        let layers = self
            .layers
            .values()
            .filter_map(|entry| entry["size"].as_u64());
        Ok(Written {
            size: layers.fold(sizes, u64::saturating_add),
            parts,
            ignored,
            manifest,
        })
    }

    /// The manifest of a part with the configuration `config`, whose text is `blob`.
    fn manifest(&self, config: &CacheConfig, blob: &Bytes) -> Result<RawManifest, PlaceError> {
        let mut layers: Vec<&Value> = Vec::new();
        let mut seen = BTreeSet::new();
        for blob in config.blobs().filter(|blob| seen.insert(*blob)) {
            layers.extend(self.layers.get(blob));
        }
        let descriptor = json!({
            "mediaType": CONFIG_TYPE,
            "digest": Digest::sha256(blob).as_str(),
            "size": blob.len(),
        });
        let text = if self.media_type == IMAGE_MANIFEST {
            json!({
                "schemaVersion": 2,
                "mediaType": self.media_type,
                "config": descriptor,
                "layers": layers,
            })
        } else {
            layers.push(&descriptor);
            json!({
                "schemaVersion": 2,
                "mediaType": self.media_type,
                "manifests": layers,
            })
        };
        Ok(RawManifest::new(&self.media_type, text.to_string().into())?)
    }
}

fn digest_at(descriptor: &Value) -> Option<Digest> {
    descriptor["digest"].as_str()?.parse().ok()
}

fn with_facts<'f>(
    facts: &[(&'f str, String)],
    name: &'f str,
    value: &str,
) -> Vec<(&'f str, String)> {
    let mut facts = facts.to_vec();
    facts.push((name, value.to_owned()));
    facts
}

fn annotated(manifest: &RawManifest, facts: &[(&str, String)]) -> Result<RawManifest, PlaceError> {
    let facts: Vec<(&str, &str)> = facts.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let bytes = with_annotations(manifest.bytes(), &facts)?;
    Ok(RawManifest::new(manifest.media_type(), bytes.into())?)
}

/// The layers of the cache with this manifest. Those of its further parts are not among them.
pub(super) fn layers_of(manifest: &RawManifest) -> BTreeSet<Digest> {
    let Ok(descriptors) = Descriptors::of(manifest) else {
        return BTreeSet::new();
    };
    descriptors.layers.iter().filter_map(digest_at).collect()
}

/// Completes the cache that the daemon has just written to `place` with the manifest `by_daemon`: adds `facts` and all of `old`,
/// splits it if builders would ignore it, and gives it one last record, without which they would not find all steps. `None`
/// if another cache is there: another export has replaced it, and `facts` are not those of that one.
pub(super) async fn complete(
    place: &CachePlace,
    by_daemon: Option<&Digest>,
    old: Option<CacheContent>,
    facts: &[(&str, String)],
) -> Result<Option<Written>, PlaceError> {
    let Some(written) = place.manifest().await? else {
        return Ok(None);
    };
    if by_daemon.is_some_and(|digest| digest != written.digest()) {
        tracing::info!("another cache has replaced the one that was written");
        return Ok(None);
    }
    let descriptors = Descriptors::of(&written)?;
    let new = CacheContent::of(place, &written).await?;
    let is_small = descriptors.config_size() <= IMPORT_LIMIT as u64;
    if old.is_none() && is_small && new.config.has_one_last_record() {
        let annotated = annotated(&written, facts)?;
        if annotated != written {
            place.put_first(&annotated).await?;
        }
        return Ok(Some(Written {
            size: descriptors.size(),
            parts: 1,
            ignored: None,
            manifest: Some(ManifestDescriptor::of(&annotated)),
        }));
    }
    let content = match old {
        Some(old) => new.joined(old)?,
        None => new,
    };
    content.write(place, facts).await.map(Some)
}
