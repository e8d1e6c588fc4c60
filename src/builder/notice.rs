//! Reports that something takes long, after a time in which a user starts to wonder.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::diag::Diagnostic;
use crate::event::{EventKind, EventSink, LocalWork};

/// Work that takes less time than this is not reported.
const QUIET: Duration = Duration::from_millis(800);
/// A wait for the same thing is reported after this time, and again each time that it has passed.
const TOLD_AFTER: Duration = Duration::from_secs(10);

/// A piece of local work that is reported only if it is slow.
pub(crate) struct Notice {
    events: EventSink,
    id: String,
    name: String,
    told: Arc<AtomicBool>,
    timers: [tokio::task::JoinHandle<()>; 2],
    awaited: watch::Sender<(&'static str, Instant)>,
}

impl Notice {
    /// Begins the work. `name` says what is done, such as `start the embedded builder`. Reports nothing yet.
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
        let (awaited, changes) = watch::channel(("", Instant::now()));
        let waiting = tokio::spawn(tell_waiting(events.clone(), changes));
        Self {
            events: events.clone(),
            id: id.to_owned(),
            name: name.to_owned(),
            told,
            timers: [timer, waiting],
            awaited,
        }
    }

    /// Says what the work waits for from now on, such as `another run to start the embedded builder`.
    ///
    /// If that takes long, it is reported as a separate line, because not all views show unfinished work.
    pub(super) fn waits_for(&self, what: &'static str) {
        self.awaited.send_if_modified(|awaited| {
            let is_new = awaited.0 != what;
            if is_new {
                *awaited = (what, Instant::now());
            }
            is_new
        });
    }

    /// Ends the work, with this error if it failed. Reports that only if the work was reported before.
    pub(crate) fn end(self, error: Option<&str>) {
        for timer in &self.timers {
            timer.abort();
        }
        if self.told.load(Ordering::SeqCst) {
            let error = error.map(str::to_owned);
            self.events
                .send(work(&self.id, self.name.clone(), true, error));
        }
    }
}

async fn tell_waiting(events: EventSink, mut changes: watch::Receiver<(&'static str, Instant)>) {
    loop {
        let (what, since) = *changes.borrow_and_update();
        for turn in 1.. {
            let waited = TOLD_AFTER * turn;
            tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = tokio::time::sleep_until(since + waited), if !what.is_empty() => {
                    let message = format!("waiting for {what}, {} s", waited.as_secs());
                    let notice = Diagnostic::information("builder::waiting", message);
                    events.send(EventKind::Notice(notice));
                }
            }
        }
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        for timer in &self.timers {
            timer.abort();
        }
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

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_is_reported_with_its_reason() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&told);
        let sink = EventSink::new(Clock::system(), move |event| {
            if let EventKind::Notice(notice) = event.kind {
                into.lock().unwrap().push(notice.message);
            }
        });
        let notice = Notice::begin(&sink, "x", "do x");
        tokio::time::sleep(Duration::from_secs(60)).await;
        notice.waits_for("a");
        tokio::time::sleep(Duration::from_secs(5)).await;
        notice.waits_for("a");
        tokio::time::sleep(Duration::from_secs(16)).await;
        notice.waits_for("b");
        tokio::time::sleep(Duration::from_secs(11)).await;
        notice.end(None);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(
            *told.lock().unwrap(),
            [
                "waiting for a, 10 s",
                "waiting for a, 20 s",
                "waiting for b, 10 s"
            ]
        );
    }

    #[tokio::test]
    async fn quick_work_is_not_reported() {
        let (sink, seen) = sink();
        let notice = Notice::begin(&sink, "x", "do x");
        notice.end(None);
        assert!(seen.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_end_of_slow_work_is_reported_too() {
        let (sink, seen) = sink();
        let notice = Notice::begin_after(Duration::ZERO, &sink, "x", "do x");
        while seen.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        notice.end(Some("no luck"));
        assert_eq!(*seen.lock().unwrap(), [false, true]);
    }
}
