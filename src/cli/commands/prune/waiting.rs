//! Says what is being done if it takes longer than a second.

use std::time::Duration;

use tokio::time::sleep;

use crate::cli::screen::Screen;
use crate::pruner::PruneWatch;

/// The time before the first line, and between the first two. It doubles up to the last one.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15);

/// Awaits `work`, and prints notes about `watch` meanwhile.
pub(super) async fn with_notes<T>(
    work: impl Future<Output = T>,
    repository: &str,
    watch: &PruneWatch,
    screen: &mut Screen,
) -> T {
    let mut work = std::pin::pin!(work);
    let mut pause = FIRST;
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = sleep(pause) => {
                let (phase, done, total) = watch.now();
                screen.note(&format!("{repository}: {} ({done} of {total})", phase.text()));
                pause = (pause * 2).min(LONGEST);
            }
        }
    }
}
