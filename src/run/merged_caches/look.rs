//! A look at a cache before it is imported: whether it is one, and whether it has further parts.

use std::collections::BTreeSet;

use serde_json::Value;

use super::content::{Descriptors, further_parts, layers_of};
use super::place::{CachePlace, PlaceError};
use crate::engine::spec::SolveCache;
use crate::registry::{RawManifest, Registries};
use crate::types::Digest;

/// Where BuildKit puts an inline cache in an image's configuration (`exporter/containerimage/exptypes`).
const INLINE_CACHE: &str = "moby.buildkit.cache.v0";
/// The largest configuration of an image that is read, in bytes.
const IMAGE_CONFIG_LIMIT: usize = 4 << 20;
/// The most images of an index that are looked at.
const MAX_IMAGES: usize = 8;

/// What is at the place of an import.
#[derive(Debug, Clone, Default)]
pub(in crate::run) enum ImportLook {
    /// rbake cannot see it.
    #[default]
    Unknown,
    /// Nothing: the registry has answered so.
    Nothing,
    /// A cache.
    Cache(CacheAtImport),
    /// An image, which may have a cache inside.
    Image(Box<ImageAtImport>),
}

/// A cache at the place of an import.
#[derive(Debug, Clone)]
pub(in crate::run) struct CacheAtImport {
    /// Its further parts.
    pub(in crate::run) parts: Vec<Digest>,
    /// The manifest of its first part.
    pub(in crate::run) manifest: RawManifest,
}

/// An image at the place of an import.
#[derive(Debug, Clone)]
pub(in crate::run) struct ImageAtImport {
    place: CachePlace,
    manifest: RawManifest,
}

impl CacheAtImport {
    /// The layers of its first part, which its repository has.
    pub(in crate::run) fn layers(&self) -> BTreeSet<Digest> {
        layers_of(&self.manifest)
    }
}

impl ImportLook {
    /// Looks at the registry cache `cache`, in one request.
    pub(in crate::run) async fn at(cache: &SolveCache, registries: &Registries) -> Self {
        let Some(place) = CachePlace::in_registry(cache, registries) else {
            return Self::Unknown;
        };
        match place.manifest().await {
            Ok(Some(manifest)) => match Descriptors::of(&manifest) {
                Ok(_) => Self::Cache(CacheAtImport {
                    parts: further_parts(manifest.bytes()),
                    manifest,
                }),
                Err(_) => Self::Image(Box::new(ImageAtImport { place, manifest })),
            },
            Ok(None) => Self::Nothing,
            Err(_) => Self::Unknown,
        }
    }
}

impl ImageAtImport {
    /// Whether no image there has an inline cache. False if that cannot be seen. Costs one request, or two for each image
    /// of an index.
    pub(in crate::run) async fn has_no_cache(&self) -> bool {
        self.try_has_no_cache().await.unwrap_or_default()
    }

    async fn try_has_no_cache(&self) -> Result<bool, PlaceError> {
        let parsed = parsed(&self.manifest);
        let Some(list) = parsed["manifests"].as_array() else {
            return self.lacks_inline_cache(&parsed).await;
        };
        let is_image = |entry: &&Value| entry["platform"]["os"] != "unknown";
        let images: Vec<&Value> = list.iter().filter(is_image).collect();
        if images.len() > MAX_IMAGES {
            return Ok(false);
        }
        for image in images {
            let Some(digest) = digest_of(image) else {
                return Ok(false);
            };
            let Some(manifest) = self.place.manifest_of(&digest).await? else {
                return Ok(false);
            };
            if !self.lacks_inline_cache(&self::parsed(&manifest)).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the image with this manifest has no inline cache.
    async fn lacks_inline_cache(&self, manifest: &Value) -> Result<bool, PlaceError> {
        let Some(digest) = digest_of(&manifest["config"]) else {
            return Ok(false);
        };
        let Some(config) = self.place.blob(&digest, IMAGE_CONFIG_LIMIT).await? else {
            return Ok(false);
        };
        let config: Result<Value, _> = serde_json::from_slice(&config);
        Ok(config.is_ok_and(|config| config.get(INLINE_CACHE).is_none_or(Value::is_null)))
    }
}

fn parsed(manifest: &RawManifest) -> Value {
    serde_json::from_slice(manifest.bytes()).unwrap_or_default()
}

fn digest_of(descriptor: &Value) -> Option<Digest> {
    descriptor["digest"].as_str()?.parse().ok()
}
