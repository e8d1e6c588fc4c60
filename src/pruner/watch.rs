//! How far the reading or deleting of a repository is, for a display.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PrunePhase {
    /// Tags are looked up.
    Tags,
    /// Manifests are read.
    Manifests,
    /// Configurations and attestations are read, which tell ages.
    Ages,
    /// The registry deletes.
    Deleting,
    /// What stays is looked up.
    Verifying,
    /// Something is put back.
    Restoring,
}

impl PrunePhase {
    const ALL: [Self; 6] = [
        Self::Tags,
        Self::Manifests,
        Self::Ages,
        Self::Deleting,
        Self::Verifying,
        Self::Restoring,
    ];

    /// A text such as `looking up tags`.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Tags => "looking up tags",
            Self::Manifests => "reading manifests",
            Self::Ages => "finding out ages",
            Self::Deleting => "deleting",
            Self::Verifying => "checking what stays",
            Self::Restoring => "putting back",
        }
    }
}

/// Counts what is done. Cheap to clone; clones share the counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct PruneWatch(Arc<WatchedCounts>);

#[derive(Debug, Default)]
struct WatchedCounts {
    phase: AtomicU8,
    done: AtomicUsize,
    total: AtomicUsize,
}

impl PruneWatch {
    /// Begins a phase of `total` acts.
    pub(super) fn begin(&self, phase: PrunePhase, total: usize) {
        let place = PrunePhase::ALL.iter().position(|one| *one == phase);
        let place = place.and_then(|place| u8::try_from(place).ok());
        self.0
            .phase
            .store(place.unwrap_or_default(), Ordering::Relaxed);
        self.0.done.store(0, Ordering::Relaxed);
        self.0.total.store(total, Ordering::Relaxed);
    }

    /// Adds to the number of acts of this phase.
    pub(super) fn add(&self, more: usize) {
        self.0.total.fetch_add(more, Ordering::Relaxed);
    }

    /// Counts one act.
    pub(super) fn count(&self) {
        self.0.done.fetch_add(1, Ordering::Relaxed);
    }

    /// What is being done, how many acts of it are done, and how many are known.
    pub(crate) fn now(&self) -> (PrunePhase, usize, usize) {
        let phase = usize::from(self.0.phase.load(Ordering::Relaxed));
        let phase = PrunePhase::ALL.get(phase).copied();
        (
            phase.unwrap_or(PrunePhase::Tags),
            self.0.done.load(Ordering::Relaxed),
            self.0.total.load(Ordering::Relaxed),
        )
    }
}
