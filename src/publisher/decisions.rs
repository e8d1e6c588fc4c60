//! Decides what is to become of each mutable tag, from where it points now.

use futures_util::future::try_join_all;

use super::image::recorded_revision;
use super::immutable::report;
use super::{PublishError, Publisher, TagEnd, TagReport, WholeImage};
use crate::publish::class::TagClass;
use crate::publish::journal::PublishedTag;
use crate::publish::revision::{MoveNote, TagMove, decide};
use crate::registry::{RemoteRepository, TagOrDigest};
use crate::types::{Digest, ImageTag};

/// A mutable tag and its image.
pub(super) struct MutableTag<'a> {
    pub(super) whole: &'a WholeImage,
    pub(super) tag: &'a ImageTag,
    pub(super) repository: RemoteRepository,
}

/// Where a tag points.
struct TagNow {
    digest: Digest,
    revision: Option<String>,
}

/// What is to become of a tag.
pub(super) enum Decision {
    Move {
        was: Option<Digest>,
        note: Option<MoveNote>,
    },
    Leave(TagEnd),
}

impl MutableTag<'_> {
    pub(super) fn named(&self) -> PublishedTag {
        self.whole.image.named(self.tag)
    }

    pub(super) fn report(&self, end: TagEnd) -> TagReport {
        report(&self.whole.image, self.tag, end)
    }

    pub(super) fn digest(&self) -> &Digest {
        self.whole.manifest.digest()
    }
}

impl Publisher {
    /// Reads where the mutable tags of `images` point, all at the same time, and decides for each.
    pub(super) async fn decide_all<'a>(
        &self,
        images: &'a [WholeImage],
    ) -> Result<Vec<(MutableTag<'a>, Decision)>, PublishError> {
        let tags = images.iter().flat_map(|whole| {
            let tags = whole.image.tags_of(TagClass::Mutable);
            tags.map(|tag| MutableTag {
                whole,
                tag,
                repository: self.repository_of(&whole.image),
            })
        });
        let decisions = tags.map(|tag| async move {
            let decision = self.decide(&tag).await?;
            Ok::<_, PublishError>((tag, decision))
        });
        try_join_all(decisions).await
    }

    /// Reads where `tag` points, and decides.
    pub(super) async fn decide(&self, tag: &MutableTag<'_>) -> Result<Decision, PublishError> {
        let now = read(tag).await?;
        Ok(self.decide_from(tag, now).await)
    }

    async fn decide_from(&self, tag: &MutableTag<'_>, now: Option<TagNow>) -> Decision {
        let Some(now) = now else {
            return Decision::Move {
                was: None,
                note: None,
            };
        };
        if now.digest == *tag.digest() {
            return Decision::Leave(TagEnd::Stayed);
        }
        let was = Some(now.digest);
        let ours = self.revision.as_ref();
        let force = self.force.backwards;
        match decide(now.revision.as_deref(), ours, force, &self.history).await {
            TagMove::Forward | TagMove::Same => Decision::Move { was, note: None },
            TagMove::MovesWithNote(note) => Decision::Move {
                was,
                note: Some(note),
            },
            TagMove::Kept { newer } => Decision::Leave(TagEnd::KeptByNewer { newer }),
        }
    }
}

async fn read(tag: &MutableTag<'_>) -> Result<Option<TagNow>, PublishError> {
    let name = TagOrDigest::Tag(tag.tag.clone());
    let found = tag.repository.get(&name).await?;
    Ok(found.map(|manifest| TagNow {
        revision: recorded_revision(&manifest),
        digest: manifest.digest().clone(),
    }))
}
