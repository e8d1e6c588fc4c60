//! What the daemon has asked for and no reader has taken yet.
//!
//! Unbounded, since the daemon may ask for everything at once and must never be kept from asking: it would stop reading, and
//! both sides would wait. A wish is a number and a size.

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

    /// Adds a wish; tells whether more of them wait than readers wait for them.
    pub(super) fn put(&self, id: u32, content: EntryContent) -> bool {
        let mut state = self.state();
        state.wishes.push_back((id, content));
        self.changed.notify_one();
        state.wishes.len() > state.waiting
    }

    /// The next wish, if there is one now.
    pub(super) fn try_take(&self) -> Option<(u32, EntryContent)> {
        self.state().wishes.pop_front()
    }

    /// The next wish, as soon as there is one; `None` when there will be no more.
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

    /// Ends all waiting, now and from here on.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.wishes.clear();
        self.changed.notify_all();
    }
}
