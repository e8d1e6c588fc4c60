//! The top-level manifest of an image, as far as the comparison looks into it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::object::RawObject;
use crate::types::Digest;

/// The largest manifest that is parsed, in bytes. Registries must accept this size and may refuse more
/// (distribution spec, "Pushing Manifests").
pub(crate) const MANIFEST_LIMIT: usize = 4 << 20;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Marks the descriptor of an attestation manifest, which BuildKit writes (`util/attestation/types`).
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
const ATTESTATION: &str = "attestation-manifest";

/// A manifest cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    /// It has more than [`MANIFEST_LIMIT`] bytes.
    #[error("the manifest has more than {MANIFEST_LIMIT} bytes")]
    TooLarge,
    /// It is not JSON, or a field that matters has another type.
    #[error("the manifest is not valid")]
    Form(#[source] serde_json::Error),
    /// It is not an index, so it has no place for annotations of all its images.
    #[error("the manifest is not an index")]
    NotAnIndex,
    /// A descriptor has no valid digest.
    #[error("a descriptor in the manifest has no valid digest")]
    Digest(#[source] crate::types::digest::InvalidDigest),
}

/// An index, or a manifest that is the only image.
#[derive(Debug)]
pub(super) struct TopLevel {
    /// The images, in order.
    pub(super) images: Vec<ImageEntry>,
    /// The attestation manifests, in order.
    pub(super) attestations: Vec<AttestationEntry>,
    /// The annotations of the index. `None` if it is not an index.
    pub(super) annotations: Option<BTreeMap<String, String>>,
    /// All other fields of the index.
    pub(super) rest: BTreeMap<String, Value>,
}

/// The image of a platform.
#[derive(Debug, PartialEq)]
pub(super) struct ImageEntry {
    pub(super) digest: Digest,
    /// `None` if it is not known, as for a manifest without an index.
    pub(super) platform: Option<Value>,
    /// All other fields of the descriptor, annotations among them.
    pub(super) rest: BTreeMap<String, Value>,
}

/// The attestations of an image.
#[derive(Debug)]
pub(super) struct AttestationEntry {
    pub(super) digest: Digest,
    /// The digest of the image, as it is written.
    pub(super) of: String,
}

/// Parses `bytes` of a limited size.
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ManifestError> {
    if bytes.len() > MANIFEST_LIMIT {
        return Err(ManifestError::TooLarge);
    }
    serde_json::from_slice(bytes).map_err(ManifestError::Form)
}

/// Whether `object` is an index: its media type says so, or it has no media type and has manifests.
pub(super) fn is_index(object: &RawObject) -> bool {
    match object.get("mediaType").map(RawValue::get) {
        Some(text) => serde_json::from_str::<String>(text)
            .is_ok_and(|media_type| matches!(media_type.as_str(), OCI_INDEX | DOCKER_LIST)),
        None => object.get("manifests").is_some() && object.get("config").is_none(),
    }
}

impl TopLevel {
    /// Parses the bytes of an index or of a manifest.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let object: RawObject = parse(bytes)?;
        if !is_index(&object) {
            return Ok(Self::of_manifest(bytes));
        }
        let mut top = Self {
            images: Vec::new(),
            attestations: Vec::new(),
            annotations: Some(BTreeMap::new()),
            rest: BTreeMap::new(),
        };
        for (name, value) in &object.0 {
            match name.as_str() {
                "annotations" => {
                    let annotations: Option<BTreeMap<String, String>> = from_raw(value.get())?;
                    top.annotations = Some(annotations.unwrap_or_default());
                }
                "manifests" => {
                    let entries: Option<Vec<BTreeMap<String, Value>>> = from_raw(value.get())?;
                    for entry in entries.unwrap_or_default() {
                        top.add(entry)?;
                    }
                }
                _ => drop(top.rest.insert(name.clone(), from_raw(value.get())?)),
            }
        }
        Ok(top)
    }

    fn of_manifest(bytes: &[u8]) -> Self {
        let image = ImageEntry {
            digest: Digest::sha256(bytes),
            platform: None,
            rest: BTreeMap::new(),
        };
        Self {
            images: vec![image],
            attestations: Vec::new(),
            annotations: None,
            rest: BTreeMap::new(),
        }
    }

    fn add(&mut self, mut entry: BTreeMap<String, Value>) -> Result<(), ManifestError> {
        let digest = entry.remove("digest");
        let digest = digest.as_ref().and_then(Value::as_str).unwrap_or_default();
        let digest = digest.parse().map_err(ManifestError::Digest)?;
        let annotation = |name: &str| {
            let found = entry.get("annotations").and_then(|all| all.get(name));
            found.and_then(Value::as_str)
        };
        if annotation(REFERENCE_TYPE) == Some(ATTESTATION) {
            let of = annotation(REFERENCE_DIGEST).unwrap_or_default().to_owned();
            self.attestations.push(AttestationEntry { digest, of });
        } else {
            // The size follows from the digest.
            entry.remove("size");
            let platform = entry.remove("platform").filter(|value| !value.is_null());
            self.images.push(ImageEntry {
                digest,
                platform,
                rest: entry,
            });
        }
        Ok(())
    }
}

fn from_raw<'a, T: Deserialize<'a>>(raw: &'a str) -> Result<T, ManifestError> {
    serde_json::from_str(raw).map_err(ManifestError::Form)
}
