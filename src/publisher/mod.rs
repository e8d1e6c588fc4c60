//! Carries out what `publish` decides: reads what a registry has, sets tags, records each change, recovers runs.
//!
//! Knows registries and journals, but no builders and no bake files: the caller says which images there are, and that
//! their content is in the registry. One [`Publisher`] serves a run, or a command that recovers one.
//!
//! The order of a run, each step only after the one before it:
//!
//! 1. [`look`](Publisher::look) at the tag that decides whether an image is new.
//!    Meanwhile, [`read_ahead`](Publisher::read_ahead) reads the mutable tags of images that may not be new.
//! 2. The caller builds. [`compare`](Publisher::compare) tells whether the image is already in the registry.
//! 3. [`set_immutable`](Publisher::set_immutable) for each image when its content is in the registry.
//! 4. When all images are whole: [`move_mutable`](Publisher::move_mutable) moves the mutable tags of all images, or
//!    [`hold`](Publisher::hold) writes down where they are to move.
//! 5. [`end`](Publisher::end) records how the run ended.
//!
//! [`republish`](Publisher::republish) moves mutable tags to the images of an earlier run. [`copy`](mod@copy) copies images to
//! other repositories and sets tags there.
//!
//! Registries have no compare-and-set. [`claims`] says how two runs that move the same tag at the same time come to the
//! same end, and which window remains.

mod ahead;
mod changes;
mod claims;
mod copy;
mod decisions;
mod error;
mod find;
mod history;
mod hold;
mod image;
mod immutable;
mod kept_content;
mod mutable;
mod promote;
mod record;
mod recover;
mod released;
mod standing;
mod taken_back;
mod unchanged;

use crate::publish::revision::CommitState;
use crate::registry::{Registries, RegistrySecurity, RemoteRepository};
use crate::types::ImageRepository;

use ahead::TagsAhead;
use claims::ReplacedRuns;

pub(crate) use copy::{CopiedImages, ImageSource};
pub(crate) use error::PublishError;
pub(crate) use find::{catch_up, recorded_run, recorded_runs, tags_now};
pub(crate) use history::RunHistory;
pub(crate) use image::{ImageToPublish, TagEnd, TagReport, WholeImage};
pub(crate) use kept_content::KeptContents;
pub(crate) use mutable::MovedTags;
pub(crate) use promote::PlannedTag;
pub(crate) use record::{JournalTemplate, Record};
pub(crate) use recover::{Recovered, RecoveryWish};
pub(crate) use released::{TagRelease, digest_of, release_of};
pub(crate) use standing::Standing;
pub(crate) use unchanged::{ContentReader, Sameness};

/// What the user allows beyond the rules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PublishForce {
    /// Mutable tags move to older commits, too.
    pub(crate) backwards: bool,
    /// Immutable tags are replaced.
    pub(crate) replace: bool,
}

/// Publishes the images of one run.
#[derive(Debug)]
pub(crate) struct Publisher {
    registries: Registries,
    record: Record,
    revision: Option<CommitState>,
    history: RunHistory,
    force: PublishForce,
    kept: KeptContents,
    replaced: ReplacedRuns,
    ahead: TagsAhead,
}

impl Publisher {
    /// Publishes with `registries`. `revision` is the commit of the run, if it is known.
    pub(crate) fn new(
        registries: Registries,
        record: Record,
        revision: Option<CommitState>,
        history: RunHistory,
        force: PublishForce,
    ) -> Self {
        Self {
            registries,
            record,
            revision,
            history,
            force,
            kept: KeptContents::nothing(),
            replaced: ReplacedRuns::default(),
            ahead: TagsAhead::default(),
        }
    }

    /// Reads contents that are kept on this machine from there.
    pub(crate) fn with_kept(mut self, kept: KeptContents) -> Self {
        self.kept = kept;
        self
    }

    /// The record of the run.
    pub(crate) const fn record(&self) -> &Record {
        &self.record
    }

    /// The registries of the run, for counts and for requests that are not part of publishing.
    pub(crate) const fn registries(&self) -> &Registries {
        &self.registries
    }

    fn repository(
        &self,
        repository: &ImageRepository,
        security: RegistrySecurity,
    ) -> RemoteRepository {
        self.registries.repository(repository, security)
    }

    fn repository_of(&self, image: &ImageToPublish) -> RemoteRepository {
        self.repository(&image.repository, image.security)
    }
}
