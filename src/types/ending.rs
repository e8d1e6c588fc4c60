//! What a process does at its very end, and which signals it must not end for.

use super::{processes, temporary};

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
