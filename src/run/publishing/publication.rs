//! The export of a target that rbake publishes, and the forms in which the builder is asked for it.

use std::collections::BTreeSet;

use super::settle::FirstExport;
use crate::engine::spec::{Exporter, SolveExport, SolveSpec};
use crate::golang::strconv;
use crate::publish::class::TagClass;
use crate::publish::compare::REVISION;
use crate::publish::index_merge::IndexAnnotation;
use crate::publish::journal::PublishedTag;
use crate::publish::revision::CommitState;
use crate::publish::settings::{PublishMode, PublishSettings};
use crate::publisher::ImageToPublish;
use crate::registry::RegistrySecurity;
use crate::run::lower::{ImageStore, LoweredTarget};
use crate::run::spread::TargetPart;
use crate::types::{ImageName, ImageRepository, TargetName};

pub(in crate::run) const PUSH_BY_DIGEST: &str = "push-by-digest";
pub(in crate::run) const INSECURE: &str = "registry.insecure";

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
    pusher: Pusher,
    /// The names of the image, in the order of the definition.
    names: Vec<ImageName>,
    /// The image in each repository.
    pub(in crate::run) images: Vec<ImageToPublish>,
    /// Which part of the target this is, if several nodes build it.
    pub(super) part: Option<TargetPart>,
}

/// Who sends the content of an image to the registry.
#[derive(Debug, Clone, PartialEq)]
enum Pusher {
    /// An exporter of the solve.
    Builder {
        /// The index of the export in the solve.
        export: usize,
        /// The export as the builder would push it with all tags.
        original: SolveExport,
    },
    /// The Docker Engine whose BuildKit has built the image, after the solve. Its exporter pushes only with tags, and one
    /// for the classic store not at all.
    Docker(ImageStore),
}

/// The tags of an image that are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tags {
    /// All.
    All,
    /// Those of a class.
    Of(TagClass),
}

impl Publication {
    /// Takes the push out of `target`, so that nothing is pushed yet. `None` if the image must be pushed as it is asked:
    /// there is no such output or more than one, it has its own way to push, or a name is not that of a tag.
    pub(in crate::run) fn take(
        target: &mut LoweredTarget,
        part: Option<&TargetPart>,
        rules: PublicationRules<'_>,
    ) -> Option<Self> {
        if rules.settings.mode != PublishMode::Rbake {
            return None;
        }
        let exports = target.spec.exports.iter().enumerate();
        let mut pushing = exports.filter(|(_, export)| export.push == Some(true));
        let mut taken = match (pushing.next(), pushing.next()) {
            (Some((export, original)), None) if target.pushes.is_empty() => {
                Self::of_export(export, original, &target.spec, rules)?
            }
            (None, None) if !target.pushes.is_empty() => {
                let names = target.pushes.iter();
                let names = names.filter_map(|name| name.to_string().parse().ok());
                let names: Vec<ImageName> = names.collect();
                Self {
                    pusher: Pusher::Docker(ImageStore::Classic),
                    images: images(&target.spec.target, &names, security(None), rules)?,
                    names,
                    part: None,
                }
            }
            _ => return None,
        };
        if rules.untagged.contains(&target.spec.target) {
            for image in &mut taken.images {
                image.tags.clear();
            }
        }
        taken.part = part.cloned();
        taken.take_push(target, rules);
        Some(taken)
    }

    fn of_export(
        export: usize,
        original: &SolveExport,
        spec: &SolveSpec,
        rules: PublicationRules<'_>,
    ) -> Option<Self> {
        if !is_ours(original) {
            return None;
        }
        let insecure = original.extra.get(INSECURE).map(|value| &**value);
        let images = images(&spec.target, &original.names, security(insecure), rules)?;
        let is_insecure = |image: &ImageToPublish| image.security == RegistrySecurity::Waived;
        let pusher = if original.exporter == Exporter::Moby {
            // Only its BuildKit understands the attribute. The Engine has a setting of its own.
            if images.iter().any(is_insecure) {
                return None;
            }
            Pusher::Docker(ImageStore::Containerd)
        } else {
            let mut original = original.clone();
            record_commit(&mut original, spec, rules);
            Pusher::Builder { export, original }
        };
        Some(Self {
            names: original.names.clone(),
            pusher,
            images,
            part: None,
        })
    }

    /// The revision that the user gives the image with an annotation, if it is not `commit`.
    pub(in crate::run) fn other_revision(&self, commit: &CommitState) -> Option<&str> {
        let Pusher::Builder { original, .. } = &self.pusher else {
            return None;
        };
        let given = original.extra.get(&revision_key())?;
        let is_commit = *given == commit.to_string() || given == commit.id.as_str();
        (!is_commit).then_some(given)
    }

    /// Changes `target` so that it pushes nothing yet.
    fn take_push(&self, target: &mut LoweredTarget, rules: PublicationRules<'_>) {
        if let Pusher::Builder { .. } = &self.pusher {
            self.ask(&mut target.spec, FirstExport::Kept);
            return;
        }
        target.pushes.clear();
        let mut exports = std::mem::take(&mut target.spec.exports);
        let of_engine = exports.iter_mut();
        for export in of_engine.filter(|export| export.exporter == Exporter::Moby) {
            if export.push.take() == Some(true) {
                record_commit(export, &target.spec, rules);
            }
            if !self.has_tags() {
                export.names.clear();
            }
        }
        target.spec.exports = exports;
    }

    /// Whether the image has a tag at all. That of a gate has none.
    pub(super) fn has_tags(&self) -> bool {
        self.images.iter().any(|image| !image.tags.is_empty())
    }

