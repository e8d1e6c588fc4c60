//! Work on this machine: local work and directory transfers, with their times.

use std::time::Duration;

use super::{Model, ModelChange};
use crate::event::{LocalWork, Transfer};

/// The most pieces of local work that are kept. Further ones are counted as lost.
const MAX_LOCAL: usize = 4096;
/// The most transfers that are kept. Further ones are counted as lost.
const MAX_TRANSFERS: usize = 16 * 1024;

/// Local work with its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// The latest state of the work.
    pub(crate) work: LocalWork,
    /// When the first event about it arrived, as time since the run began.
    pub(crate) since: Duration,
    /// When it ended, as time since the run began.
    pub(crate) ended: Option<Duration>,
}

/// A directory transfer with its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedTransfer {
    /// The transfer with the amounts so far.
    pub(crate) transfer: Transfer,
    /// When the first event about it arrived, as time since the run began.
    pub(crate) since: Duration,
    /// When it ended, as time since the run began.
    pub(crate) ended: Option<Duration>,
}

impl Local {
    /// Returns how long it took, or has taken up to `now` if it is still running.
    pub(crate) fn elapsed(&self, now: Duration) -> Duration {
        self.ended.unwrap_or(now).saturating_sub(self.since)
    }
}

impl TimedTransfer {
    /// Returns how long it took, or has taken up to `now` if it is still running.
    pub(crate) fn elapsed(&self, now: Duration) -> Duration {
        self.ended.unwrap_or(now).saturating_sub(self.since)
    }
}

impl Model {
    /// Applies an event of local work. Once the work has ended, later events about it are ignored, because events
    /// may arrive out of order.
    pub(super) fn take_local(&mut self, work: &LocalWork, changes: &mut Vec<ModelChange>) {
        if self.local.len() >= MAX_LOCAL && !self.local.contains_key(&work.id) {
            self.lost += 1;
            return;
        }
        let now = self.now;
        let entry = self.local.entry(work.id.clone());
        let index = entry.index();
        if let indexmap::map::Entry::Vacant(_) = &entry {
            changes.push(ModelChange::LocalStarted(index));
        }
        let local = entry.or_insert_with(|| Local {
            work: work.clone(),
            since: now,
            ended: None,
        });
        if local.ended.is_some() {
            return;
        }
        local.work = work.clone();
        if work.done {
            local.ended = Some(now);
            changes.push(ModelChange::LocalEnded(index));
        }
    }

    /// Applies an event of a transfer. Once the transfer has ended, later events about it are ignored.
    pub(super) fn take_transfer(&mut self, transfer: &Transfer, changes: &mut Vec<ModelChange>) {
        if self.transfers.len() >= MAX_TRANSFERS && !self.transfers.contains_key(&transfer.id) {
            self.lost += 1;
            return;
        }
        let now = self.now;
        let entry = self.transfers.entry(transfer.id);
        let index = entry.index();
        let state = entry.or_insert_with(|| TimedTransfer {
            transfer: transfer.clone(),
            since: now,
            ended: None,
        });
        if state.ended.is_some() {
            return;
        }
        state.transfer.join(transfer);
        if transfer.done {
            state.ended = Some(now);
            changes.push(ModelChange::TransferEnded(index));
        }
    }
}
