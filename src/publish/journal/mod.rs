//! The record of the changes that one run makes to tags, so that they can be finished or taken back.
//!
//! Each change is written down before it is made, with the digest that the tag had. [`Journal`] is the state;
//! [`file`](mod@file) keeps it on this machine as lines of JSON, and [`artifact`] as a manifest in a registry, for
//! recovery from another machine. [`recovery`] tells what is left to do. Nothing in a journal is a secret.

pub(crate) mod artifact;
pub(crate) mod file;
mod lines;
pub(crate) mod recovery;
mod run_id;

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use indexmap::IndexMap;
use jiff::Timestamp;

use super::class::TagClass;
use super::revision::CommitState;
use crate::types::reference::InvalidReference;
use crate::types::{Digest, ImageRepository, ImageTag, Reference};

pub(crate) use run_id::RunId;

/// The most tags in one journal.
pub(crate) const ENTRY_LIMIT: usize = 20_000;

/// A tag in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PublishedTag {
    repository: ImageRepository,
    tag: ImageTag,
}

impl PublishedTag {
    /// The tag `tag` in `repository`.
    pub(crate) const fn new(repository: ImageRepository, tag: ImageTag) -> Self {
        Self { repository, tag }
    }

    /// The tag of `reference`, or `latest` if it has neither a tag nor a digest. `None` if it has only a digest.
    pub(crate) fn of(reference: &Reference) -> Option<Self> {
        let tag = ImageTag::of(reference)?;
        Some(Self::new(ImageRepository::of(reference), tag))
    }

    /// Parses a repository and a tag, which may come from anywhere.
    pub(crate) fn parse(repository: &str, tag: &str) -> Result<Self, InvalidReference> {
        let reference: Reference = format!("{repository}:{tag}").parse()?;
        // A digest in `tag`, or a tag in `repository`, would make another name of the two.
        Self::of(&reference)
            .filter(|found| found.tag.as_str() == tag)
            .ok_or_else(|| InvalidReference::Tag {
                tag: tag.to_owned(),
            })
    }

    /// The repository.
    pub(crate) const fn repository(&self) -> &ImageRepository {
        &self.repository
    }

    /// The tag.
    pub(crate) const fn tag(&self) -> &ImageTag {
        &self.tag
    }

    /// The name for people, without `docker.io/` and `library/`.
    pub(crate) fn familiar(&self) -> String {
        format!("{}:{}", self.repository.familiar(), self.tag)
    }
}

impl fmt::Display for PublishedTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

/// How far the change of one tag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryState {
    /// Written down. The change may have been made or not.
    Planned,
    /// Made.
    Done,
    /// Taken back.
    Undone,
    /// Not made, because the tag must stay: a newer commit holds it, or it is immutable and complete.
    Kept,
}

/// The change of one tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournalEntry {
    /// The class of the tag.
    pub(crate) class: TagClass,
    /// The digest before the run. `None` if the tag did not exist.
    pub(crate) was: Option<Digest>,
    /// The digest that the run gives it.
    pub(crate) to: Digest,
    /// How far it is.
    pub(crate) state: EntryState,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunStatus {
    /// Not all of its changes are written down yet. Immutable tags may be made already, each when its image is whole;
    /// no mutable tag has moved. A run that is killed here cannot be finished.
    Open,
    /// All changes are written down, and all images are whole. Recorded before the first mutable tag moves; a run
    /// that is killed here can be finished.
    Moving,
    /// All changes were made.
    Complete,
    /// All changes are written down, and immutable tags are made. Mutable ones wait to be promoted.
    Held,
    /// Its changes are being taken back, or that ended in the middle.
    Undoing,
    /// All changes were taken back.
    Undone,
    /// A target or a gate failed before the first mutable tag moved. Immutable tags of images that were whole by then
    /// stay, but their publish was not completed.
    Failed,
}