    /// The image store of the Docker Engine that pushes the image, which needs a tag for that. `None` if the builder
    /// pushes it.
    pub(super) const fn engine(&self) -> Option<ImageStore> {
        match &self.pusher {
            Pusher::Builder { .. } => None,
            Pusher::Docker(store) => Some(*store),
        }
    }

    /// Makes `form` the form in which `spec` exports the image. Nothing to do if the Docker Engine pushes it.
    pub(super) fn ask(&self, spec: &mut SolveSpec, form: FirstExport) {
        let Pusher::Builder { export, original } = &self.pusher else {
            return;
        };
        let asked = match form {
            FirstExport::ByDigest | FirstExport::Unseen => self.by_digest(&self.images),
            FirstExport::WithTags => Some(original.clone()),
            FirstExport::Kept => Some(SolveExport {
                push: Some(false),
                ..original.clone()
            }),
        };
        if let (Some(place), Some(asked)) = (spec.exports.get_mut(*export), asked) {
            *place = asked;
        }
    }

    /// The export that pushes the image by its digest to the repositories of `images`. `None` if the builder cannot push.
    pub(super) fn by_digest<'a>(
        &self,
        images: impl IntoIterator<Item = &'a ImageToPublish>,
    ) -> Option<SolveExport> {
        let mut export = self.original()?.clone();
        let names = images.into_iter();
        let names = names.filter_map(|image| image.repository.to_string().parse().ok());
        export.names = names.collect();
        let yes = "true".to_owned();
        export.extra.insert(PUSH_BY_DIGEST.to_owned(), yes);
        Some(export)
    }

    /// The export that pushes the image with `tags`. `None` if there are none, or the builder cannot push.
    pub(super) fn with_tags(&self, tags: Tags) -> Option<SolveExport> {
        let mut export = self.original()?.clone();
        export.names = self.tagged(tags);
        (!export.names.is_empty()).then_some(export)
    }

    /// The names of the image with `tags`.
    pub(super) fn tagged(&self, tags: Tags) -> Vec<ImageName> {
        let is_meant = |name: &&ImageName| {
            let reference = name.reference();
            let repository = ImageRepository::of(reference);
            let Some(tag) = PublishedTag::of(reference) else {
                return false;
            };
            let mut images = self.images.iter();
            let image = images.find(|image| image.repository == repository);
            let mut classes = image.iter().flat_map(|image| &image.tags);
            classes.any(|(of, class)| of == tag.tag() && tags.has(*class))
        };
        self.names.iter().filter(is_meant).cloned().collect()
    }

    const fn original(&self) -> Option<&SolveExport> {
        match &self.pusher {
            Pusher::Builder { original, .. } => Some(original),
            Pusher::Docker(_) => None,
        }
    }

    /// The annotations for the index that is made of the indexes of several nodes.
    pub(super) fn index_annotations(&self) -> Vec<IndexAnnotation> {
        let original = self.original().into_iter();
        let extra = original.flat_map(|export| &export.extra);
        extra
            .filter_map(|(key, value)| IndexAnnotation::of(key, value))
            .collect()
    }

    /// The names of the image, as the daemon reports them after a push.
    pub(super) fn names(&self) -> String {
        let names = self.names.iter().map(ImageName::as_str);
        names.collect::<Vec<_>>().join(",")
    }
}

impl Tags {
    fn has(self, class: TagClass) -> bool {
        match self {
            Self::All => true,
            Self::Of(of) => of == class,
        }
    }
}

/// How a registry may be reached by the value of `registry.insecure`.
pub(in crate::run) fn security(insecure: Option<&str>) -> RegistrySecurity {
    match insecure.and_then(strconv::parse_bool) {
        Some(true) => RegistrySecurity::Waived,
        _ => RegistrySecurity::Required,
    }
}

/// The image of `target` in each repository of `names`. `None` if a name is not that of a tag, or there are none.
pub(super) fn images(
    target: &TargetName,
    names: &[ImageName],
    security: RegistrySecurity,
    rules: PublicationRules<'_>,
) -> Option<Vec<ImageToPublish>> {
    let mut images: Vec<ImageToPublish> = Vec::new();
    for name in names {
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
                target: Some(target.clone()),
                repository,
                security,
                tags: vec![new],
            }),
        }
    }
    (!images.is_empty()).then_some(images)
}

/// Records the commit in the index of the image that `export` makes, if it has one.
fn record_commit(export: &mut SolveExport, spec: &SolveSpec, rules: PublicationRules<'_>) {
    if let Some(commit) = rules.commit.filter(|_| has_index(spec, export)) {
        let annotation = export.extra.entry(revision_key());
        annotation.or_insert_with(|| commit.to_string());
    }
}

/// The attribute of an export that records the commit.
fn revision_key() -> String {
    format!("annotation-index.{REVISION}")
}

/// Whether rbake can push what `export` makes: by an exporter for images, which was not asked for another way.
fn is_ours(export: &SolveExport) -> bool {
    matches!(export.exporter, Exporter::Image | Exporter::Moby)
        && !export.extra.contains_key(PUSH_BY_DIGEST)
        && !export.extra.contains_key("name-canonical")
}

/// Whether the user wants `export` to be pushed without a tag.
pub(in crate::run) fn is_by_digest(export: &SolveExport) -> bool {
    let value = export.extra.get(PUSH_BY_DIGEST);
    value.and_then(|value| strconv::parse_bool(value)) == Some(true)
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
