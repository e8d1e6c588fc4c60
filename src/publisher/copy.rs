//! Copies images to other repositories, bit for bit, and sets tags there.
//!
//! The tags are written down first, with the repositories from which the images come. Then the content is copied, with all
//! that refers to it. Only when everything is there, the tags are set, as after any interrupted run: immutable ones first,
//! mutable ones together.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;

use super::changes::is_refusal;
use super::claims::{ImmutableClaim, RunSurvey};
use super::image::recorded_revision;
use super::{PlannedTag, PublishError, Publisher, Recovered, RecoveryWish, TagEnd, WholeImage};
use crate::publish::class::TagClass;
use crate::publish::journal::{
    EntryState, Journal, JournalEntry, PublishedTag, RunOrigin, RunStatus,
};
use crate::publish::revision::CommitState;
use crate::registry::{
    CopyCounts, CopyProgress, Registries, RegistryError, RegistrySecurity, TagOrDigest, copy_image,
};
use crate::types::{Digest, ImageRepository, ImageTag};

/// An image that can be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageSource {
    /// Where it is.
    pub(crate) repository: ImageRepository,
    /// Its top-level manifest.
    pub(crate) digest: Digest,
}

/// What was copied, all images together.
#[derive(Debug, Default)]
pub(crate) struct CopiedImages {
    /// What happened to the content.
    pub(crate) counts: CopyCounts,
    /// What became of the tags. `None` if all pointed to the right images already.
    pub(crate) tags: Option<Recovered>,
}

impl WholeImage {
    /// The commit that the image records. `None` if there is no record.
    pub(crate) fn revision(&self) -> Option<CommitState> {
        recorded_revision(&self.manifest)?.parse().ok()
    }
}

impl ImageSource {
    /// Finds the image with this tag or digest. `None` if it does not exist.
    pub(crate) async fn find(
        registries: &Registries,
        security: RegistrySecurity,
        repository: &ImageRepository,
        name: &TagOrDigest,
    ) -> Result<Option<Self>, PublishError> {
        let remote = registries.repository(repository, security);
        let found = remote.head(name).await?;
        Ok(found.map(|found| Self {
            repository: repository.clone(),
            digest: found.digest,
        }))
    }

    /// Reads the manifest, for a copy with `tags` in the repository `to`.
    pub(crate) async fn whole(
        &self,
        registries: &Registries,
        security: RegistrySecurity,
        to: ImageRepository,
        tags: Vec<(ImageTag, TagClass)>,
    ) -> Result<WholeImage, PublishError> {
        let remote = registries.repository(&self.repository, security);
        let manifest = Publisher::manifest(&remote, &self.digest).await?;
        Ok(WholeImage {
            image: super::ImageToPublish {
                target: None,
                repository: to,
                security,
                tags,
            },
            manifest,
        })
    }
}

impl Publisher {
    /// What is to become of the tags of `images`, in the repositories that get them. An immutable tag that points to another
    /// image is kept, and must not be replaced.
    pub(crate) async fn plan_copy(
        &self,
        images: &[WholeImage],
    ) -> Result<Vec<PlannedTag>, PublishError> {
        let immutable = images.iter().flat_map(|whole| {
            let tags = whole.image.tags_of(TagClass::Immutable);
            tags.map(|tag| self.plan_immutable(whole, tag))
        });
        let mut planned = try_join_all(immutable).await?;
        planned.extend(self.plan_moves(images).await?);
        Ok(planned)
    }

    async fn plan_immutable(
        &self,
        whole: &WholeImage,
        tag: &ImageTag,
    ) -> Result<PlannedTag, PublishError> {
        let repository = self.repository_of(&whole.image);
        let to = whole.manifest.digest();
        let end = match Self::digest_now(&repository, tag).await? {
            None => TagEnd::Set {
                note: None,
                was: None,
            },
            Some(now) if now == *to => TagEnd::Stayed,
            Some(is) => TagEnd::KeptComplete { is },
        };
        Ok(PlannedTag {
            tag: whole.image.named(tag),
            to: to.clone(),
            end,
        })
    }

