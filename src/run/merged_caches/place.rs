//! Where a cache is stored as a manifest: under a tag in a registry, or in a directory of this machine.

use std::time::Duration;

use bytes::Bytes;

use super::SharedCache;
use crate::engine::session::content::{IndexName, LayoutDirectory, LayoutError};
use crate::engine::spec::{CacheBackend, SolveCache};
use crate::golang::strconv;
use crate::publish::compare::{MANIFEST_LIMIT, ManifestError};
use crate::registry::{
    RawManifest, Registries, RegistryError, RegistryFault, RegistrySecurity, RemoteRepository,
    TagOrDigest,
};
use crate::run::lower::LocalCache;
use crate::types::blocking::unblock;
use crate::types::{Digest, ImageRepository, ImageTag};

use super::config::InvalidConfig;

/// The most time for the first answer of a registry. Some registries can be reached by the builder only, and the run must
/// not wait for the retries of each request.
const REACH_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a stored cache cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    /// The registry refused, or did not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The registry has not answered rbake at all. Perhaps only the builder reaches it.
    #[error("the registry did not answer rbake")]
    Silent,
    /// The directory cannot be read or written.
    #[error(transparent)]
    Directory(#[from] LayoutError),
    /// The manifest has another form.
    #[error("the manifest of the cache is not valid")]
    Manifest(#[from] RegistryFault),
    /// The manifest has another form.
    #[error("the manifest of the cache cannot be changed")]
    Annotations(#[from] ManifestError),
    /// The manifest is not that of a cache.
    #[error("it is not a cache: its manifest has no configuration of a cache")]
    NotACache,
    /// A blob is missing.
    #[error("`{0}` of the cache is missing")]
    Missing(Digest),
    /// The cache needs a second tag, which would be too long.
    #[error("the tag `{0}` is too long for a cache of several parts")]
    PartTag(String),
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
}

/// The place of a cache.
#[derive(Debug, Clone)]
pub(super) enum CachePlace {
    /// A tag in a registry.
    Registry {
        repository: RemoteRepository,
        tag: ImageTag,
    },
    /// A tag in a directory.
    Directory {
        layout: LayoutDirectory,
        tag: String,
    },
}

impl CachePlace {
    /// The place that `cache` is exported to. `None` if the cache is not stored as a manifest, or its directory does not
    /// exist. Blocks for a short time if it is a directory.
    pub(super) fn of_export(cache: &SharedCache, registries: &Registries) -> Option<Self> {
        match &cache.local {
            Some(LocalCache::Export { dir, tag, .. }) => Some(Self::Directory {
                layout: LayoutDirectory::open(dir).ok().flatten()?,
                tag: tag.clone(),
            }),
            Some(LocalCache::Import { .. }) => None,
            None => Self::in_registry(&cache.cache, registries),
        }
    }

    /// The place of `cache`, if it is in a registry and has a tag.
    pub(super) fn in_registry(cache: &SolveCache, registries: &Registries) -> Option<Self> {
        let reference = cache.image.as_ref()?.reference();
        if cache.backend != CacheBackend::Registry {
            return None;
        }
        let insecure = cache.extra.get("registry.insecure");
        let security = match insecure.and_then(|value| strconv::parse_bool(value)) {
            Some(true) => RegistrySecurity::Waived,
            _ => RegistrySecurity::Required,
        };
        Some(Self::Registry {
            repository: registries.repository(&ImageRepository::of(reference), security),
            tag: ImageTag::of(reference)?,
        })
    }

    /// The tag.
    pub(super) fn tag(&self) -> &str {
        match self {
            Self::Registry { tag, .. } => tag.as_str(),
            Self::Directory { tag, .. } => tag,
        }
    }

    /// The manifest under the tag.
    pub(super) async fn manifest(&self) -> Result<Option<RawManifest>, PlaceError> {
        match self {
            Self::Registry { repository, tag } => {
                let tag = TagOrDigest::Tag(tag.clone());
                if repository.has_answered() {
                    return Ok(repository.get(&tag).await?);
                }
                let read = tokio::time::timeout(REACH_TIMEOUT, repository.get(&tag));
                Ok(read.await.map_err(|_| PlaceError::Silent)??)
            }
            Self::Directory { layout, tag } => {
                let (layout, tag) = (layout.clone(), tag.clone());
                let read = move || {
                    let Some(digest) = layout.tagged(&tag)? else {
                        return Ok(None);
                    };
                    layout.read_blob(&digest, MANIFEST_LIMIT)
                };
                from_directory(unblock(read).await?)
            }
        }
    }

    /// The manifest `digest`.
    pub(super) async fn manifest_of(
        &self,
        digest: &Digest,
    ) -> Result<Option<RawManifest>, PlaceError> {
        match self {
            Self::Registry { repository, .. } => {
                Ok(repository.get(&TagOrDigest::Digest(digest.clone())).await?)
            }
            Self::Directory { .. } => from_directory(self.blob(digest, MANIFEST_LIMIT).await?),
        }
    }

    /// A blob of at most `limit` bytes.
    pub(super) async fn blob(
        &self,
        digest: &Digest,
        limit: usize,
    ) -> Result<Option<Bytes>, PlaceError> {
        match self {
            Self::Registry { repository, .. } => Ok(repository.get_blob(digest, limit).await?),
            Self::Directory { layout, .. } => {
                let (layout, digest) = (layout.clone(), digest.clone());
                Ok(unblock(move || layout.read_blob(&digest, limit)).await?)
            }
        }
    }

    /// Writes a blob.
    pub(super) async fn put_blob(&self, bytes: &Bytes) -> Result<(), PlaceError> {
        match self {
            Self::Registry { repository, .. } => {
                repository.put_blob(bytes).await?;
            }
            Self::Directory { layout, .. } => {
                let (layout, bytes) = (layout.clone(), bytes.clone());
                unblock(move || layout.write_blob(&bytes)).await?;
            }
        }
        Ok(())
    }

    /// Writes a manifest under a tag.
    pub(super) async fn put_manifest(
        &self,
        tag: &ImageTag,
        manifest: &RawManifest,
    ) -> Result<(), PlaceError> {
        match self {
            Self::Registry { repository, .. } => Ok(repository
                .put(&TagOrDigest::Tag(tag.clone()), manifest)
                .await?),
            Self::Directory { .. } => self.put_under(tag.as_str(), manifest).await,
        }
    }

    /// Writes a manifest under the tag of the place.
    pub(super) async fn put_first(&self, manifest: &RawManifest) -> Result<(), PlaceError> {
        match self {
            Self::Registry { tag, .. } => self.put_manifest(tag, manifest).await,
            Self::Directory { tag, .. } => self.put_under(tag, manifest).await,
        }
    }

    async fn put_under(&self, tag: &str, manifest: &RawManifest) -> Result<(), PlaceError> {
        let Self::Directory { layout, .. } = self else {
            return Ok(());
        };
        self.put_blob(manifest.bytes()).await?;
        let descriptor = serde_json::json!({
            "mediaType": manifest.media_type(),
            "digest": manifest.digest().as_str(),
            "size": manifest.bytes().len(),
        });
        let names = [IndexName::Tag(tag.to_owned())];
        layout.enter(&descriptor.to_string(), &names).await?;
        Ok(())
    }
}

/// A manifest of a directory. Its media type is in its text; BuildKit always writes it there.
fn from_directory(bytes: Option<Bytes>) -> Result<Option<RawManifest>, PlaceError> {
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    let parsed: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    let media_type = parsed.as_ref().and_then(|text| text["mediaType"].as_str());
    let media_type = media_type.ok_or(PlaceError::NotACache)?;
    Ok(Some(RawManifest::new(media_type, bytes)?))
}
