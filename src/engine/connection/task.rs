//! The task that runs a connection, and how it ends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::engine::transport::Remarks;
use crate::types::causes::in_one_line;
use crate::types::secret::redact_urls;
use crate::types::shutdown::FLUSH_TIMEOUT;

/// How a connection ended.
#[derive(Debug, Clone)]
pub(in crate::engine) enum End {
    /// It broke or was closed, with the reason if known.
    Lost(Arc<str>),
    /// Nothing arrived for this time.
    Silent(Duration),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(reason) => f.write_str(reason),
            Self::Silent(after) => write!(f, "no answer for {} s", after.as_secs()),
        }
    }
}

/// Controls the stream of a connection from outside.
#[derive(Default)]
pub(super) struct StreamSwitch {
    /// Breaks the stream when it is cancelled.
    pub(super) cut: CancellationToken,
    /// Cancelled when the stream has been dropped.
    pub(super) gone: CancellationToken,
}

impl Drop for StreamSwitch {
    fn drop(&mut self) {
        self.cut.cancel();
    }
}

/// Runs the connection in a separate task, which also records why it ended. Ends the connection when `given_up`
/// completes.
pub(super) fn drive<F, G>(
    connection: F,
    switch: StreamSwitch,
    given_up: G,
    closing: CancellationToken,
    remarks: Option<Remarks>,
) -> watch::Receiver<Option<End>>
where
    F: Future<Output = hyper::Result<()>> + Send + 'static,
    G: Future<Output = Duration> + Send + 'static,
{
    let (tell, ended) = watch::channel(None);
    let driven = async move {
        // Breaks the stream when this task ends.
        let switch = switch;
        let (mut connection, mut given_up) = (std::pin::pin!(connection), std::pin::pin!(given_up));
        let result = tokio::select! {
            result = &mut connection => Some(result),
            after = &mut given_up => {
                tracing::error!(seconds = after.as_secs(), "connection given up, no answer");
                tell.send_replace(Some(End::Silent(after)));
                return;
            }
            () = closing.cancelled() => {
                // Queued frames are still sent. Resets matter most: they cancel the daemon's work.
                tokio::time::timeout(FLUSH_TIMEOUT, &mut connection).await.ok()
            }
        };
        let reason = match &result {
            Some(Err(error)) => in_one_line(error),
            Some(Ok(())) => "it was closed by the other side".to_owned(),
            None => "it was closed".to_owned(),
        };
        let reason = with_remarks(reason, remarks.as_ref());
        if closing.is_cancelled() {
            tracing::debug!("connection closed");
        } else {
            tracing::error!(reason = %redact_urls(&reason), "connection lost");
        }
        tell.send_replace(Some(End::Lost(reason.into())));
        if let Some(Ok(())) = result {
            // GOAWAY: the other side accepts no new calls, but calls that are in progress continue.
            tokio::select! {
                () = switch.gone.cancelled() => {}
                after = &mut given_up => drop(tell.send_replace(Some(End::Silent(after)))),
                () = closing.cancelled() => {
                    let _ = tokio::time::timeout(FLUSH_TIMEOUT, switch.gone.cancelled()).await;
                }
            }
        }
    };
    tokio::spawn(driven.in_current_span());
    ended
}

/// Adds to `reason` what the process at the other end of the stream has written to standard error.
fn with_remarks(reason: String, remarks: Option<&Remarks>) -> String {
    match remarks.map(Remarks::text).filter(|text| !text.is_empty()) {
        Some(text) => format!("{reason}: {text}"),
        None => reason,
    }
}