impl RunStatus {
    /// Whether a crash may have left the run between two states.
    pub(crate) const fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Moving | Self::Undoing)
    }

    /// How far the run is, as a number. It never becomes smaller, so of two records of one run, the one with the smaller
    /// number is out of date.
    pub(crate) const fn progress(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Held => 1,
            Self::Moving | Self::Failed => 2,
            Self::Complete => 3,
            Self::Undoing => 4,
            Self::Undone => 5,
        }
    }

    /// Whether nothing is left to do or to wait for.
    pub(crate) const fn is_ended(self) -> bool {
        matches!(self, Self::Complete | Self::Undone | Self::Failed)
    }

    /// Whether the images of the run are published: a later run does not replace its immutable tags.
    pub(crate) const fn is_published(self) -> bool {
        matches!(self, Self::Complete | Self::Held)
    }
}

/// What is known of a run from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournalHeader {
    /// The run.
    pub(crate) run: RunId,
    /// When it began.
    pub(crate) started: Timestamp,
    /// The version of rbake.
    pub(crate) rbake: String,
    /// The commit that was built, if it is known.
    pub(crate) revision: Option<CommitState>,
    /// Whose images the run publishes.
    pub(crate) origin: RunOrigin,
    /// Whether mutable tags may move to older commits.
    pub(crate) backwards: bool,
}

/// Whose images a run publishes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum RunOrigin {
    /// Its own, which it built.
    #[default]
    Build,
    /// Those of this held run, whose mutable tags it moves.
    Promotion(RunId),
    /// Those of this earlier run, to which it moves mutable tags back.
    Rollback(RunId),
    /// Those of other repositories, which it copies. The key is the repository that gets an image.
    Copy(BTreeMap<ImageRepository, ImageRepository>),
}

/// The record of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Journal {
    /// What is known from the start.
    pub(crate) header: JournalHeader,
    /// How far the run is.
    pub(crate) status: RunStatus,
    /// The tags, in the order in which they were planned.
    pub(crate) entries: IndexMap<PublishedTag, JournalEntry>,
}

/// One step of a run, which a line records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JournalEvent {
    /// A change that will be made. If the tag has an entry already, this one replaces it: somebody else moved the tag in the
    /// meantime, and the run moves it again.
    Planned(PublishedTag, JournalEntry),
    /// A planned change has come to this state.
    Marked(PublishedTag, EntryState),
    /// The run has come to this status.
    Status(RunStatus),
}

/// The event does not fit the journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JournalEventError {
    /// The tag was not planned.
    #[error("the change of `{0}` was not planned")]
    NotPlanned(PublishedTag),
    /// There are [`ENTRY_LIMIT`] tags already.
    #[error("a run can change at most {ENTRY_LIMIT} tags")]
    TooMany,
}

impl Journal {
    /// The journal of a run that begins.
    pub(crate) fn new(header: JournalHeader) -> Self {
        Self {
            header,
            status: RunStatus::Open,
            entries: IndexMap::new(),
        }
    }

    /// Whether `events` fit, one after the other.
    fn check(&self, events: &[JournalEvent]) -> Result<(), JournalEventError> {
        let mut planned = HashSet::new();
        for event in events {
            match event {
                JournalEvent::Planned(tag, _) if !self.entries.contains_key(tag) => {
                    planned.insert(tag);
                }
                JournalEvent::Marked(tag, _)
                    if !self.entries.contains_key(tag) && !planned.contains(tag) =>
                {
                    return Err(JournalEventError::NotPlanned(tag.clone()));
                }
                _ => {}
            }
        }
        if self.entries.len() + planned.len() > ENTRY_LIMIT {
            return Err(JournalEventError::TooMany);
        }
        Ok(())
    }

    /// Applies `event`. If it does not fit, nothing changes.
    pub(crate) fn apply(&mut self, event: JournalEvent) -> Result<(), JournalEventError> {
        match event {
            JournalEvent::Planned(tag, entry) => {
                if self.entries.len() >= ENTRY_LIMIT && !self.entries.contains_key(&tag) {
                    return Err(JournalEventError::TooMany);
                }
                self.entries.insert(tag, entry);
            }
            JournalEvent::Marked(tag, state) => match self.entries.get_mut(&tag) {
                Some(entry) => entry.state = state,
                None => return Err(JournalEventError::NotPlanned(tag)),
            },
            JournalEvent::Status(status) => self.status = status,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
