//! The export of a target that rbake publishes, and the forms in which the builder is asked for it.

use std::collections::BTreeSet;

use crate::engine::spec::{Exporter, SolveExport, SolveSpec};
use crate::golang::strconv;
use crate::publish::class::TagClass;
use crate::publish::compare::REVISION;
use crate::publish::journal::PublishedTag;
use crate::publish::revision::CommitState;
use crate::publish::settings::{PublishMode, PublishSettings};
use crate::publisher::ImageToPublish;
use crate::registry::RegistrySecurity;
use crate::types::{ImageName, ImageRepository, TargetName};

const PUSH_BY_DIGEST: &str = "push-by-digest";
const INSECURE: &str = "registry.insecure";

/// How a run decides which exports it publishes, and which tags are immutable.
#[derive(Debug, Clone, Copy)]
pub(in crate::run) struct PublicationRules<'a> {
    pub(in crate::run) settings: &'a PublishSettings,
    pub(in crate::run) commit: Option<&'a CommitState>,
    /// The targets whose images are pushed without their tags.
    pub(in crate::run) untagged: &'a BTreeSet<TargetName>,
}

/// The export of a target that rbake publishes.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::run) struct Publication {
    /// The index of the export in the solve.
    export: usize,
    /// The export as the builder would push it with all tags.
    original: SolveExport,
    /// The image in each repository.
    pub(in crate::run) images: Vec<ImageToPublish>,
}

impl Publication {
    /// Takes the pushing export of `spec`, and changes it so that the builder pushes nothing yet. `None` if the builder
    /// must push as it is asked: there is no such export or more than one, it has its own way to push, or a name is not
    /// that of a tag.
    pub(in crate::run) fn take(spec: &mut SolveSpec, rules: PublicationRules<'_>) -> Option<Self> {
        if rules.settings.mode != PublishMode::Rbake {
            return None;
        }
        let mut pushing = spec
            .exports
            .iter()
            .enumerate()
            .filter(|(_, export)| export.push == Some(true));
        let (at, export) = pushing.next()?;
        if pushing.next().is_some() || !is_ours(export) {
            return None;
        }
        let security = match export.extra.get(INSECURE) {
            Some(value) if strconv::parse_bool(value) == Some(true) => RegistrySecurity::Waived,
            _ => RegistrySecurity::Required,
        };
        let mut images: Vec<ImageToPublish> = Vec::new();
        for name in &export.names {
            let reference = name.reference();
            let tag = PublishedTag::of(reference).filter(|_| !reference.has_digest())?;
            let head = rules.commit.map(|commit| &commit.id);
            let class = TagClass::of(tag.tag().as_str(), rules.settings, head);
            let repository = ImageRepository::of(reference);
            let known = images
                .iter_mut()
                .find(|image| image.repository == repository);
            let new = (tag.tag().clone(), class);
            match known {
                Some(image) if image.tags.contains(&new) => {}
                Some(image) => image.tags.push(new),
                None => images.push(ImageToPublish {
                    target: Some(spec.target.clone()),
                    repository,
                    security,
                    tags: vec![new],
                }),
            }
        }
        if images.is_empty() {
            return None;
        }
        if rules.untagged.contains(&spec.target) {
            for image in &mut images {
                image.tags.clear();
            }
        }
        let annotation = rules.commit.filter(|_| has_index(spec, export));
        let mut original = export.clone();
        if let Some(commit) = annotation {
            original
                .extra
                .entry(format!("annotation-index.{REVISION}"))
                .or_insert_with(|| commit.to_string());
        }
        let publication = Self {
            export: at,
            original,
            images,
        };
        let without_push = SolveExport {
            push: Some(false),
            ..publication.original.clone()
        };
        publication.replace(spec, without_push);
        Some(publication)
    }

    /// Makes `export` the form in which `spec` exports the image.
    pub(super) fn replace(&self, spec: &mut SolveSpec, export: SolveExport) {
        if let Some(place) = spec.exports.get_mut(self.export) {
            *place = export;
        }
    }

    /// The export that pushes the image by its digest to the repositories of `images`.
    pub(super) fn by_digest<'a>(
        &self,
        images: impl IntoIterator<Item = &'a ImageToPublish>,
    ) -> SolveExport {
        let names = images.into_iter();
        let names = names.filter_map(|image| image.repository.to_string().parse().ok());
        let mut export = self.original.clone();
        export.names = names.collect();
        let yes = "true".to_owned();
        export.extra.insert(PUSH_BY_DIGEST.to_owned(), yes);
        export
    }

    /// The export that pushes the image with all tags, as buildx asks for it.
    pub(super) fn with_tags(&self) -> SolveExport {
        self.original.clone()
    }

    /// The names of the image, as the daemon reports them after a push.
    pub(super) fn names(&self) -> String {
        let names = self.original.names.iter().map(ImageName::as_str);
        names.collect::<Vec<_>>().join(",")
    }
}

/// Whether rbake can push what `export` makes: by BuildKit's image exporter, which was not asked for another way.
fn is_ours(export: &SolveExport) -> bool {
    export.exporter == Exporter::Image
        && !export.extra.contains_key(PUSH_BY_DIGEST)
        && !export.extra.contains_key("name-canonical")
}

/// Whether the image certainly has an index, in which the commit can be recorded. BuildKit refuses annotations of an
/// index that does not exist.
fn has_index(spec: &SolveSpec, export: &SolveExport) -> bool {
    let flag = |key: &str| {
        let value = export.extra.get(key);
        value.and_then(|value| strconv::parse_bool(value))
    };
    if flag("oci-mediatypes") == Some(false) {
        return false;
    }
    let has_attestations =
        !spec.attestations.is_empty() && flag("attestation-inline") != Some(false);
    spec.platforms.len() > 1 || spec.multi_platform || has_attestations
}
