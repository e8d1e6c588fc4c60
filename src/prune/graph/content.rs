//! One manifest, parsed without trust.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::members::ManifestMembers;
use crate::publish::compare::{CREATED, MANIFEST_LIMIT};
use crate::publish::journal::artifact::{self, ArtifactError};
use crate::publish::journal::{Journal, RunId};
use crate::types::Digest;
use crate::types::digest::InvalidDigest;
use crate::types::terminal::visible;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The configuration of a cache (BuildKit, `cache/remotecache/v1/types/spec.go`). It is the config of a manifest, or,
/// with `image-manifest=false`, an entry of an index.
const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";
/// Media types that begin like this are those of layers. A cache may be an index of layers.
const LAYERS: [&str; 2] = [
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.",
];

/// The annotation of an attestation manifest's descriptor (BuildKit, `util/attestation/types.go`): the image.
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
/// Annotations that begin like this tell the owner of a cache.
const CACHE_PREFIX: &str = "vnd.rbake.cache.";

/// The type of an artifact that takes the place of a manifest whose tag is being removed. `registry` writes it where a
/// registry deletes by digest only; if rbake is killed then, it stays, and a later prune deletes it.
pub(crate) const PLACEHOLDER_TYPE: &str = "application/vnd.rbake.removed.v1+json";

/// The most descriptors of one manifest.
const DESCRIPTORS: usize = 10_000;
/// The longest text of a time, in bytes.
const LONGEST_TIME: usize = 64;
/// Times before 1980 are not believed, in seconds: builds whose result must not depend on the time use 1970.
const EARLIEST: i64 = 315_532_800;

/// A manifest as the caller has read it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ManifestSource<'a> {
    /// The digest by which it was asked for.
    pub(crate) digest: &'a Digest,
    /// The media type that the registry reports.
    pub(crate) media_type: &'a str,
    /// The bytes.
    pub(crate) bytes: &'a [u8],
    /// When the registry received it. `None` if the registry does not tell.
    pub(crate) uploaded: Option<Timestamp>,
}

/// A manifest cannot be read, so nobody knows where it leads.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnreadableManifest {
    /// The caller could not read it.
    #[error("the registry does not give it")]
    Refused,
    /// It is too large.
    #[error("it has more than {MANIFEST_LIMIT} bytes")]
    TooLarge,
    /// The bytes are of another manifest.
    #[error("its content has another digest")]
    Mismatch,
    /// The media type is not known.
    #[error("its media type `{}` is not known", visible(.0))]
    MediaType(String),
    /// It names another media type than the registry does.
    #[error("it names another media type than the registry reports")]
    MediaTypesDiffer,
    /// It has the fields of an index and those of an image.
    #[error("it is an image as well as an index")]
    Ambiguous,
    /// It is not valid.
    #[error("it is not a valid manifest")]
    Form(#[source] serde_json::Error),
    /// A descriptor has no digest, or one of an unknown form.
    #[error("a descriptor in it has no valid digest")]
    Digest(#[source] InvalidDigest),
    /// It has too many descriptors.
    #[error("it has more than {DESCRIPTORS} descriptors")]
    TooMany,
}

/// What a manifest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ManifestKind {
    /// The image of one platform, or an artifact such as a signature.
    Image,
    /// A list of manifests.
    Index,
    /// A cache of BuildKit.
    Cache,
    /// The record of a run.
    Record,
    /// It takes the place of a manifest whose tag is being removed.
    Placeholder,
}

/// An entry of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ManifestEntry {
    /// The digest.
    pub(crate) digest: Digest,
    /// The size that the descriptor claims, in bytes.
    pub(crate) size: u64,
    /// Whether it is a blob by its place or its media type.
    pub(crate) is_blob: bool,
    /// The image that the entry attests. `None` for other entries.
    pub(crate) attests: Option<Digest>,
}

/// What matters of the record of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunRecord {
    /// The run.
    pub(crate) run: RunId,
    /// When it began.
    pub(crate) started: Timestamp,
    /// Whether nothing is left to do or to wait for.
    pub(crate) is_ended: bool,
    /// The digests that it gave to tags, and those that the tags had.
    pub(crate) names: BTreeSet<Digest>,
}

impl From<&Journal> for RunRecord {
    fn from(journal: &Journal) -> Self {
        let entries = journal.entries.values();
        let names = entries.flat_map(|entry| entry.was.iter().chain([&entry.to]));
        Self {
            run: journal.header.run.clone(),
            started: journal.header.started,
            is_ended: journal.status.is_ended(),
            names: names.cloned().collect(),
        }
    }
}

/// A manifest of a repository.
#[derive(Debug)]
pub(crate) struct StoredManifest {
    /// Its kind, for people.
    pub(crate) kind: ManifestKind,
    /// The size in bytes.
    pub(crate) size: u64,
    /// The annotations that tell the owner of a cache.
    pub(crate) owner: BTreeMap<String, String>,
    /// When it was made or received, whichever is later. `None` if that is not known.
    pub(crate) time: Option<Timestamp>,
    /// The manifest to which it refers.
    pub(crate) subject: Option<Digest>,
    /// The children, or config and layers.
    pub(crate) entries: Vec<ManifestEntry>,
    /// The record of a run. `None` if the manifest does not say that it is one.
    pub(crate) record: Option<Result<RunRecord, ArtifactError>>,
}

