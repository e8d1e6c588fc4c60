//! Contents of images that a daemon holds, and the size of an image, computed from its manifests.
//!
//! The daemon serves its content store next to its control interface. Nothing here fails a build: an image that
//! cannot be read has no size.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use rbake_proto::content::ReadContentRequest;
use serde_json::Value;
use tonic::Status;

use super::connection::Connection;
use crate::types::Digest;

/// The largest manifest that is read, in bytes.
const LIMIT: usize = 4 << 20;
/// The most manifests that are read of one index.
const MANIFESTS: usize = 16;
/// The annotation of manifests that describe other manifests instead of being images (BuildKit's attestation
/// storage).
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// The compressed size of the image `digest` in bytes: the configurations and layers of all platforms. `None` if a
/// part of it cannot be read.
pub(super) async fn size(connection: &Connection, digest: &Digest) -> Option<u64> {
    let top = manifest(connection, digest).await?;
    let Some(entries) = top.get("manifests").and_then(Value::as_array) else {
        return content_size(&top);
    };
    let images = entries
        .iter()
        .filter(|entry| entry["annotations"].get(REFERENCE_TYPE).is_none());
    let mut total = 0_u64;
    for entry in images.take(MANIFESTS) {
        let digest = entry["digest"].as_str()?.parse().ok()?;
        let size = content_size(&manifest(connection, &digest).await?)?;
        total = total.checked_add(size)?;
    }
    Some(total)
}

/// The manifests of the platforms of the image `digest`, in its order. Those are what its content is: an index also has
/// attestations, which have times. `None` if it cannot be read.
pub(super) async fn manifests(connection: &Connection, digest: &Digest) -> Option<Vec<Digest>> {
    let top = manifest(connection, digest).await?;
    let Some(entries) = top.get("manifests").and_then(Value::as_array) else {
        return Some(vec![digest.clone()]);
    };
    let images = entries
        .iter()
        .filter(|entry| entry["annotations"].get(REFERENCE_TYPE).is_none());
    images
        .map(|entry| entry["digest"].as_str()?.parse().ok())
        .collect()
}

/// The sum of the sizes that a manifest states. `None` if it is not an image manifest, or if a size is missing.
fn content_size(manifest: &Value) -> Option<u64> {
    let layers = manifest["layers"].as_array()?;
    let sizes = std::iter::once(&manifest["config"])
        .chain(layers)
        .map(|part| part["size"].as_u64());
    sizes.sum::<Option<u64>>()
}

/// Reads a manifest from the daemon's content store. `None` if it cannot be read or is too large.
async fn manifest(connection: &Connection, digest: &Digest) -> Option<Value> {
    serde_json::from_slice(&content(connection, digest, LIMIT).await?).ok()
}

/// Reads a content from the daemon's content store. `None` if it cannot be read, has more than `limit` bytes, or does
/// not have this digest.
pub(super) async fn content(
    connection: &Connection,
    digest: &Digest,
    limit: usize,
) -> Option<Bytes> {
    let request = ReadContentRequest {
        digest: digest.to_string(),
        offset: 0,
        size: 0,
    };
    let mut parts = connection.content().read(request).await.ok()?.into_inner();
    let mut content = Vec::new();
    while let Some(part) = parts.message().await.ok()? {
        if content.len() + part.data.len() > limit {
            return None;
        }
        content.extend_from_slice(&part.data);
    }
    (digest.of_same_algorithm(&content) == *digest).then(|| content.into())
}

/// Opens a content of the daemon's content store, whose bytes are not checked.
///
/// # Errors
/// The daemon does not have it, or does not serve its store.
pub(super) async fn open_content(
    connection: &Connection,
    digest: &Digest,
) -> Result<impl Stream<Item = Result<Bytes, Status>> + Send + 'static + use<>, Status> {
    let request = ReadContentRequest {
        digest: digest.to_string(),
        offset: 0,
        size: 0,
    };
    let mut parts = connection.content().read(request).await?.into_inner();
    // An error may come in place of the first part.
    let first = parts.message().await?;
    let first = stream::iter(first.map(|part| Ok(part.data)));
    Ok(first.chain(parts.map_ok(|part| part.data)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_image_is_as_large_as_its_configuration_and_its_layers() {
        let manifest = json!({"config": {"size": 10}, "layers": [{"size": 100}, {"size": 1000}]});
        assert_eq!(content_size(&manifest), Some(1110));
        assert_eq!(
            content_size(&json!({"config": {"size": 10}, "layers": []})),
            Some(10)
        );
    }

    #[test]
    fn malformed_manifests_have_no_size() {
        for manifest in [
            json!({}),
            json!([]),
            json!({"layers": [{}], "config": {"size": 1}}),
            json!({"layers": [], "config": {"size": -1}}),
        ] {
            assert_eq!(content_size(&manifest), None, "{manifest}");
        }
    }
}
