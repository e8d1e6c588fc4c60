//! Reports the progress of an installation as events.

use std::sync::Mutex;
use std::time::Duration;

use crate::event::{EventKind, EventSink, LocalWork};
use crate::types::Clock;

/// The shortest time between two reports: progress bars need no more.
const PERIOD: Duration = Duration::from_millis(50);

/// One step of an installation, such as a download.
#[derive(Debug)]
pub(super) struct Progress {
    events: EventSink,
    id: String,
    name: String,
    clock: Clock,
    told: Mutex<Option<(Duration, u64)>>,
}

impl Progress {
    /// Reports that the step `name`, such as `download x`, begins. `id` must be unique among the steps of an
    /// installation.
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

    /// Reports that `current` of `total` bytes are done. May drop a report that comes too soon after the last one.
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

    /// Reports that the step has ended, and why if it failed.
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
