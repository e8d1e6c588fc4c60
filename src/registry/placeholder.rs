//! Artifacts without content of their own. One of them takes the place of another manifest under a tag, so that the tag
//! can be deleted with it.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;

use super::RemoteRepository;
use super::error::{RegistryError, RegistryFault};
use super::manifest::{OCI_MANIFEST, RawManifest, TagOrDigest};
use crate::types::{Digest, ImageTag};

/// The type of the artifact.
const ARTIFACT_TYPE: &str = "application/vnd.rbake.removed.v1+json";

/// The only blob that the manifest names (image-spec, "Guidance for an Empty Descriptor").
pub(super) const EMPTY_BLOB: Bytes = Bytes::from_static(b"{}");
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

impl RemoteRepository {
    /// Writes an artifact whose only blob is the empty one, `{}`. That is in the repository except at the first time, so
    /// rbake uploads it only if the registry refuses the artifact.
    pub(crate) async fn put_artifact(
        &self,
        name: &TagOrDigest,
        manifest: &RawManifest,
    ) -> Result<(), RegistryError> {
        let written = self.put(name, manifest).await;
        let is_refused = |error: &RegistryError| {
            matches!(
                error.fault,
                RegistryFault::Refused {
                    status: 400..=499,
                    ..
                } | RegistryFault::NotFound { .. }
            )
        };
        if !written.as_ref().is_err_and(is_refused) {
            return written;
        }
        self.put_blob(&EMPTY_BLOB).await?;
        self.put(name, manifest).await
    }

    /// Makes a manifest that exists nowhere else: its digest must belong to one tag only, and was never written.
    ///
    /// Its annotations say what a person needs who finds it under the tag, if rbake was killed before it deleted the
    /// manifest.
    pub(super) fn placeholder(&self, tag: &ImageTag) -> Result<RawManifest, RegistryFault> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(RegistryFault::NoRandomness)?;
        let now = Timestamp::try_from(self.connection.parts.clock.now()).unwrap_or_default();
        let empty = json!({
            "mediaType": EMPTY_TYPE,
            "digest": Digest::sha256(&EMPTY_BLOB).as_str(),
            "size": EMPTY_BLOB.len(),
            "data": "e30=",
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": ARTIFACT_TYPE,
            "config": empty,
            "layers": [empty],
            "annotations": {
                "org.opencontainers.image.created": now.to_string(),
                "vnd.rbake.removed.repository": self.name.to_string(),
                "vnd.rbake.removed.tag": tag.as_str(),
                "vnd.rbake.removed.random": hex::encode(random),
            },
        });
        RawManifest::new(OCI_MANIFEST, manifest.to_string().into())
    }
}