    /// Copies `images` from the repositories of the run's origin, and sets the tags that are `planned`.
    ///
    /// # Errors
    /// If it can be repeated, the journal stays open, and [`finish_copy`](Self::finish_copy) continues.
    pub(crate) async fn copy(
        &self,
        images: &[WholeImage],
        origin: &RunOrigin,
        planned: &[PlannedTag],
        progress: &(dyn Fn(CopyProgress) + Sync),
    ) -> Result<CopiedImages, PublishError> {
        let entries = planned.iter().filter_map(|one| {
            let TagEnd::Set { was, .. } = &one.end else {
                return None;
            };
            let mut tags = images.iter().flat_map(|whole| {
                let image = &whole.image;
                image
                    .tags
                    .iter()
                    .map(|(tag, class)| (image.named(tag), class))
            });
            let class = tags.find(|(tag, _)| *tag == one.tag)?.1;
            let entry = JournalEntry {
                class: *class,
                was: was.clone(),
                to: one.to.clone(),
                state: EntryState::Planned,
            };
            Some((one.tag.clone(), entry))
        });
        let entries: Vec<_> = entries.collect();
        let security = images
            .first()
            .map_or(RegistrySecurity::Required, |whole| whole.image.security);
        if entries.is_empty() {
            let copied = images.iter().map(|whole| {
                let image = &whole.image;
                (image.repository.clone(), whole.manifest.digest().clone())
            });
            let counts = self
                .copy_contents(copied.collect(), origin, security, progress)
                .await?;
            return Ok(CopiedImages { counts, tags: None });
        }
        let places: BTreeSet<&ImageRepository> =
            entries.iter().map(|(tag, _)| tag.repository()).collect();
        let places: Vec<_> = places
            .into_iter()
            .map(|name| self.repository(name, security))
            .collect();
        self.record.planned(entries).await?;
        let copied = async {
            self.announce(&places).await?;
            self.finish_copy(security, progress).await
        };
        let copied = copied.await;
        if copied.as_ref().is_err_and(|error| !error.is_transient()) {
            // Nothing is to be continued.
            if let Err(error) = self.end(true).await {
                tracing::warn!(cause = %error, "the end of the run is not recorded");
            }
        }
        Ok(CopiedImages {
            counts: copied?,
            tags: self.set_copied_tags(security).await?,
        })
    }

    /// Copies the content of the images of an open run. Afterwards, the run can be resumed like any other.
    pub(crate) async fn finish_copy(
        &self,
        security: RegistrySecurity,
        progress: &(dyn Fn(CopyProgress) + Sync),
    ) -> Result<CopyCounts, PublishError> {
        let Some(journal) = self.record.journal() else {
            return Ok(CopyCounts::default());
        };
        let counts = self
            .copy_contents(
                images_of(&journal),
                &journal.header.origin,
                security,
                progress,
            )
            .await?;
        self.check_not_taken_back().await?;
        self.record.reached(RunStatus::Moving).await?;
        self.announce(&self.record.places()).await?;
        Ok(counts)
    }

    async fn set_copied_tags(
        &self,
        security: RegistrySecurity,
    ) -> Result<Option<Recovered>, PublishError> {
        let planned = self.plan_recovery(RecoveryWish::Resume, security).await?;
        match planned {
            Some(recovery) => Ok(Some(self.recover(&recovery, security).await?)),
            None => Ok(None),
        }
    }

    /// What runs do in the repositories of a copy, before it sets immutable tags there. Nothing for other runs.
    pub(super) async fn survey_copies(
        &self,
        security: RegistrySecurity,
    ) -> Result<BTreeMap<ImageRepository, RunSurvey>, PublishError> {
        let mut surveys = BTreeMap::new();
        for (tag, _) in self.copied_immutable() {
            let name = tag.repository();
            if surveys.contains_key(name) {
                continue;
            }
            match self.survey(&self.repository(name, security)).await {
                Ok(survey) => {
                    surveys.insert(name.clone(), survey);
                }
                Err(error) => unseen(error)?,
            }
        }
        Ok(surveys)
    }

