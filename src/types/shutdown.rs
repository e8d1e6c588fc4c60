//! The shutdown budget: how an interrupted run uses the two seconds that it has to end.
//!
//! Different modules wait for the different parts. All times are here, so that the compiler can check their sum.

use std::time::Duration;

/// The promise to the user: the time from a signal to the end of the process.
const PROMISED: Duration = Duration::from_secs(2);
/// The promise for a second signal.
const PROMISED_AFTER_SECOND: Duration = Duration::from_secs(1);

/// The time from a signal to the exit, whatever the daemon does. The rest of the promised time is for the exit
/// itself.
pub(crate) const EXIT_TIMEOUT: Duration = Duration::from_millis(1900);
/// The time from a second signal to the exit.
///
/// The rest of the promised time is a reserve for a busy machine.
pub(crate) const EXIT_TIMEOUT_AFTER_SECOND: Duration = Duration::from_millis(600);

/// Signals that arrive within this time count as one request: `timeout` sends two, and a terminal and a script may
/// both send one.
pub(crate) const SAME_REQUEST_WINDOW: Duration = Duration::from_millis(500);

/// The time a cancelled target has to cancel its work at the daemon.
pub(crate) const TARGET_CANCEL_TIMEOUT: Duration = Duration::from_millis(800);
/// The time all targets together have. After that, the run ends without them.
pub(crate) const TARGETS_TIMEOUT: Duration = Duration::from_millis(1200);
/// The time for sending cancellations and goodbyes when the connection is closed.
pub(crate) const FLUSH_TIMEOUT: Duration = Duration::from_millis(250);
/// The time the run has to close the connection.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_millis(300);
/// The time the run has to close the connection after a second signal.
pub(crate) const CLOSE_TIMEOUT_AFTER_SECOND: Duration = Duration::from_millis(100);
/// The time a program has to end after SIGTERM, and again after SIGKILL.
pub(crate) const PROGRAM_EXIT_TIMEOUT: Duration = Duration::from_millis(300);
/// The time for the summary and for removing temporary files.
pub(crate) const FINISH_TIMEOUT: Duration = Duration::from_millis(350);
/// The part of [`FINISH_TIMEOUT`] for the summary, which may go to a pipe that nobody reads.
pub(crate) const SUMMARY_TIMEOUT: Duration = Duration::from_millis(175);

const fn add_up(parts: &[Duration]) -> u128 {
    let mut sum = 0;
    let mut at = 0;
    while at < parts.len() {
        sum += parts[at].as_millis();
        at += 1;
    }
    sum
}

// The build fails here if the parts do not fit into the promised times.
const _: () = {
    assert!(TARGET_CANCEL_TIMEOUT.as_millis() < TARGETS_TIMEOUT.as_millis());
    assert!(
        add_up(&[PROGRAM_EXIT_TIMEOUT, PROGRAM_EXIT_TIMEOUT]) <= TARGET_CANCEL_TIMEOUT.as_millis()
    );
    assert!(SUMMARY_TIMEOUT.as_millis() < FINISH_TIMEOUT.as_millis());
    assert!(FLUSH_TIMEOUT.as_millis() < CLOSE_TIMEOUT.as_millis());
    assert!(add_up(&[TARGETS_TIMEOUT, CLOSE_TIMEOUT, FINISH_TIMEOUT]) <= EXIT_TIMEOUT.as_millis());
    assert!(
        add_up(&[CLOSE_TIMEOUT_AFTER_SECOND, FINISH_TIMEOUT])
            <= EXIT_TIMEOUT_AFTER_SECOND.as_millis()
    );
    assert!(SAME_REQUEST_WINDOW.as_millis() < EXIT_TIMEOUT.as_millis());
    assert!(EXIT_TIMEOUT.as_millis() < PROMISED.as_millis());
    assert!(EXIT_TIMEOUT_AFTER_SECOND.as_millis() < PROMISED_AFTER_SECOND.as_millis());
};
