//! What a manifest names.

use oci_spec::image::Descriptor;

use super::error::RegistryFault;
use super::manifest::{ContentDescriptor, ManifestContent, RawManifest, is_image, is_index};
use crate::types::Digest;

/// A blob that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkedBlob {
    pub(crate) digest: Digest,
    /// The size in bytes, as the manifest says.
    pub(crate) size: u64,
    /// Whether it may be at another place, and in no registry.
    pub(crate) may_be_elsewhere: bool,
}

/// What a manifest names.
#[derive(Debug, Default)]
pub(crate) struct ManifestLinks {
    pub(crate) children: Vec<ContentDescriptor>,
    pub(crate) blobs: Vec<LinkedBlob>,
    pub(crate) subject: Option<Digest>,
}

impl ManifestLinks {
    /// Reads them from `manifest`. `None` if its type is not known.
    pub(crate) fn of(manifest: &RawManifest) -> Result<Option<Self>, RegistryFault> {
        let mut links = Self::default();
        let subject = match manifest.content()? {
            ManifestContent::Image(image) => {
                for descriptor in [image.config()].into_iter().chain(image.layers()) {
                    links.blobs.push(blob(descriptor.try_into()?));
                }
                image.subject().clone()
            }
            ManifestContent::Index(index) => {
                for descriptor in index.manifests() {
                    let entry = ContentDescriptor::try_from(descriptor)?;
                    // As in containerd, an entry of another type is a blob (`Children` in core/images/image.go).
                    if is_index(&entry.media_type) || is_image(&entry.media_type) {
                        links.children.push(entry);
                    } else {
                        links.blobs.push(blob(entry));
                    }
                }
                index.subject().clone()
            }
            ManifestContent::Other => return Ok(None),
        };
        links.subject = subject.as_ref().map(digest_of).transpose()?;
        Ok(Some(links))
    }
}

fn digest_of(descriptor: &Descriptor) -> Result<Digest, RegistryFault> {
    Ok(ContentDescriptor::try_from(descriptor)?.digest)
}

/// Layers with these types need not be in a registry (containerd, `IsNonDistributable` in core/images/mediatypes.go).
fn blob(descriptor: ContentDescriptor) -> LinkedBlob {
    const ELSEWHERE: [&str; 2] = [
        "application/vnd.oci.image.layer.nondistributable.",
        "application/vnd.docker.image.rootfs.foreign.",
    ];
    LinkedBlob {
        may_be_elsewhere: ELSEWHERE
            .iter()
            .any(|prefix| descriptor.media_type.starts_with(prefix)),
        digest: descriptor.digest,
        size: descriptor.size,
    }
}