    /// Checks, after the immutable tags of a copy were set, that they point to its images. A tag that another run has set
    /// at the same time goes to the image of the run to which it [belongs](Self::claim_of).
    ///
    /// # Errors
    /// [`PublishError::ImmutableTaken`] if a tag points to another image. The record says so.
    pub(super) async fn check_copied(
        &self,
        surveys: &mut BTreeMap<ImageRepository, RunSurvey>,
        security: RegistrySecurity,
    ) -> Result<(), PublishError> {
        let mut looks = BTreeMap::new();
        for (name, survey) in surveys {
            match self
                .concurrent(&self.repository(name, security), survey)
                .await
            {
                Ok(runs) => {
                    looks.insert(name.clone(), runs);
                }
                Err(error) => unseen(error)?,
            }
        }
        let mut taken = None;
        for (tag, entry) in self.copied_immutable() {
            let repository = self.repository(tag.repository(), security);
            let mut now = Self::digest_now(&repository, tag.tag()).await?;
            let runs = looks.get(tag.repository());
            let claim = runs.and_then(|runs| self.claim_of(runs, &tag, &entry.to));
            if let Some(ImmutableClaim { right, wrong }) = claim
                && entry.state == EntryState::Done
                && now.as_ref() == Some(&wrong)
            {
                self.change(&repository, &tag, Some(&wrong), Some(&right))
                    .await?;
                now = Self::digest_now(&repository, tag.tag()).await?;
            }
            if now.as_ref() != Some(&entry.to) {
                self.record.marked(&tag, EntryState::Kept).await?;
                taken = Some(tag);
            }
        }
        match taken {
            Some(tag) => Err(PublishError::ImmutableTaken {
                tag: tag.familiar(),
            }),
            None => Ok(()),
        }
    }

    /// The immutable tags of a run that copies images.
    fn copied_immutable(&self) -> Vec<(PublishedTag, JournalEntry)> {
        let journal = self.record.journal();
        let journal = journal.filter(|journal| matches!(journal.header.origin, RunOrigin::Copy(_)));
        let entries = journal.into_iter().flat_map(|journal| journal.entries);
        entries
            .filter(|(_, entry)| entry.class == TagClass::Immutable)
            .collect()
    }

    /// Copies images one after the other: each copy transfers several blobs at once. Then checks that nothing is left to copy.
    async fn copy_contents(
        &self,
        images: BTreeSet<(ImageRepository, Digest)>,
        origin: &RunOrigin,
        security: RegistrySecurity,
        progress: &(dyn Fn(CopyProgress) + Sync),
    ) -> Result<CopyCounts, PublishError> {
        let mut all = CopyCounts::default();
        let RunOrigin::Copy(sources) = origin else {
            return Ok(all);
        };
        for (to, digest) in images {
            let Some(from) = sources.get(&to) else {
                return Err(PublishError::NotCopied {
                    repository: to,
                    digest,
                });
            };
            let from = self.repository(from, security);
            let target = self.repository(&to, security);
            let counts = copy_image(&from, &target, &digest, progress).await?;
            all.add(&counts);
            // Reads all manifests of the copy again. One that is not there now would be written a second time.
            let again = copy_image(&from, &target, &digest, &|_| {}).await?;
            let there = target.get(&TagOrDigest::Digest(digest.clone())).await?;
            if again.manifests > 0 || there.is_none() {
                return Err(PublishError::NotCopied {
                    repository: to,
                    digest,
                });
            }
        }
        Ok(all)
    }
}

/// Some registries do not list tags, or need another right for it. Then other runs are not seen.
fn unseen(error: RegistryError) -> Result<(), RegistryError> {
    if error.fault.is_denial() || is_refusal(&error) {
        tracing::debug!(fault = %error.fault, "other runs are not seen");
        return Ok(());
    }
    Err(error)
}

/// The images of a run, each once.
fn images_of(journal: &Journal) -> BTreeSet<(ImageRepository, Digest)> {
    let entries = journal.entries.iter();
    let images = entries.map(|(tag, entry)| (tag.repository().clone(), entry.to.clone()));
    images.collect()
}
