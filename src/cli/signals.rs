//! Ctrl-C and SIGTERM: the first asks for an orderly stop, the second ends the process.

use std::process;

use tokio::signal::unix::{SignalKind, signal};

use crate::outcome::CancelReason;
use crate::run::Stop;

/// Asks `stop` to stop at the first SIGINT or SIGTERM; at the second, ends the process with 130 after `last_words`.
///
/// # Errors
/// Where the handlers cannot be installed.
pub fn watch(stop: Stop, last_words: impl Fn() + Send + 'static) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            let number = tokio::select! {
                _ = interrupt.recv() => 2,
                _ = terminate.recv() => 15,
            };
            if stop.is_requested() {
                last_words();
                end(130);
            }
            stop.request(CancelReason::Signal(number));
        }
    });
    Ok(())
}

#[expect(
    clippy::exit,
    reason = "the user asked twice: nothing that still runs may hold the process up"
)]
fn end(code: i32) -> ! {
    process::exit(code)
}
