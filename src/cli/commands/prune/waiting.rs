//! Says what is being done if it takes longer than a second.

use std::time::Duration;

use tokio::time::sleep;

use crate::cli::screen::Screen;
use crate::pruner::PruneWatch;

/// The time before the first line, and between the first two. It doubles up to the last one.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15);

/// Awaits `work`, and prints notes about `watch` meanwhile.
pub(super) fn with_notes<'a, T>(
    work: impl Future<Output = T> + 'a,
    repository: &'a str,
    watch: &'a PruneWatch,
    screen: &'a mut Screen,
) -> impl Future<Output = T> + 'a {
    let mut work = Box::pin(work);
    async move {
        let mut pause = FIRST;
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep(pause) => {
                    let (phase, done, total) = watch.now();
                    let phase = phase.text();
                    // Before the first answer, the number is not known.
                    let count = match total {
                        0 => String::new(),
                        total => format!(" ({done} of {total})"),
                    };
                    screen.note(&format!("{repository}: {phase}{count}"));
                    pause = (pause * 2).min(LONGEST);
                }
            }
        }
    }
}
