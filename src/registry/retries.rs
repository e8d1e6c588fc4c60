//! Repeats a request that failed.

use super::connection::RegistryConnection;
use super::error::RegistryFault;
use super::exchange::RegistryRequest;
use super::retry::{FIRST_CONNECTIONS, TryFailure};
use crate::types::retry::{TRIES, backoff};

/// Decides whether a request is repeated, and waits before it is.
pub(super) struct Retries<'a> {
    connection: &'a RegistryConnection,
    tries: u32,
}

impl<'a> Retries<'a> {
    pub(super) const fn new(connection: &'a RegistryConnection) -> Self {
        Self {
            connection,
            tries: 0,
        }
    }

    /// Waits after `failure`. Returns its fault if `request` should not be repeated.
    pub(super) async fn after(
        &mut self,
        failure: TryFailure,
        request: &RegistryRequest,
    ) -> Result<(), RegistryFault> {
        let TryFailure {
            fault,
            status,
            retry_after,
        } = failure;
        self.tries += 1;
        if !fault.is_transient() {
            return Err(fault);
        }
        let RegistryConnection {
            address,
            parts,
            pauses,
            budget,
            ..
        } = self.connection;
        let is_unconnected =
            matches!(&fault, RegistryFault::Unreachable { source } if source.is_connect());
        let most = if is_unconnected && !budget.has_answered() {
            FIRST_CONNECTIONS
        } else {
            TRIES
        };
        if self.tries >= most || !budget.take() {
            return Err(RegistryFault::GaveUp {
                tries: self.tries,
                last: Box::new(fault),
            });
        }
        let wait = retry_after.unwrap_or_else(|| backoff(self.tries));
        tracing::warn!(
            host = address.host(),
            path = request.shown_path(),
            method = %request.method,
            status,
            "try" = self.tries,
            ?wait,
            "registry request failed, repeating it"
        );
        self.connection.silence.pauses(wait, status);
        tokio::select! {
            biased;
            () = parts.stop.cancelled() => Err(RegistryFault::Stopped),
            () = pauses.pause(wait) => Ok(()),
        }
    }
}
