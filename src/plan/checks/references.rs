//! The names images are given, and the names caches are kept under.

use crate::definition::model::{CacheEntry, CacheKind, ExportKind};
use crate::diag::Span;
use crate::plan::model::PlannedTarget;
use crate::types::Reference;
use crate::types::reference::InvalidReference;

/// A name with the text it was written as.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) text: String,
    pub(super) reference: Result<Reference, InvalidReference>,
    pub(super) span: Option<Span>,
}

impl Named {
    fn new(text: &str, span: Option<Span>) -> Self {
        Self {
            text: text.to_owned(),
            reference: text.parse(),
            span,
        }
    }

    /// The repository and tag that are written to; nothing where the name is illegal or names a digest alone.
    pub(super) fn tagged(&self) -> Option<String> {
        let reference = self.reference.as_ref().ok()?;
        let tag = reference.tag_or_latest()?;
        Some(format!("{}:{tag}", reference.repository()))
    }
}

/// The names a target's image is given: its tags, else the `name` of its outputs.
pub(super) fn image_names(target: &PlannedTarget) -> Vec<Named> {
    let tags = &target.attributes.tags;
    if !tags.is_empty() {
        let tags = tags.iter();
        return tags.map(|tag| Named::new(&tag.value, tag.span)).collect();
    }
    let images = target.attributes.output.iter().filter(|export| {
        matches!(
            export.kind,
            ExportKind::Image | ExportKind::Registry | ExportKind::Oci | ExportKind::Docker
        )
    });
    images
        .flat_map(|export| {
            let names = export.attr("name").unwrap_or_default().split(',');
            names
                .filter(|name| !name.is_empty())
                .map(|name| Named::new(name, export.span))
        })
        .collect()
}

/// Whether an image of the target is pushed.
pub(super) fn pushes(target: &PlannedTarget) -> bool {
    let mut outputs = target.attributes.output.iter();
    outputs.any(|export| export.pushes())
}

/// The name a cache is kept under in a registry, where it is kept in one.
pub(super) fn cache_name(cache: &CacheEntry, span: Option<Span>) -> Option<Named> {
    let reference = cache
        .attr("ref")
        .filter(|_| cache.kind == CacheKind::Registry)?;
    Some(Named::new(reference, span))
}
