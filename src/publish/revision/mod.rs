//! Forward only: a mutable tag does not move from a newer commit back to an older one.
//!
//! The revision of a published image is recorded as an annotation of its index, and read there only. It comes from
//! the registry, so it is not trusted: [`CommitState`] accepts nothing but the id of a commit. [`decide`] compares
//! it with our own revision, with the help of a [`History`]; [`git::GitHistory`] is the real one.

pub(crate) mod git;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OnceCell, Semaphore};

/// The number of questions that are asked at the same time. Each starts a program.
const AT_ONCE: usize = 4;

/// What is written behind the id if files differed from the commit.
const DIRTY: &str = "-dirty";

/// The whole id of a commit: 40 or 64 hexadecimal digits in lower case. (git uses SHA-1 or SHA-256.)
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Revision(Arc<str>);

/// The text is not the id of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a commit (40 or 64 hexadecimal digits)")]
pub(crate) struct InvalidRevision;

impl Revision {
    /// The digits.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Revision {
    type Err = InvalidRevision;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if matches!(text.len(), 40 | 64) && text.bytes().all(lower_hex) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidRevision)
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A commit, and whether the files that were built differed from it. As text, `-dirty` follows the id then, as in
/// buildx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitState {
    /// The commit.
    pub(crate) id: Revision,
    /// Whether files differed from it.
    pub(crate) dirty: bool,
}

impl FromStr for CommitState {
    type Err = InvalidRevision;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (id, dirty) = match text.strip_suffix(DIRTY) {
            Some(id) => (id, true),
            None => (text, false),
        };
        Ok(Self {
            id: id.parse()?,
            dirty,
        })
    }
}

impl fmt::Display for CommitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.id, if self.dirty { DIRTY } else { "" })
    }
}

/// Whether a commit is an ancestor of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ancestry {
    /// It is, or both are the same.
    Yes,
    /// It is not, and the whole history is known.
    No,
    /// A commit or a part of the history is missing, or git did not answer.
    Unknown,
}

/// Knows the commits.
pub(crate) trait History: Sync {
    /// Whether `older` is an ancestor of `newer`.
    fn is_ancestor(
        &self,
        older: &Revision,
        newer: &Revision,
    ) -> impl Future<Output = Ancestry> + Send;
}

/// Whether a mutable tag may move to our image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TagMove {
    /// Our commit is newer than the recorded one.
    Forward,
    /// Both are the same commit.
    Same,
    /// It stays, because our commit is an ancestor of the recorded one. This is not a failure.
    Kept {
        /// The recorded commit.
        newer: Revision,
    },
    /// It moves, but the user should know why that may be wrong.
    MovesWithNote(MoveNote),
}

/// Why it is uncertain that a tag moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MoveNote {
    /// Neither commit is an ancestor of the other.
    Diverged,
    /// git does not know both commits and the history between them, as in a shallow clone.
    UnknownHistory,
    /// The image in the registry has no record of its commit.
    NoRecord,
    /// The record in the registry is not the id of a commit.
    InvalidRecord,
    /// Our commit is unknown.
    NoRevision,
    /// The tag moves forward or stays at its commit, but our image was built from files that differ from the commit.
    Dirty,
    /// Our commit is older, but the user forces the tag to move.
    Forced,
}

impl MoveNote {
    /// The reason, as the end of a sentence such as "`latest` moves, but …".
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Diverged => "its commit is neither older nor newer than ours",
            Self::UnknownHistory => "the history between its commit and ours is not known here",
            Self::NoRecord => "the image that it points to has no record of its commit",
            Self::InvalidRecord => "the record of its commit is not valid",
            Self::NoRevision => "our own commit is not known",
            Self::Dirty => "our files differ from the commit",
            Self::Forced => "its commit is newer than ours",
        }
    }
}

/// Decides whether a tag with the record `recorded` may move to an image of `ours`. `force` moves it backwards, too.
///
/// It is refused only if our commit is a proper ancestor of the recorded one. Changed files do not make a commit
/// newer.
pub(crate) async fn decide(
    recorded: Option<&str>,
    ours: Option<&CommitState>,
    force: bool,
    history: &impl History,
) -> TagMove {
    let Some(ours) = ours else {
        return TagMove::MovesWithNote(MoveNote::NoRevision);
    };
    let theirs = match recorded.map(str::parse::<CommitState>) {
        None => return TagMove::MovesWithNote(MoveNote::NoRecord),
        Some(Err(_)) => return TagMove::MovesWithNote(MoveNote::InvalidRecord),
        Some(Ok(theirs)) => theirs.id,
    };
    let clean = |found: TagMove| {
        if ours.dirty {
            TagMove::MovesWithNote(MoveNote::Dirty)
        } else {
            found
        }
    };
    if theirs == ours.id {
        return clean(TagMove::Same);
    }
    let backwards = history.is_ancestor(&ours.id, &theirs).await;
    if backwards == Ancestry::Yes {
        return if force {
            TagMove::MovesWithNote(MoveNote::Forced)
        } else {
            TagMove::Kept { newer: theirs }
        };
    }
    match (backwards, history.is_ancestor(&theirs, &ours.id).await) {
        (_, Ancestry::Yes) => clean(TagMove::Forward),
        (Ancestry::No, Ancestry::No) => TagMove::MovesWithNote(MoveNote::Diverged),
        _ => TagMove::MovesWithNote(MoveNote::UnknownHistory),
    }
}

type SharedAnswer = Arc<OnceCell<Ancestry>>;

/// Asks each question once, and a limited number of them at the same time.
#[derive(Debug)]
pub(crate) struct CachedHistory<H> {
    inner: H,
    /// By the older and the newer commit. A cell is empty while its question is asked.
    answers: Mutex<BTreeMap<(Revision, Revision), SharedAnswer>>,
    slots: Semaphore,
}

impl<H> CachedHistory<H> {
    /// Asks `inner`.
    pub(crate) fn new(inner: H) -> Self {
        Self {
            inner,
            answers: Mutex::default(),
            slots: Semaphore::new(AT_ONCE),
        }
    }
}

impl<H: History + Send> History for CachedHistory<H> {
    async fn is_ancestor(&self, older: &Revision, newer: &Revision) -> Ancestry {
        let cell = {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            let pair = (older.clone(), newer.clone());
            Arc::clone(answers.entry(pair).or_default())
        };
        let ask = || async {
            // It fails only if the semaphore is closed, which never happens.
            let _slot = self.slots.acquire().await;
            self.inner.is_ancestor(older, newer).await
        };
        *cell.get_or_init(ask).await
    }
}

#[cfg(test)]
mod tests;
