//! What `registry` puts in the place of a manifest whose tag it removes, if the registry deletes by digest only.

use jiff::Timestamp;
use serde_json::json;

use crate::prune::graph::PLACEHOLDER_TYPE;
use crate::publish::compare::CREATED;
use crate::publish::journal::artifact::{EMPTY_BLOB, EMPTY_DIGEST};
use crate::types::{Digest, ImageTag};

/// The media type of the placeholder.
pub(super) const MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Returns the bytes of the placeholder of `tag`. They are different for each tag and each plan.
pub(super) fn manifest(tag: &ImageTag, plan: &Digest, now: Timestamp) -> Vec<u8> {
    let empty = json!({
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": EMPTY_DIGEST,
        "size": EMPTY_BLOB.len(),
        "data": "e30=",
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPE,
        "artifactType": PLACEHOLDER_TYPE,
        "config": empty,
        "layers": [empty],
        "annotations": {
            CREATED: now.to_string(),
            "vnd.rbake.placeholder.tag": tag.as_str(),
            "vnd.rbake.placeholder.plan": plan.as_str(),
        },
    });
    manifest.to_string().into_bytes()
}
