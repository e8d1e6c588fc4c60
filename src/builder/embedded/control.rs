//! What is said on the supervisor's socket: one JSON object a line, both ways.
//!
//! A client that wants the builder asks for a lease and keeps the connection open for as long as it builds; the end of
//! the connection, however the client ends, is the end of the lease. Knows nothing of who starts whom.

use std::io;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// The longest line that is read, in bytes.
const LINE_LIMIT: usize = 64 << 10;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub(super) enum ControlRequest {
    /// The builder, until the connection ends.
    Lease {
        /// Fingerprint of the configuration the client would start it with.
        configuration: String,
    },
    /// How it stands.
    Status,
    /// To stop it.
    Stop {
        /// Also where clients are using it.
        force: bool,
    },
}

/// What the supervisor answers. A lease is answered by `Starting`, if it takes time, and then by one of the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "tell", rename_all = "kebab-case")]
pub enum Reply {
    /// buildkitd is not ready yet; there will be another answer.
    Starting,
    /// buildkitd takes connections.
    Ready(Facts),
    /// It runs with another configuration and nobody uses it: it stops now, to be started afresh.
    Outdated,
    /// It is being stopped; the end of the connection means that it has stopped.
    Stopping,
    /// It is not stopped, because others are using it.
    Busy {
        /// How many.
        clients: usize,
    },
    /// buildkitd could not be started, or has ended.
    Failed {
        /// Why, as a fragment.
        reason: String,
        /// The last lines of the log.
        log: Vec<String>,
    },
}

/// How a running builder stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// buildkitd's socket.
    pub socket: String,
    /// buildkitd's version, as it says itself.
    pub version: String,
    /// Process id of the supervisor.
    pub supervisor: u32,
    /// How many clients hold a lease, the asking one included.
    pub clients: usize,
    /// Fingerprint of the configuration it runs with.
    pub configuration: String,
    /// After how many seconds without clients it stops; absent if it stays.
    pub(crate) idle_seconds: Option<u64>,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct ControlChannel {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    peer: Option<i32>,
}

impl ControlChannel {
    /// The end that `stream` is.
    pub(super) fn new(stream: UnixStream) -> Self {
        let peer = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let (read, write) = stream.into_split();
        Self {
            read: BufReader::new(read),
            write,
            peer,
        }
    }

    /// The process at the other end, as far as the system knows it.
    pub(super) fn peer(&self) -> Option<i32> {
        self.peer
    }

    /// Sends one message.
    pub(super) async fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.write.write_all(&line).await
    }

    /// The next message; `None` when the other end has closed.
    pub(super) async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(line) = self.line().await? else {
            return Ok(None);
        };
        Ok(Some(serde_json::from_slice(&line)?))
    }

    /// Waits until the other end closes; what it still says is not read for its meaning.
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
    async fn messages_arrive_and_the_end_is_seen() {
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
    async fn endless_lines_and_nonsense_are_errors() {
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
