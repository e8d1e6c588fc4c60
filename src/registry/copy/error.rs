//! Errors of copies.

use super::{MANIFEST_BYTES, MANIFESTS, NESTING};
use crate::registry::RegistryError;

/// An image could not be copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    /// A request to one of the registries failed.
    #[error(transparent)]
    Request(#[from] RegistryError),
    /// The source does not have the image, or a manifest that another one names.
    #[error("the manifest `{image}` does not exist")]
    Missing {
        /// The manifest.
        image: String,
    },
    /// It is not known what a manifest names, so the copy could be incomplete.
    #[error("the manifest `{image}` has the type `{media_type}`, which rbake cannot copy")]
    UnknownType {
        /// The manifest.
        image: String,
        /// Its media type.
        media_type: String,
    },
    /// Manifests are nested too deep.
    #[error("the manifest `{image}` is more than {NESTING} levels below the image")]
    TooDeep {
        /// The first manifest below the limit.
        image: String,
    },
    /// There are too many manifests.
    #[error("the image `{image}` has more than {MANIFESTS} manifests, with those that refer to it")]
    TooMany {
        /// The image.
        image: String,
    },
    /// The manifests are too large.
    #[error("the manifests of the image `{image}` have more than {MANIFEST_BYTES} bytes")]
    TooLarge {
        /// The image.
        image: String,
    },
}
