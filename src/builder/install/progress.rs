//! How far an installation is, told as events.

use std::sync::Mutex;
use std::time::Duration;

use crate::event::{EventKind, EventSink, LocalWork};
use crate::types::Clock;

/// Bars need no more news than this.
const PERIOD: Duration = Duration::from_millis(50);

/// One piece of an installation's work.
#[derive(Debug)]
pub(super) struct Progress {
    events: EventSink,
    id: String,
    name: String,
    clock: Clock,
    told: Mutex<Option<(Duration, u64)>>,
}

impl Progress {
    /// Begins the work `name`, such as `download x`.
    pub(super) fn begin(events: &EventSink, id: &str, name: &str) -> Self {
        let progress = Self {
            events: events.clone(),
            id: format!("install-{id}"),
            name: name.to_owned(),
            clock: Clock::system(),
            told: Mutex::new(None),
        };
        progress.tell(0, None, false, None);
        progress
    }

    /// It is at `current` of `total` bytes.
    pub(super) fn at(&self, current: u64, total: Option<u64>) {
        let now = self.clock.elapsed();
        {
            let mut told = self
                .told
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let is_last = Some(current) == total;
            if !is_last && told.is_some_and(|(at, _)| now < at + PERIOD) {
                return;
            }
            *told = Some((now, current));
        }
        self.tell(current, total, false, None);
    }

    /// It is over, with this error if any.
    pub(super) fn end(self, error: Option<String>) {
        let current = self
            .told
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .map_or(0, |(_, current)| current);
        self.tell(current, None, true, error);
    }

    fn tell(&self, current: u64, total: Option<u64>, done: bool, error: Option<String>) {
        self.events.send(EventKind::Local(LocalWork {
            id: self.id.clone(),
            target: None,
            name: self.name.clone(),
            current,
            total,
            done,
            error,
        }));
    }
}
