//! The requests of the daemon that no reader has taken yet.
//!
//! The queue is unbounded: the daemon may request everything at once, and must never be blocked while it does so. It
//! would stop reading our list, and both sides would wait for each other. A request takes only a few bytes: an id and
//! a size.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::table::EntryContent;

#[derive(Debug, Default)]
pub(super) struct SendQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    wishes: VecDeque<(u32, EntryContent)>,
    closed: bool,
    waiting: usize,
}

impl SendQueue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request. Returns whether there are more requests than idle readers, so that another reader would help.
    pub(super) fn put(&self, id: u32, content: EntryContent) -> bool {
        let mut state = self.state();
        state.wishes.push_back((id, content));
        self.changed.notify_one();
        state.wishes.len() > state.waiting
    }

    /// Takes the next request, if there is one now.
    pub(super) fn try_take(&self) -> Option<(u32, EntryContent)> {
        self.state().wishes.pop_front()
    }

    /// Waits for the next request and takes it. `None` if the queue is closed.
    pub(super) fn take(&self) -> Option<(u32, EntryContent)> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some(next) = state.wishes.pop_front() {
                return Some(next);
            }
            state.waiting += 1;
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    /// Closes the queue: drops all requests and wakes all readers.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.wishes.clear();
        self.changed.notify_all();
    }
}
