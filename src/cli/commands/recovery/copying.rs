//! Shows how far a copy of images is.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::cli::screen::Screen;
use crate::registry::CopyProgress;
use crate::types::Digest;

/// A copy that takes less time shows nothing.
const QUIET: Duration = Duration::from_secs(1);
/// The time between two lines on a terminal, which shows only the last one, and elsewhere.
const PAUSE_ON_TERMINAL: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_secs(10);

/// How far a copy is.
#[derive(Debug, Default)]
pub(super) struct CopyMeter(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    blobs: usize,
    done_blobs: usize,
    bytes: u64,
    done_bytes: u64,
    /// The bytes of blobs that are being sent.
    sending: BTreeMap<Digest, u64>,
}

impl CopyMeter {
    /// Takes note of what happened.
    pub(super) fn note(&self, progress: &CopyProgress) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            CopyProgress::Planned { blobs, bytes, .. } => {
                counted.blobs += blobs;
                counted.bytes = counted.bytes.saturating_add(*bytes);
            }
            CopyProgress::Sending { digest, sent, .. } => {
                counted.sending.insert(digest.clone(), *sent);
            }
            CopyProgress::Blob { digest, size, .. } => {
                counted.sending.remove(digest);
                counted.done_blobs += 1;
                counted.done_bytes = counted.done_bytes.saturating_add(*size);
            }
            CopyProgress::Manifest { .. } => {}
        }
    }

    /// One line.
    fn line(&self) -> String {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sending: u64 = counted
            .sending
            .values()
            .fold(0, |sum, sent| sum.saturating_add(*sent));
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        format!(
            "copying: {} of {} blobs, {} of {} MiB",
            counted.done_blobs,
            counted.blobs,
            mib(counted.done_bytes.saturating_add(sending)),
            mib(counted.bytes),
        )
    }

    /// Waits for `work`, and shows how far it is.
    pub(super) async fn watch<T>(&self, work: impl Future<Output = T>, screen: &mut Screen) -> T {
        let is_terminal = screen.streams().err_is_terminal;
        let pause = if is_terminal {
            PAUSE_ON_TERMINAL
        } else {
            PAUSE
        };
        let mut ticks = tokio::time::interval_at(Instant::now() + QUIET, pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut work = std::pin::pin!(work);
        let mut has_shown = false;
        let done = loop {
            tokio::select! {
                biased;
                done = &mut work => break done,
                _ = ticks.tick() => {
                    screen.progress(&self.line());
                    has_shown = true;
                }
            }
        };
        if has_shown {
            screen.end_progress();
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::BlobFate;

    #[test]
    fn a_line_tells_blobs_and_bytes() {
        let meter = CopyMeter::default();
        let digest = Digest::sha256(b"a");
        let size = 3 << 20;
        meter.note(&CopyProgress::Planned {
            manifests: 1,
            blobs: 2,
            bytes: 4 << 20,
        });
        meter.note(&CopyProgress::Sending {
            digest: digest.clone(),
            sent: 1 << 20,
            size,
        });
        assert_eq!(meter.line(), "copying: 0 of 2 blobs, 1 of 4 MiB");
        let fate = BlobFate::Sent;
        meter.note(&CopyProgress::Blob { digest, size, fate });
        assert_eq!(meter.line(), "copying: 1 of 2 blobs, 3 of 4 MiB");
    }
}
