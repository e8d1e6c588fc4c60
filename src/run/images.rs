//! The images that a target names itself, which tell what it does at a registry.

use crate::engine::spec::{CacheBackend, NamedContext, SolveSpec};
use crate::types::Reference;

/// The images that `spec` writes, takes caches from and gives caches to, and takes contexts from.
///
/// What the Dockerfile names besides is in [`Places::images`](super::locate::Places).
pub(super) fn of(spec: &SolveSpec) -> Vec<Reference> {
    let exported = spec.exports.iter().flat_map(|export| export.names.iter());
    let caches = spec.cache_imports.iter().chain(&spec.cache_exports);
    let cached = caches
        .filter(|cache| cache.backend == CacheBackend::Registry)
        .filter_map(|cache| cache.extra.get("ref"));
    let contexts = spec
        .named_contexts
        .values()
        .filter_map(|context| match context {
            NamedContext::Image { reference } => Some(reference),
            _ => None,
        });
    let texts = exported.chain(cached).chain(contexts);
    texts.filter_map(|text| text.parse().ok()).collect()
}
