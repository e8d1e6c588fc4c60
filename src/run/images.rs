//! The images that a target names itself, which tell what it does at a registry.

use crate::engine::spec::{SolveContext, SolveSpec};
use crate::types::{ImageName, Reference};

/// The images that `spec` writes, takes caches from and gives caches to, and takes contexts from.
///
/// What the Dockerfile names besides is in [`Places::images`](super::locate::Places).
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
