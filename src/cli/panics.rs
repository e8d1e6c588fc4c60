//! Reports of panics: where rbake's own code failed, without any value.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::panic::{self, PanicHookInfo};

use crate::types::panics;

/// The exit code of a process that panicked, as of other programs in Rust.
pub const PANICKED: u8 = 101;

const CODE: &str = "internal::panic";

/// Makes every panic of this process print a report to standard error.
///
/// The report names the place in the code. It has no values: the standard library's own report has the whole message, which
/// may contain a secret. With `RUST_BACKTRACE=1`, the names of the functions follow.
pub fn report_panics() {
    panic::set_hook(Box::new(|info| {
        // If nobody can read the report, there is nobody to tell.
        let _ = io::stderr().write_all(report(info).as_bytes());
    }));
}

fn report(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map(ToString::to_string);
    let place = place.as_deref().unwrap_or("an unknown place");
    let reason = match panics::message(info.payload()) {
        "" => String::new(),
        message => format!(": {message}"),
    };
    let version = env!("CARGO_PKG_VERSION");
    let mut report = format!(
        "error[{CODE}]: rbake failed because of a fault of its own
  at {place}{reason}
  help: please report these lines, with the command, as a bug of rbake {version}; values are left out, because they may be secret
"
    );
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        // Writing to a `String` cannot fail.
        let _ = write!(report, "{backtrace}");
    }
    report
}
