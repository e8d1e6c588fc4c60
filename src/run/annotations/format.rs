//! The format of the image that an output makes, as far as annotations are concerned.

use crate::definition::model::{Export, ExportKind, Sink};
use crate::run::lower::{DockerTraits, ImageStore};

/// How an image is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImageFormat {
    /// An image of a registry or of containerd's image store. Attestations are in its index unless the output says otherwise.
    Image,
    /// An OCI layout. Attestations are in its index only if the target or the output asks for them.
    Layout,
    /// An archive for Docker, which has one manifest.
    Archive,
    /// An archive for Docker that a Docker Engine with the classic image store reads.
    ClassicArchive,
    /// An image in the classic store of the Docker Engine that builds it. It has neither a manifest nor an index.
    Classic,
}

impl ImageFormat {
    /// The format that `output` makes with the Docker Engines `docker`. If they are not known yet, it is the one of all builders but
    /// Engines with the classic store, and `None` if there is no such format.
    pub(super) fn of(output: &Export, docker: Option<&DockerTraits>) -> Option<Self> {
        let builder = docker.and_then(|docker| docker.builder);
        Some(match (&output.kind, builder) {
            (ExportKind::Image | ExportKind::Registry, Some(ImageStore::Classic)) => Self::Classic,
            (ExportKind::Image | ExportKind::Registry, _) => Self::Image,
            (ExportKind::Docker, _) if output.sink() == Sink::Docker => {
                let docker = docker?;
                let context = output.attr("context").filter(|name| !name.is_empty());
                match (docker.loads.get(&context.map(str::to_owned)), builder) {
                    (Some(ImageStore::Containerd), _) => Self::Layout,
                    (Some(ImageStore::Classic), _) => Self::ClassicArchive,
                    // The Engine that builds keeps it.
                    (None, Some(ImageStore::Classic)) => Self::Classic,
                    (None, _) => Self::Image,
                }
            }
            (ExportKind::Docker, _) => Self::Archive,
            _ => Self::Layout,
        })
    }
}
