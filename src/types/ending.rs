//! How an interrupted run spends the two seconds it may take to end.
//!
//! The parts are waited for in different modules. They stand here together, so that the compiler can check that they add up.

use std::time::Duration;

use super::{processes, temporary};

/// What is promised: the time from a signal to the end of the process.
const PROMISED: Duration = Duration::from_secs(2);
/// What is promised after a second signal.
const PROMISED_AFTER_SECOND: Duration = Duration::from_secs(1);

/// From a signal to the end of the process, whatever the daemon does; what is left of the promise is for the exit itself.
pub(crate) const WHOLE: Duration = Duration::from_millis(1900);
/// From a second signal to the end of the process.
///
/// What is left of the promise is for a machine that is busy.
pub(crate) const WHOLE_AFTER_SECOND: Duration = Duration::from_millis(600);

/// Signals within this time are one request: `timeout` sends two, and a terminal and a script may both send one.
pub(crate) const SAME_REQUEST: Duration = Duration::from_millis(500);

/// How long a cancelled target may take to part from the daemon.
pub(crate) const PARTING: Duration = Duration::from_millis(800);
/// How long all targets together may take; then they are left behind.
pub(crate) const GRACE: Duration = Duration::from_millis(1200);
/// How long cancellations and goodbyes may take to leave when the connection is closed.
pub(crate) const FLUSH: Duration = Duration::from_millis(250);
/// How long the run may take to close the connection.
pub(crate) const FAREWELL: Duration = Duration::from_millis(300);
/// How long the same may take after a second signal.
pub(crate) const HASTY_FAREWELL: Duration = Duration::from_millis(100);
/// How long a program that is asked to end may take, and once more after it was killed.
pub(crate) const PROGRAM_PARTING: Duration = Duration::from_millis(300);
/// What is left for the summary, and for removing temporary files.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(350);
/// How much of that the summary may take, which may be written to a pipe that nobody reads.
pub(crate) const TELLING: Duration = Duration::from_millis(175);

/// Ends the programs that this process has started, and removes its temporary files. For the end of the process.
pub fn clear_up() {
    // In this order: a program may be writing what is removed.
    processes::end_all();
    temporary::remove_all();
}

/// Whether whoever started the process has it ignore the signal `number`, as `nohup` does with SIGHUP.
///
/// The kernel tells in `SigIgn`, a number in base 16 whose lowest bit is the signal 1. What cannot be read is not ignored.
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
