//! Shows how much of an upload is done.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::event::{EventKind, EventSink, LocalWork};
use crate::types::{Digest, TargetName};

/// The progress of an upload of several blobs. Shown from the first byte that is sent.
pub(in crate::run) struct UploadProgress<'a> {
    events: &'a EventSink,
    id: String,
    target: Option<TargetName>,
    name: String,
    state: Mutex<UploadState>,
}

#[derive(Default)]
struct UploadState {
    total: u64,
    sent: BTreeMap<Digest, u64>,
    is_shown: bool,
}

impl<'a> UploadProgress<'a> {
    /// `name` says what is sent, such as `push site/web`. `id` identifies the work within the run.
    pub(in crate::run) fn new(
        events: &'a EventSink,
        id: String,
        target: Option<TargetName>,
        name: String,
    ) -> Self {
        Self {
            events,
            id,
            target,
            name,
            state: Mutex::default(),
        }
    }

    /// Adds a blob of `size` bytes that will be sent.
    pub(super) fn expect(&self, size: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.total = state.total.saturating_add(size);
    }

    /// Takes away a blob of `size` bytes that the registry has.
    pub(super) fn spare(&self, size: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.total = state.total.saturating_sub(size);
    }

    /// Notes that so many bytes of `digest` were sent.
    pub(super) fn sent(&self, digest: &Digest, bytes: u64) {
        let (current, total) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.is_shown = true;
            state.sent.insert(digest.clone(), bytes);
            let sent = state.sent.values();
            (
                sent.fold(0, |sum: u64, sent| sum.saturating_add(*sent)),
                state.total,
            )
        };
        self.tell(current, total, false, None);
    }

    /// Ends the work, with this error if it failed.
    pub(in crate::run) fn end(&self, error: Option<String>) {
        let (total, is_shown) = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            (state.total, state.is_shown)
        };
        if is_shown || error.is_some() {
            self.tell(total, total, true, error);
        }
    }

    fn tell(&self, current: u64, total: u64, done: bool, error: Option<String>) {
        self.events.send(EventKind::Local(LocalWork {
            id: self.id.clone(),
            target: self.target.clone(),
            name: self.name.clone(),
            current,
            total: Some(total),
            done,
            error,
        }));
    }
}
