//! How an interrupted run uses the two seconds that it has to end.
//!
//! Different modules wait for the different parts. All times are here, so that the compiler can check their sum.

use std::time::Duration;

use super::{processes, temporary};

/// The promise to the user: the time from a signal to the end of the process.
const PROMISED: Duration = Duration::from_secs(2);
/// The promise for a second signal.
const PROMISED_AFTER_SECOND: Duration = Duration::from_secs(1);

/// The time from a signal to the exit, whatever the daemon does. The rest of the promised time is for the exit
/// itself.
pub(crate) const WHOLE: Duration = Duration::from_millis(1900);
/// The time from a second signal to the exit.
///
/// The rest of the promised time is a reserve for a busy machine.
pub(crate) const WHOLE_AFTER_SECOND: Duration = Duration::from_millis(600);

/// Signals that arrive within this time count as one request: `timeout` sends two, and a terminal and a script may
/// both send one.
pub(crate) const SAME_REQUEST: Duration = Duration::from_millis(500);

/// The time a cancelled target has to cancel its work at the daemon.
pub(crate) const PARTING: Duration = Duration::from_millis(800);
/// The time all targets together have. After that, the run ends without them.
pub(crate) const GRACE: Duration = Duration::from_millis(1200);
/// The time for sending cancellations and goodbyes when the connection is closed.
pub(crate) const FLUSH: Duration = Duration::from_millis(250);
/// The time the run has to close the connection.
pub(crate) const FAREWELL: Duration = Duration::from_millis(300);
/// The time the run has to close the connection after a second signal.
pub(crate) const HASTY_FAREWELL: Duration = Duration::from_millis(100);
/// The time a program has to end after SIGTERM, and again after SIGKILL.
pub(crate) const PROGRAM_PARTING: Duration = Duration::from_millis(300);
/// The time for the summary and for removing temporary files.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(350);
/// The part of [`LAST_WORDS`] for the summary, which may go to a pipe that nobody reads.
pub(crate) const TELLING: Duration = Duration::from_millis(175);

/// Ends the programs that this process has started, and removes its temporary files. To be called before the
/// process ends.
pub fn clear_up() {
    // In this order, because a program may still be writing to the files that are removed.
    processes::end_all();
    temporary::remove_all();
}

/// Whether the parent process made this one ignore the signal `number`, as `nohup` does with SIGHUP.
///
/// The kernel reports this in `SigIgn`, a hexadecimal number whose lowest bit is signal 1. Returns `false` if it
/// cannot be read.
pub(crate) fn is_ignored(number: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (number - 1)) != 0)
}

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
    assert!(PARTING.as_millis() < GRACE.as_millis());
    assert!(add_up(&[PROGRAM_PARTING, PROGRAM_PARTING]) <= PARTING.as_millis());
    assert!(TELLING.as_millis() < LAST_WORDS.as_millis());
    assert!(FLUSH.as_millis() < FAREWELL.as_millis());
    assert!(add_up(&[GRACE, FAREWELL, LAST_WORDS]) <= WHOLE.as_millis());
    assert!(add_up(&[HASTY_FAREWELL, LAST_WORDS]) <= WHOLE_AFTER_SECOND.as_millis());
    assert!(SAME_REQUEST.as_millis() < WHOLE.as_millis());
    assert!(WHOLE.as_millis() < PROMISED.as_millis());
    assert!(WHOLE_AFTER_SECOND.as_millis() < PROMISED_AFTER_SECOND.as_millis());
};
