//! The places on this machine that a run writes.

use std::path::PathBuf;

use super::model::{Plan, PlannedTarget};
use crate::definition::model::{CacheKind, Sink};
use crate::diag::Span;
use crate::files::Resolver;

/// A file that a run writes, or a directory below which it does.
pub(crate) struct WrittenPlace<'p> {
    /// The target whose output or cache it is.
    pub(crate) target: &'p PlannedTarget,
    /// The place of the output or cache in the definition.
    pub(crate) span: Option<Span>,
    /// The absolute path, without links.
    pub(crate) path: PathBuf,
    /// Whether everything in the directory that was not built is deleted: `mode=delete`.
    pub(crate) deletes: bool,
}

/// The places of the outputs and caches of `plan`, which are followed by `paths`. A path that cannot be followed is left out: it
/// is reported with the privileges.
pub(crate) fn written_places<'p>(plan: &'p Plan, paths: &Resolver) -> Vec<WrittenPlace<'p>> {
    let mut found = Vec::new();
    for target in plan.targets.values().filter(|target| !target.is_called()) {
        let mut add = |path: &str, span: Option<Span>, deletes: bool| {
            if let Ok(place) = paths.resolve(path)
                && place.descriptor().is_none()
            {
                let path = place.path().to_owned();
                found.push(WrittenPlace {
                    target,
                    span,
                    path,
                    deletes,
                });
            }
        };
        let outputs = target.attributes.output.iter();
        // The outputs of a target that is only used by others are not made.
        for output in outputs.filter(|_| !target.is_linked()) {
            let dest = output.dest.as_deref().filter(|dest| *dest != "-");
            if let Some(dest) = dest
                && matches!(output.sink(), Sink::File | Sink::Directory)
            {
                add(dest, output.span, output.deletes());
            }
        }
        for cache in &target.attributes.cache_to {
            if cache.kind == CacheKind::Local
                && let Some(dest) = cache.attrs.get("dest")
            {
                add(dest, cache.span, false);
            }
        }
    }
    found
}
