//! Reads where mutable tags point while the targets are built, so that a run without changes need not wait for that at
//! its end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::immutable::report;
use super::{ImageToPublish, Publisher, TagReport, WholeImage};
use crate::publish::class::TagClass;
use crate::publish::journal::PublishedTag;
use crate::types::{Digest, ImageTag};

/// For how long an answer counts. Another run may move a tag after it was read, so this is a part of the window in which
/// runs at the same time do not see each other. A longer build does not notice one more request.
const FRESH: Duration = Duration::from_secs(5);

/// Where mutable tags pointed when the run began.
#[derive(Debug, Default)]
pub(super) struct TagsAhead {
    seen: Arc<Mutex<BTreeMap<PublishedTag, SeenTag>>>,
    /// Reads the tags. Ends with the run.
    reading: Option<AbortOnDropHandle<()>>,
}

/// Where a tag pointed.
#[derive(Debug, Clone)]
struct SeenTag {
    digest: Digest,
    /// When it was asked for.
    asked: Instant,
}

impl TagsAhead {
    /// Whether `tag` pointed to `digest` a short time ago.
    fn points(&self, tag: &PublishedTag, digest: &Digest) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.get(tag);
        seen.is_some_and(|seen| seen.digest == *digest && seen.asked.elapsed() < FRESH)
    }
}

impl Publisher {
    /// Begins to read the mutable tags of `images`, which seem to be in the registry already. Does not wait for the
    /// answers.
    pub(crate) fn read_ahead<'a>(&mut self, images: impl IntoIterator<Item = &'a ImageToPublish>) {
        let tags: Vec<_> = images
            .into_iter()
            .flat_map(|image| {
                let repository = self.repository_of(image);
                let tags = image.tags_of(TagClass::Mutable);
                tags.map(move |tag| (repository.clone(), image.named(tag)))
            })
            .collect();
        if tags.is_empty() {
            return;
        }
        let seen = Arc::clone(&self.ahead.seen);
        let reads = tags.into_iter().map(move |(repository, tag)| {
            let seen = Arc::clone(&seen);
            async move {
                let asked = Instant::now();
                // What is not known is read again at the end, and an error is reported then.
                if let Ok(Some(digest)) = Self::digest_now(&repository, tag.tag()).await {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.insert(tag, SeenTag { digest, asked });
                }
            }
        });
        let reading = async { drop(join_all(reads).await) };
        self.ahead.reading = Some(AbortOnDropHandle::new(tokio::spawn(reading)));
    }

    /// The reports of all mutable tags of `images`, if it is known that each one points to its image already.
    pub(super) fn unmoved(&self, images: &[WholeImage]) -> Option<Vec<TagReport>> {
        let points = |whole: &WholeImage, tag: &ImageTag| {
            let digest = whole.manifest.digest();
            let named = whole.image.named(tag);
            self.ahead
                .points(&named, digest)
                .then(|| report(&whole.image, tag, super::TagEnd::Stayed))
        };
        let tags = images.iter().flat_map(|whole| {
            let tags = whole.image.tags_of(TagClass::Mutable);
            tags.map(move |tag| points(whole, tag))
        });
        tags.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ImageRepository;

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_for_a_short_time() {
        let repository = ImageRepository::of(&"h.example/a".parse().unwrap());
        let tag = PublishedTag::new(repository, "latest".parse().unwrap());
        let (ours, other) = (Digest::sha256(b"ours"), Digest::sha256(b"other"));
        let ahead = TagsAhead::default();
        assert!(!ahead.points(&tag, &ours));
        let seen = SeenTag {
            digest: ours.clone(),
            asked: Instant::now(),
        };
        ahead.seen.lock().unwrap().insert(tag.clone(), seen);
        assert!(ahead.points(&tag, &ours));
        assert!(!ahead.points(&tag, &other));
        tokio::time::advance(FRESH).await;
        assert!(!ahead.points(&tag, &ours));
    }
}
