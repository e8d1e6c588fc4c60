//! Tells that something takes its time, once it has taken long enough for a user to wonder.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::event::{EventKind, EventSink, LocalWork};

/// Waiting for less than this is not worth telling.
const QUIET: Duration = Duration::from_millis(800);

/// Work of this machine that is told about only if it is slow.
pub(crate) struct Notice {
    events: EventSink,
    id: String,
    name: String,
    told: Arc<AtomicBool>,
    timer: tokio::task::JoinHandle<()>,
}

impl Notice {
    /// Begins; `name` is what is done, such as `start the embedded builder`.
    pub(crate) fn begin(events: &EventSink, id: &str, name: &str) -> Self {
        Self::begin_after(QUIET, events, id, name)
    }

    fn begin_after(quiet: Duration, events: &EventSink, id: &str, name: &str) -> Self {
        let told = Arc::new(AtomicBool::new(false));
        let (sink, flag) = (events.clone(), Arc::clone(&told));
        let begun = work(id, name.to_owned(), false, None);
        let timer = tokio::spawn(async move {
            tokio::time::sleep(quiet).await;
            flag.store(true, Ordering::SeqCst);
            sink.send(begun);
        });
        Self {
            events: events.clone(),
            id: id.to_owned(),
            name: name.to_owned(),
            told,
            timer,
        }
    }

    /// It is over, with this error if any.
    pub(crate) fn end(self, error: Option<&str>) {
        self.timer.abort();
        if self.told.load(Ordering::SeqCst) {
            let error = error.map(str::to_owned);
            self.events
                .send(work(&self.id, self.name.clone(), true, error));
        }
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

fn work(id: &str, name: String, done: bool, error: Option<String>) -> EventKind {
    EventKind::Local(LocalWork {
        id: id.to_owned(),
        target: None,
        name,
        current: 0,
        total: None,
        done,
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Clock;
    use std::sync::Mutex;

    fn sink() -> (EventSink, Arc<Mutex<Vec<bool>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&seen);
        let sink = EventSink::new(Clock::system(), move |event| {
            if let EventKind::Local(work) = event.kind {
                into.lock().unwrap().push(work.done);
            }
        });
        (sink, seen)
    }

    #[tokio::test]
    async fn quick_work_is_not_told() {
        let (sink, seen) = sink();
        let notice = Notice::begin(&sink, "x", "do x");
        notice.end(None);
        assert!(seen.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn slow_work_is_told_at_its_end_too() {
        let (sink, seen) = sink();
        let notice = Notice::begin_after(Duration::ZERO, &sink, "x", "do x");
        while seen.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        notice.end(Some("no luck"));
        assert_eq!(*seen.lock().unwrap(), [false, true]);
    }
}
