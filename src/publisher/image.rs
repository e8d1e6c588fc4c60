//! The images of a run, and what became of their tags.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::publish::class::TagClass;
use crate::publish::compare::REVISION;
use crate::publish::journal::{PublishedTag, RunId};
use crate::publish::revision::{MoveNote, Revision};
use crate::registry::{RawManifest, RegistrySecurity};
use crate::types::{Digest, ImageRepository, ImageTag, TargetName};

/// The image of a target, as it is published in one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageToPublish {
    /// The target. `None` if the image is that of an earlier run.
    pub(crate) target: Option<TargetName>,
    /// The repository.
    pub(crate) repository: ImageRepository,
    /// How the registry may be reached.
    pub(crate) security: RegistrySecurity,
    /// The tags, in the order of the definition.
    pub(crate) tags: Vec<(ImageTag, TagClass)>,
}

impl ImageToPublish {
    /// The tags of a class.
    pub(crate) fn tags_of(&self, class: TagClass) -> impl Iterator<Item = &ImageTag> {
        let tags = self.tags.iter();
        tags.filter(move |(_, of)| *of == class).map(|(tag, _)| tag)
    }

    /// The full name of one of its tags.
    pub(crate) fn named(&self, tag: &ImageTag) -> PublishedTag {
        PublishedTag::new(self.repository.clone(), tag.clone())
    }
}

/// An image whose content is in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WholeImage {
    /// The image.
    pub(crate) image: ImageToPublish,
    /// Its top-level manifest.
    pub(crate) manifest: RawManifest,
}

/// What became of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TagEnd {
    /// It was set or moved to the image.
    Set {
        /// Why it is uncertain that it moved forward.
        note: Option<MoveNote>,
        /// The image that it pointed to before.
        was: Option<Digest>,
    },
    /// It pointed to the image already.
    Stayed,
    /// It is not moved yet: the run is held.
    Held {
        /// The run.
        run: RunId,
    },
    /// It stays at another image, which a newer commit holds.
    KeptByNewer {
        /// The newer commit.
        newer: Revision,
    },
    /// It is immutable and stays at another image, whose publish was completed.
    KeptComplete {
        /// The image that it points to.
        is: Digest,
    },
}

/// A tag, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagReport {
    /// The target whose image it is. `None` if it is that of an earlier run.
    pub(crate) target: Option<TargetName>,
    /// The tag.
    pub(crate) tag: PublishedTag,
    /// What became of it.
    pub(crate) end: TagEnd,
}

/// The commit that is recorded in `manifest`, which is not trusted. `None` if there is no record.
pub(super) fn recorded_revision(manifest: &RawManifest) -> Option<String> {
    #[derive(Deserialize)]
    struct Annotated {
        annotations: Option<BTreeMap<String, String>>,
    }
    let annotated: Annotated = serde_json::from_slice(manifest.bytes()).ok()?;
    annotated.annotations?.remove(REVISION)
}
