//! Manifests as bytes, and what is known of them.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use serde::Deserialize;

use super::error::RegistryFault;
use crate::types::{Digest, ImageTag};

/// The largest manifest, in bytes. Registries accept no larger ones (distribution, `maxManifestBodySize` in
/// `registry/handlers/manifests.go`), and containerd reads no larger ones.
pub(crate) const LARGEST_MANIFEST: usize = 4 << 20;

/// How a manifest is named within its repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TagOrDigest {
    /// By a tag, which may be moved at any time.
    Tag(ImageTag),
    /// By its digest.
    Digest(Digest),
}

impl fmt::Display for TagOrDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl From<ImageTag> for TagOrDigest {
    fn from(tag: ImageTag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for TagOrDigest {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

/// A manifest or index: exactly the bytes that the registry has, so that fields which rbake does not know are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawManifest {
    media_type: String,
    digest: Digest,
    bytes: Bytes,
}

/// The typed content of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ManifestContent {
    /// The manifest of an image or an artifact.
    Image(Box<ImageManifest>),
    /// A list of manifests.
    Index(Box<ImageIndex>),
    /// Something else, about which nothing is known.
    Other,
}

impl RawManifest {
    /// A manifest with these bytes. Its digest is SHA-256.
    ///
    /// Fails if they are too large, or if the media type cannot be a header's value.
    pub(crate) fn new(media_type: &str, bytes: Bytes) -> Result<Self, RegistryFault> {
        let digest = Digest::sha256(&bytes);
        Self::with_digest(media_type, digest, bytes)
    }

    /// A manifest whose media type is the one that it names itself.
    ///
    /// Fails if it names none, or is too large.
    pub(crate) fn with_own_type(bytes: Bytes) -> Result<Self, RegistryFault> {
        let media_type = own_media_type(&bytes).unwrap_or_default();
        Self::new(&media_type, bytes)
    }

    /// The same for a digest that was checked, and may be of another algorithm.
    pub(super) fn with_digest(
        media_type: &str,
        digest: Digest,
        bytes: Bytes,
    ) -> Result<Self, RegistryFault> {
        if bytes.len() > LARGEST_MANIFEST {
            let what = format!("a manifest of more than {LARGEST_MANIFEST} bytes");
            return Err(RegistryFault::malformed(what));
        }
        if !is_media_type(media_type) {
            return Err(RegistryFault::malformed("a manifest without a media type"));
        }
        Ok(Self {
            media_type: media_type.to_owned(),
            digest,
            bytes,
        })
    }

    /// The media type, without parameters.
    pub(crate) fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The digest of the bytes.
    pub(crate) const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The bytes.
    pub(crate) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Media type, digest and size.
    pub(crate) fn descriptor(&self) -> ContentDescriptor {
        ContentDescriptor {
            media_type: self.media_type.clone(),
            digest: self.digest.clone(),
            size: u64::try_from(self.bytes.len()).unwrap_or(u64::MAX),
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Parses the bytes according to the media type. Fails if they do not have its form.
    pub(crate) fn content(&self) -> Result<ManifestContent, RegistryFault> {
        let malformed = |error: serde_json::Error| {
            RegistryFault::malformed(format!("not a valid manifest: {}", at(&error)))
        };
        if is_image(&self.media_type) {
            let manifest = serde_json::from_slice(&self.bytes).map_err(malformed)?;
            return Ok(ManifestContent::Image(Box::new(manifest)));
        }
        if is_index(&self.media_type) {
            let index = serde_json::from_slice(&self.bytes).map_err(malformed)?;
            return Ok(ManifestContent::Index(Box::new(index)));
        }
        Ok(ManifestContent::Other)
    }
}

/// Where the error is. Its message may repeat parts of the text.
fn at(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The media types that rbake accepts, as containerd sends them. Without the last one, a registry hides manifests of
/// other types.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, */*";

/// Whether it is the media type of one image or artifact.
pub(super) fn is_image(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// Whether it is the media type of a list of manifests.
pub(super) fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

/// Whether `text` is `type/subtype` in the characters of RFC 6838, and not longer than it allows.
fn is_media_type(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.len() <= 127
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    text.split_once('/')
        .is_some_and(|(one, other)| is_name(one) && is_name(other))
}

/// The media type in a `Content-Type` header. `None` if there is none.
pub(super) fn media_type_of(header: &str) -> Option<&str> {
    let media_type = header.split(';').next().unwrap_or_default().trim();
    is_media_type(media_type).then_some(media_type)
}

/// The media type that a manifest names itself. `None` if it names none, or is not JSON.
pub(super) fn own_media_type(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "mediaType")]
        media_type: String,
    }
    let typed: Typed = serde_json::from_slice(bytes).ok()?;
    (!typed.media_type.is_empty()).then_some(typed.media_type)
}

/// What refers to a manifest or blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContentDescriptor {
    /// The media type.
    pub(crate) media_type: String,
    /// The digest.
    pub(crate) digest: Digest,
    /// The size in bytes.
    pub(crate) size: u64,
    /// The type of an artifact. `None` if the descriptor has none.
    pub(crate) artifact_type: Option<String>,
    /// The descriptor's annotations.
    pub(crate) annotations: BTreeMap<String, String>,
}

impl ContentDescriptor {
    /// Whether it names an image, and not what describes another manifest (BuildKit's attestation storage).
    pub(crate) fn is_platform(&self) -> bool {
        !self.annotations.contains_key("vnd.docker.reference.type")
    }
}

impl TryFrom<&Descriptor> for ContentDescriptor {
    type Error = RegistryFault;

    /// Fails if the digest is of an algorithm that rbake does not know.
    fn try_from(descriptor: &Descriptor) -> Result<Self, RegistryFault> {
        let digest = descriptor.digest().to_string().parse();
        let annotations = descriptor.annotations().iter().flatten();
        Ok(Self {
            media_type: descriptor.media_type().to_string(),
            digest: digest
                .map_err(|_| RegistryFault::malformed("a descriptor with an unknown digest"))?,
            size: descriptor.size(),
            artifact_type: descriptor.artifact_type().as_ref().map(ToString::to_string),
            annotations: annotations.map(|(k, v)| (k.clone(), v.clone())).collect(),
        })
    }
}
