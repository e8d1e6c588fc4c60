//! A signal ends a prune after the step that has begun; a second one ends it at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancels `stop` at the first SIGINT, SIGTERM or SIGHUP, and `now` at the second one, until it is dropped.
pub(super) struct StopAtSignal(tokio::task::JoinHandle<()>);

impl StopAtSignal {
    /// Begins to listen. If that is not possible, signals end the process as usual.
    pub(super) fn listen(stop: &CancellationToken, now: &CancellationToken) -> Self {
        let (stop, now) = (stop.clone(), now.clone());
        Self(tokio::spawn(async move {
            next().await;
            stop.cancel();
            next().await;
            now.cancel();
        }))
    }
}

impl Drop for StopAtSignal {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn next() {
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
