//! The protocol on the supervisor's socket: one JSON object per line, in both directions.
//!
//! A client that wants the builder asks for a lease and keeps the connection open while it builds. The lease ends
//! when the connection ends, even if the client is killed. This module does not know who starts whom.

use std::io;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// The longest line that is accepted, in bytes.
const LINE_LIMIT: usize = 64 << 10;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub(super) enum ControlRequest {
    /// Wants to use the builder until the connection ends.
    Lease {
        /// The fingerprint of the configuration with which the client would start it. Empty if the client cannot
        /// tell.
        configuration: String,
    },
    /// Wants a report.
    Status,
    /// Wants the builder to stop.
    Stop {
        /// Whether to stop even if clients are using it.
        force: bool,
    },
}

/// The supervisor's answer. To a lease it first answers `Starting`, if buildkitd is not ready, and then one of the
/// others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "tell", rename_all = "kebab-case")]
pub enum Reply {
    /// buildkitd is not ready yet; another answer follows.
    Starting,
    /// buildkitd accepts connections.
    Ready(Facts),
    /// It runs with another configuration and nobody uses it, so it stops now. The client should start a new one.
    Outdated,
    /// It is stopping. When the connection closes, it has stopped.
    Stopping,
    /// It does not stop, because others are using it.
    Busy {
        /// How many others.
        clients: usize,
    },
    /// buildkitd could not be started, or has ended.
    Failed {
        /// What happened, as a fragment.
        reason: String,
        /// The last lines of the log, oldest first.
        log: Vec<String>,
    },
}

/// The supervisor's report about a running builder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// buildkitd's socket.
    pub socket: String,
    /// buildkitd's version, as it reports it.
    pub version: String,
    /// The supervisor's process id.
    pub supervisor: u32,
    /// How many clients hold a lease, including the one that asked if it has one.
    pub clients: usize,
    /// The fingerprint of the configuration with which it runs.
    pub configuration: String,
    /// After how many seconds without clients it stops. `None` if it never stops by itself.
    pub(crate) idle_seconds: Option<u64>,
}

/// One end of a connection on the supervisor's socket.
#[derive(Debug)]
pub(super) struct ControlChannel {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    peer: Option<i32>,
}

impl ControlChannel {
    /// Wraps a connected stream.
    pub(super) fn new(stream: UnixStream) -> Self {
        let peer = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let (read, write) = stream.into_split();
        Self {
            read: BufReader::new(read),
            write,
            peer,
        }
    }

    /// The process id at the other end, if the system knows it.
    pub(super) fn peer(&self) -> Option<i32> {
        self.peer
    }

    /// Sends one message as a line of JSON.
    pub(super) async fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.write.write_all(&line).await
    }

    /// Receives the next message. `None` if the other end has closed the connection.
    pub(super) async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(line) = self.line().await? else {
            return Ok(None);
        };
        Ok(Some(serde_json::from_slice(&line)?))
    }

    /// Waits until the other end closes the connection. Lines that still arrive are read and ignored.
    pub(super) async fn closed(&mut self) {
        while matches!(self.line().await, Ok(Some(_))) {}
    }

    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            let available = self.read.fill_buf().await?;
            if available.is_empty() {
                return Ok(None);
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let take = end.unwrap_or(available.len());
            line.extend_from_slice(&available[..take]);
            self.read.consume(take + usize::from(end.is_some()));
            if line.len() > LINE_LIMIT {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a line is too long",
                ));
            }
            if end.is_some() {
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_and_the_end_of_the_stream_are_received() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut client, mut server) = (ControlChannel::new(a), ControlChannel::new(b));
        let ask = ControlRequest::Lease {
            configuration: "c".into(),
        };
        client.send(&ask).await.unwrap();
        client.send(&ControlRequest::Status).await.unwrap();
        assert_eq!(server.receive().await.unwrap(), Some(ask));
        assert_eq!(
            server.receive().await.unwrap(),
            Some(ControlRequest::Status)
        );
        drop(client);
        assert_eq!(server.receive::<ControlRequest>().await.unwrap(), None);
        server.closed().await;
    }

    #[tokio::test]
    async fn endless_lines_and_invalid_messages_are_errors() {
        let (a, b) = UnixStream::pair().unwrap();
        let mut server = ControlChannel::new(b);
        let (_read, mut write) = a.into_split();
        let flood = tokio::spawn(async move { write.write_all(&vec![b'x'; 1 << 20]).await });
        assert!(server.receive::<ControlRequest>().await.is_err());
        drop(server);
        let _ = flood.await;

        let (a, b) = UnixStream::pair().unwrap();
        let mut server = ControlChannel::new(b);
        let (_read, mut write) = a.into_split();
        write.write_all(b"{\"ask\":\"dance\"}\n").await.unwrap();
        assert!(server.receive::<ControlRequest>().await.is_err());
    }
}
