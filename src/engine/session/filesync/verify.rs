//! Reads the contents of a directory before it is listed (`--verify-context`), and tells how far that is.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::transfer::{SendError, Shared};
use crate::context::{ContentTimes, Context, Filter};
use crate::event::{EventKind, EventSink, LocalWork};

/// Reading that takes less time than this is not shown.
const QUIET: Duration = Duration::from_secs(1);
/// How often the progress is shown after that.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// What has been read of a directory.
struct Progress<'a> {
    sink: &'a EventSink,
    directory: &'a Path,
    bytes: AtomicU64,
    /// When the progress is shown next.
    next: Mutex<Instant>,
    told: std::sync::atomic::AtomicBool,
}

impl Progress<'_> {
    fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Another reader tells it if the lock is taken.
        if let Ok(mut next) = self.next.try_lock()
            && Instant::now() >= *next
        {
            *next = Instant::now() + TELL_EVERY;
            self.told.store(true, Ordering::Relaxed);
            self.tell(false);
        }
    }

    fn tell(&self, done: bool) {
        let directory = self.directory.display();
        self.sink.send(EventKind::Local(LocalWork {
            id: format!("verify {directory}"),
            target: None,
            name: format!("hash the files of {directory}"),
            current: self.bytes.load(Ordering::Relaxed),
            total: None,
            done,
            error: None,
        }));
    }
}

/// Reads all files of `context` that `filter` accepts, until the transfer is stopped.
pub(super) fn content_times(
    shared: &Shared,
    context: &Context,
    filter: &Filter,
    sink: &EventSink,
) -> Result<ContentTimes, SendError> {
    let started = Instant::now();
    let progress = Progress {
        sink,
        directory: context.path(),
        bytes: AtomicU64::new(0),
        next: Mutex::new(started + QUIET),
        told: false.into(),
    };
    let tell = |bytes| {
        progress.add(bytes);
        match shared.check() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    };
    let times = ContentTimes::read(context, filter, &tell);
    if progress.told.load(Ordering::Relaxed) {
        progress.tell(true);
    }
    let bytes = progress.bytes.load(Ordering::Relaxed);
    tracing::debug!(bytes, elapsed = ?started.elapsed(), "contents hashed");
    shared.check()?;
    Ok(times?)
}
