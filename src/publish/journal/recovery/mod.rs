//! What is left to do after a run ended in the middle, and how a run is taken back.
//!
//! Both need to know where the tags point now. A tag that points neither to where it was before the run nor to where
//! the run puts it was moved by somebody else: it is reported, and never overwritten.

use std::collections::BTreeMap;

use super::{EntryState, Journal, JournalEntry, PublishedTag, RunId, RunStatus};
use crate::publish::class::TagClass;
use crate::types::Digest;

/// Where tags point now. `None` for a tag that does not exist.
pub(crate) type TagsNow = BTreeMap<PublishedTag, Option<Digest>>;

/// A change of one tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagChange {
    /// The tag.
    pub(crate) tag: PublishedTag,
    /// Its class.
    pub(crate) class: TagClass,
    /// Where it points now. If that has changed, the change must not be made.
    pub(crate) now: Option<Digest>,
    /// Where it should point. `None` to remove the tag.
    pub(crate) to: Option<Digest>,
}

/// Which way tags are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecoveryDirection {
    /// To where the run puts them.
    Forward,
    /// To where they were before the run.
    Back,
}

/// What is left to do for a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// Which way the tags are moved.
    pub(crate) direction: RecoveryDirection,
    /// The changes to make, in this order.
    pub(crate) changes: Vec<TagChange>,
    /// Tags that already point to where they should, though the journal does not say so.
    pub(crate) reached: Vec<PublishedTag>,
    /// Tags that somebody else moved, with the digest where they point now.
    pub(crate) elsewhere: Vec<(PublishedTag, Option<Digest>)>,
    /// Tags that stay because a later run has published their image, with that run. The caller fills it.
    pub(crate) published: Vec<(PublishedTag, RunId)>,
    /// Tags of which nobody said where they point now. Nothing is planned for them.
    pub(crate) unknown: Vec<PublishedTag>,
}

/// Returns what is left to end a run, or the undoing of it, that was interrupted. `None` for a held run, which waits
/// on purpose, and for runs that are complete, failed or undone.
///
/// A run that had not yet written down all its changes ([`RunStatus::Open`]) cannot be finished, because an image may
/// be missing. Its changes are taken back, which the direction says.
///
/// Changes that the journal records as made are not made again, even if somebody moved the tag since then.
pub(crate) fn resume(journal: &Journal, now: &TagsNow) -> Option<Recovery> {
    match journal.status {
        RunStatus::Moving => Some(plan(journal, now, RecoveryDirection::Forward)),
        RunStatus::Open | RunStatus::Undoing => Some(undo(journal, now)),
        RunStatus::Complete | RunStatus::Held | RunStatus::Undone | RunStatus::Failed => None,
    }
}

/// Returns what is left to take back all changes of a run, whatever its status. The caller must record
/// [`RunStatus::Undoing`] before the first of them.
///
/// Tags that the run created are removed.
pub(crate) fn undo(journal: &Journal, now: &TagsNow) -> Recovery {
    plan(journal, now, RecoveryDirection::Back)
}

/// The mutable tags of a held run. It has moved none of them, wherever they point now. They must be recorded as
/// [`EntryState::Undone`] together with [`RunStatus::Undoing`], because that is not known afterwards.
pub(crate) fn waiting(journal: &Journal) -> impl Iterator<Item = &PublishedTag> {
    let entries = journal.entries.iter();
    let waiting = entries.filter(|(_, entry)| is_waiting(journal, entry));
    waiting.map(|(tag, _)| tag)
}

fn is_waiting(journal: &Journal, entry: &JournalEntry) -> bool {
    journal.status == RunStatus::Held
        && entry.class == TagClass::Mutable
        && entry.state == EntryState::Planned
}

fn plan(journal: &Journal, now: &TagsNow, direction: RecoveryDirection) -> Recovery {
    let mut recovery = Recovery {
        direction,
        changes: Vec::new(),
        reached: Vec::new(),
        elsewhere: Vec::new(),
        published: Vec::new(),
        unknown: Vec::new(),
    };
    // The journal has the order in which images became whole, which differs from run to run.
    let mut entries: Vec<_> = journal.entries.iter().collect();
    entries.sort_unstable_by_key(|(tag, _)| *tag);
    for (tag, entry) in entries {
        if direction == RecoveryDirection::Back && is_waiting(journal, entry) {
            continue;
        }
        let is_left = match (entry.state, direction) {
            (EntryState::Kept, _)
            | (EntryState::Done, RecoveryDirection::Forward)
            | (EntryState::Undone, RecoveryDirection::Back) => false,
            (EntryState::Planned, _)
            | (EntryState::Undone, RecoveryDirection::Forward)
            | (EntryState::Done, RecoveryDirection::Back) => true,
        };
        if !is_left {
            continue;
        }
        let Some(now) = now.get(tag) else {
            recovery.unknown.push(tag.clone());
            continue;
        };
        recovery.add(tag, entry, now.as_ref());
    }
    // Mutable tags move last; on the way back, they move first.
    let is_late = |change: &TagChange| {
        (change.class == TagClass::Mutable) == (direction == RecoveryDirection::Forward)
    };
    recovery.changes.sort_by_key(is_late);
    recovery
}

impl Recovery {
    fn add(&mut self, tag: &PublishedTag, entry: &JournalEntry, now: Option<&Digest>) {
        let (was, to) = (entry.was.as_ref(), Some(&entry.to));
        let (from, wanted) = match self.direction {
            RecoveryDirection::Forward => (was, to),
            RecoveryDirection::Back => (to, was),
        };
        if now == wanted {
            self.reached.push(tag.clone());
        } else if now == from {
            self.changes.push(TagChange {
                tag: tag.clone(),
                class: entry.class,
                now: now.cloned(),
                to: wanted.cloned(),
            });
        } else {
            self.elsewhere.push((tag.clone(), now.cloned()));
        }
    }
}

#[cfg(test)]
mod tests;
