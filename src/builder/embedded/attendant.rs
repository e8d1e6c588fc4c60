//! Serves one client of the supervisor, in a task of its own: passes its request to the supervisor's loop, and
//! sends back the answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::control::{ControlChannel, ControlRequest, Facts, Reply};

/// The time a client has to send its request.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// The state of buildkitd, as the tasks of the connections see it.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    Starting,
    Ready { version: String },
    Stopping,
    Failed { reason: String, log: Vec<String> },
}

/// A request from a connection's task to the supervisor's loop.
pub(super) enum Ask {
    Lease {
        configuration: String,
        answer: oneshot::Sender<Admission>,
    },
    Stop {
        force: bool,
        answer: oneshot::Sender<Result<(), usize>>,
    },
}

/// The loop's answer to a client that wants a lease.
pub(super) enum Admission {
    Admitted(Client),
    Outdated,
}

/// A client that is counted. When it is dropped, the count goes down, which the loop notices.
pub(super) struct Client(Arc<watch::Sender<usize>>);

impl Client {
    /// Wraps a client that the caller has already added to `count`.
    pub(super) fn counted(count: Arc<watch::Sender<usize>>) -> Self {
        Self(count)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// The connection's task: reads from and writes to one client.
pub(super) struct Attendant {
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) clients: watch::Receiver<usize>,
    pub(super) facts: Facts,
}

impl Attendant {
    /// Answers the client's request. For a lease, returns only when the client closes the connection.
    pub(super) async fn serve(mut self, mut channel: ControlChannel) -> std::io::Result<()> {
        let request = tokio::time::timeout(REQUEST_LIMIT, channel.receive()).await??;
        match request {
            None => Ok(()),
            Some(ControlRequest::Status) => {
                let reply = self.tell();
                channel.send(&reply).await
            }
            Some(ControlRequest::Stop { force }) => {
                let (answer, answered) = oneshot::channel();
                let ask = Ask::Stop { force, answer };
                let reply = match self.ask(ask, answered).await {
                    Some(Err(clients)) => Reply::Busy { clients },
                    Some(Ok(())) | None => Reply::Stopping,
                };
                channel.send(&reply).await?;
                // The client waits for the connection to close: that happens when this process, and so everything,
                // has ended.
                channel.closed().await;
                Ok(())
            }
            Some(ControlRequest::Lease { configuration }) => {
                let (answer, answered) = oneshot::channel();
                let ask = Ask::Lease {
                    configuration,
                    answer,
                };
                let client = match self.ask(ask, answered).await {
                    Some(Admission::Admitted(client)) => client,
                    Some(Admission::Outdated) => return channel.send(&Reply::Outdated).await,
                    None => return channel.send(&Reply::Stopping).await,
                };
                self.wait_until_started(&mut channel).await?;
                let reply = self.tell();
                let is_ready = matches!(reply, Reply::Ready(_));
                channel.send(&reply).await?;
                if is_ready {
                    channel.closed().await;
                }
                drop(client);
                Ok(())
            }
        }
    }

    /// Sends a request to the loop and returns its answer. `None` if the loop has ended.
    async fn ask<T>(&self, ask: Ask, answered: oneshot::Receiver<T>) -> Option<T> {
        self.asks.send(ask).await.ok()?;
        answered.await.ok()
    }

    /// Waits until the start of buildkitd has succeeded or failed; sends `Starting` first if it is not over yet. It
    /// is an error if the client closes the connection meanwhile.
    async fn wait_until_started(&mut self, channel: &mut ControlChannel) -> std::io::Result<()> {
        if !matches!(*self.phase.borrow(), Phase::Starting) {
            return Ok(());
        }
        channel.send(&Reply::Starting).await?;
        tokio::select! {
            _ = self.phase.wait_for(|phase| !matches!(phase, Phase::Starting)) => Ok(()),
            () = channel.closed() => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// The reply that describes the current phase.
    fn tell(&self) -> Reply {
        match &*self.phase.borrow() {
            Phase::Starting => Reply::Starting,
            Phase::Stopping => Reply::Stopping,
            Phase::Failed { reason, log } => Reply::Failed {
                reason: reason.clone(),
                log: log.clone(),
            },
            Phase::Ready { version } => Reply::Ready(Facts {
                version: version.clone(),
                clients: *self.clients.borrow(),
                ..self.facts.clone()
            }),
        }
    }
}