impl StoredManifest {
    /// Parses a manifest.
    pub(super) fn parse(source: &ManifestSource<'_>) -> Result<Self, UnreadableManifest> {
        let bytes = source.bytes;
        if bytes.len() > MANIFEST_LIMIT {
            return Err(UnreadableManifest::TooLarge);
        }
        if source.digest.of_same_algorithm(bytes) != *source.digest {
            return Err(UnreadableManifest::Mismatch);
        }
        let is_index = match source.media_type {
            OCI_INDEX | DOCKER_LIST => true,
            OCI_MANIFEST | DOCKER_MANIFEST => false,
            other => return Err(UnreadableManifest::MediaType(other.to_owned())),
        };
        let form = UnreadableManifest::Form;
        let members: ManifestMembers = serde_json::from_slice(bytes).map_err(form)?;
        let own: Option<String> = members.get("mediaType").map_err(form)?;
        if own.is_some_and(|own| !own.is_empty() && own != source.media_type) {
            return Err(UnreadableManifest::MediaTypesDiffer);
        }
        let other = if is_index {
            ["config", "layers"].as_slice()
        } else {
            &["manifests"]
        };
        if other.iter().any(|name| members.has(name)) {
            return Err(UnreadableManifest::Ambiguous);
        }
        let annotations = annotations(&members)?;
        let artifact_type: Option<String> = members.get("artifactType").map_err(form)?;
        let subject: Option<ManifestMembers> = members.get("subject").map_err(form)?;
        let subject = subject.as_ref().map(digest_of).transpose()?;
        let created = annotations.get(CREATED).and_then(|text| time(text));
        let kind = match artifact_type.as_deref() {
            Some(artifact::ARTIFACT_TYPE) => ManifestKind::Record,
            Some(PLACEHOLDER_TYPE) => ManifestKind::Placeholder,
            _ if annotations
                .keys()
                .any(|name| name.starts_with(CACHE_PREFIX)) =>
            {
                ManifestKind::Cache
            }
            _ if is_index => ManifestKind::Index,
            _ => ManifestKind::Image,
        };
        let mut manifest = Self {
            kind,
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            time: created.max(source.uploaded.filter(is_believed)),
            subject,
            entries: Vec::new(),
            owner: annotations
                .into_iter()
                .filter(|(name, _)| name.starts_with(CACHE_PREFIX))
                .collect(),
            record: (kind == ManifestKind::Record)
                .then(|| artifact::decode(bytes).map(|run| RunRecord::from(&run.journal))),
        };
        manifest.add_entries(&members, is_index)?;
        Ok(manifest)
    }

    fn add_entries(
        &mut self,
        members: &ManifestMembers,
        is_index: bool,
    ) -> Result<(), UnreadableManifest> {
        let form = UnreadableManifest::Form;
        if let Some(config) = members.get::<ManifestMembers>("config").map_err(form)? {
            self.add_entry(&config, false)?;
        }
        let list = if is_index { "manifests" } else { "layers" };
        let list: Option<Vec<ManifestMembers>> = members.get(list).map_err(form)?;
        for descriptor in list.iter().flatten() {
            self.add_entry(descriptor, is_index)?;
        }
        Ok(())
    }

    fn add_entry(
        &mut self,
        descriptor: &ManifestMembers,
        is_child: bool,
    ) -> Result<(), UnreadableManifest> {
        let form = UnreadableManifest::Form;
        if self.entries.len() == DESCRIPTORS {
            return Err(UnreadableManifest::TooMany);
        }
        let media_type: Option<String> = descriptor.get("mediaType").map_err(form)?;
        let media_type = media_type.unwrap_or_default();
        if media_type == CACHE_CONFIG {
            self.kind = ManifestKind::Cache;
        }
        let is_layer = LAYERS.iter().any(|start| media_type.starts_with(start));
        let annotations = annotations(descriptor)?;
        let attests = annotations.get(REFERENCE_DIGEST);
        self.entries.push(ManifestEntry {
            digest: digest_of(descriptor)?,
            size: descriptor.get("size").map_err(form)?.unwrap_or_default(),
            is_blob: !is_child || is_layer || media_type == CACHE_CONFIG,
            attests: attests.and_then(|text| text.parse().ok()),
        });
        Ok(())
    }
}

fn digest_of(descriptor: &ManifestMembers) -> Result<Digest, UnreadableManifest> {
    let text: Option<String> = descriptor.get("digest").map_err(UnreadableManifest::Form)?;
    let text = text.unwrap_or_default();
    text.parse().map_err(UnreadableManifest::Digest)
}

fn annotations(members: &ManifestMembers) -> Result<BTreeMap<String, String>, UnreadableManifest> {
    let annotations: Option<BTreeMap<String, Option<String>>> = members
        .get("annotations")
        .map_err(UnreadableManifest::Form)?;
    let annotations = annotations.into_iter().flatten();
    Ok(annotations
        .filter_map(|(name, value)| Some((name, value?)))
        .collect())
}

fn time(text: &str) -> Option<Timestamp> {
    let time: Timestamp = (text.len() <= LONGEST_TIME)
        .then(|| text.parse().ok())
        .flatten()?;
    is_believed(&time).then_some(time)
}

fn is_believed(time: &Timestamp) -> bool {
    time.as_second() >= EARLIEST
}
