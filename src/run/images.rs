//! The images that a target itself names. They decide which access to a registry the target needs.

use crate::engine::spec::{SolveContext, SolveSpec};
use crate::types::{ImageName, Reference};

/// Returns the images that `spec` exports, the ones that it imports caches from or exports caches to, and those of
/// its named contexts.
///
/// The images that the Dockerfile names are in [`TargetPlaces::images`](super::locate::TargetPlaces).
pub(super) fn of(spec: &SolveSpec) -> Vec<Reference> {
    let exported = spec.exports.iter().flat_map(|export| export.names.iter());
    let caches = spec.cache_imports.iter().chain(&spec.cache_exports);
    let cached = caches.filter_map(|cache| cache.image.as_ref());
    let named = exported.chain(cached).map(ImageName::reference);
    let contexts = spec.named_contexts.values();
    let contexts = contexts.filter_map(|context| match context {
        SolveContext::Image(image) => image.reference(),
        _ => None,
    });
    named.chain(contexts).cloned().collect()
}
