//! Ctrl-C and SIGTERM: the first asks for an orderly stop, the second ends the process.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The first signal that asked to stop; 0 while none has.
#[derive(Debug, Clone, Default)]
pub struct Received(Arc<AtomicI32>);

impl Received {
    /// The signal's number, once one has arrived.
    pub fn signal(&self) -> Option<i32> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            number => Some(number),
        }
    }
}

/// Cancels `token` at the first SIGINT or SIGTERM; at the second, ends the process with 130 after `last_words`.
///
/// # Errors
/// Where the handlers cannot be installed.
pub fn watch(
    token: CancellationToken,
    last_words: impl Fn() + Send + 'static,
) -> std::io::Result<Received> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let received = Received::default();
    let seen = received.clone();
    tokio::spawn(async move {
        loop {
            let number = tokio::select! {
                _ = interrupt.recv() => 2,
                _ = terminate.recv() => 15,
            };
            if seen
                .0
                .compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
            {
                token.cancel();
            } else {
                last_words();
                end(130);
            }
        }
    });
    Ok(received)
}

#[expect(
    clippy::exit,
    reason = "the user asked twice: nothing that still runs may hold the process up"
)]
fn end(code: i32) -> ! {
    process::exit(code)
}
