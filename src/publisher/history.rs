//! The history by which the commits of two runs are compared.

use crate::publish::revision::git::GitHistory;
use crate::publish::revision::{Ancestry, CachedHistory, History, Revision};

/// The history that a run knows.
#[derive(Debug)]
pub(crate) enum RunHistory {
    /// That of a git repository on this machine.
    Git(CachedHistory<GitHistory>),
    /// None, because the run is not in a git repository.
    Unknown,
}

impl RunHistory {
    /// The history of a git repository.
    pub(crate) fn of(git: GitHistory) -> Self {
        Self::Git(CachedHistory::new(git))
    }
}

impl History for RunHistory {
    async fn is_ancestor(&self, older: &Revision, newer: &Revision) -> Ancestry {
        match self {
            Self::Git(git) => git.is_ancestor(older, newer).await,
            Self::Unknown if older == newer => Ancestry::Yes,
            Self::Unknown => Ancestry::Unknown,
        }
    }
}
