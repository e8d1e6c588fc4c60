//! What an image consists of that the builder has.

use std::collections::BTreeSet;

use crate::publisher::ContentReader;
use crate::registry::{BlobSize, LARGEST_MANIFEST, ManifestLinks, RawManifest};
use crate::types::Digest;

/// The most manifests of an image: those of its platforms, and their attestations.
const MANIFESTS: usize = 1_000;
/// How deep manifests may be nested below the image.
const NESTING: usize = 8;

/// The manifests and blobs of an image.
#[derive(Debug)]
pub(in crate::run) struct BuiltImage {
    /// What the image's name points to.
    pub(in crate::run) top: RawManifest,
    /// The manifests below it, each after those that it names.
    pub(in crate::run) children: Vec<RawManifest>,
    /// The configurations and layers of all manifests, each once.
    pub(in crate::run) blobs: Vec<BlobSize>,
}

impl BuiltImage {
    /// Reads the manifests of the image `digest`. `None` if one cannot be read or is of an unknown type, or a layer need not
    /// be in a registry.
    pub(in crate::run) async fn read(digest: &Digest, reader: &impl ContentReader) -> Option<Self> {
        let bytes = reader.read(digest, LARGEST_MANIFEST).await?;
        let top = RawManifest::with_own_type(bytes).ok()?;
        let mut children = Vec::new();
        let mut blobs: Vec<BlobSize> = Vec::new();
        let mut seen = BTreeSet::from([digest.clone()]);
        let mut level = vec![top.clone()];
        for _ in 0..NESTING {
            let mut below = Vec::new();
            for manifest in &level {
                let links = ManifestLinks::of(manifest).ok()??;
                if links.blobs.iter().any(|blob| blob.may_be_elsewhere) {
                    return None;
                }
                for blob in links.blobs {
                    if seen.insert(blob.digest.clone()) {
                        blobs.push(BlobSize {
                            digest: blob.digest,
                            size: blob.size,
                        });
                    }
                }
                for child in links.children {
                    if !seen.insert(child.digest.clone()) {
                        continue;
                    }
                    if seen.len() > MANIFESTS {
                        return None;
                    }
                    let bytes = reader.read(&child.digest, LARGEST_MANIFEST).await?;
                    below.push(RawManifest::new(&child.media_type, bytes).ok()?);
                }
            }
            if below.is_empty() {
                children.reverse();
                return Some(Self {
                    top,
                    children,
                    blobs,
                });
            }
            children.extend(below.iter().cloned());
            level = below;
        }
        None
    }
}
