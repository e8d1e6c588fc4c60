//! Signals during a verb. The first one makes all requests fail, which ends what the verb has begun in order: also programs that
//! rbake has started, which a signal of the terminal does not reach.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::cli::exit::Exit;
use crate::cli::signals;
use crate::types::shutdown;

/// What a signal means at the moment, and whether one has arrived. Clones share it.
#[derive(Debug, Clone, Default)]
pub(in crate::cli::commands) struct Interruption(Arc<Meaning>);

#[derive(Debug, Default)]
struct Meaning {
    /// The user is being asked, and nothing has begun.
    asking: AtomicBool,
    /// The verb listens to signals itself.
    own: AtomicBool,
    /// The signal that has ended the verb, or 0.
    heard: AtomicI32,
}

impl Interruption {
    /// Begins to listen on a thread of `runtime`, so that signals work while the main thread waits for the user or a file. Cancels
    /// `stop` at the first signal; the process ends soon after it, or at once at the second one.
    pub(super) fn listen(runtime: &Runtime, stop: &CancellationToken) -> Self {
        let ours = Self::default();
        let (all, stop) = (ours.clone(), stop.clone());
        runtime.spawn(async move {
            let number = signals::first().await;
            let Meaning { asking, own, heard } = &*all.0;
            if own.load(Ordering::SeqCst) {
                return;
            }
            heard.store(number, Ordering::SeqCst);
            stop.cancel();
            if !asking.load(Ordering::SeqCst) {
                let again = async {
                    // A script and a terminal may each send one.
                    tokio::time::sleep(shutdown::SAME_REQUEST_WINDOW).await;
                    signals::first().await
                };
                tokio::select! {
                    () = tokio::time::sleep(shutdown::EXIT_TIMEOUT) => {}
                    _ = again => {}
                }
            }
            signals::leave_for(number);
        });
        ours
    }

    /// Runs `ask`, which waits for the user. Meanwhile, a signal ends the process at once.
    pub(in crate::cli::commands) fn asking<T>(&self, ask: impl FnOnce() -> T) -> T {
        self.0.asking.store(true, Ordering::SeqCst);
        let answer = ask();
        self.0.asking.store(false, Ordering::SeqCst);
        answer
    }

    /// From here on, the verb listens to signals itself.
    pub(in crate::cli::commands) fn leave_to_verb(&self) {
        self.0.own.store(true, Ordering::SeqCst);
    }

    /// How the verb ends if a signal has arrived.
    pub(super) fn exit(&self) -> Option<Exit> {
        let heard = self.0.heard.load(Ordering::SeqCst);
        (heard != 0).then(|| Exit::for_signal(heard))
    }
}
