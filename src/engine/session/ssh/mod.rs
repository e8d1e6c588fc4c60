//! SSH agents, which the daemon forwards to steps (`RUN --mount=type=ssh`) and to git when it fetches a repository.
//!
//! For each connection to the forwarded socket, the daemon makes one call, whose messages are the bytes of the
//! connection (`moby/buildkit`, `session/sshforward`). A session answers for the agents of its own target only, as with
//! secrets. [`wire`] lets through only what a client may ask of an agent; [`keys`] answers from private keys.

mod keys;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use rbake_proto::ssh::ssh_server::{self, SshServer};
use rbake_proto::ssh::{BytesMessage, CheckAgentRequest, CheckAgentResponse};
use tokio::net::UnixStream;
use tokio_util::io::{ReaderStream, StreamReader};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use keys::{InvalidKey, KEY_LIMIT, PrivateKeys};

use super::daemon_text::shortened;
use super::{Attachable, SessionServices};

/// The id that is meant if the daemon names none.
pub(crate) const DEFAULT_ID: &str = "default";
/// The header with the id.
const ID_HEADER: &str = "buildkit.ssh.id";

/// The most time for a connection to an agent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest message of the daemon. It sends up to 32 KiB of a connection at a time.
const MESSAGE_LIMIT: usize = 1 << 20;
/// The bytes of a connection between rbake's end and the call.
const PIPE: usize = 64 << 10;

/// What answers for an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SshAgent {
    /// The agent that listens on this socket.
    Socket(PathBuf),
    /// rbake itself, with these keys.
    Keys(PrivateKeys),
}

/// The agents of one target, by id. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct SshAgents(Arc<BTreeMap<String, SshAgent>>);

impl SshAgents {
    /// The agents of one target, by id.
    pub(crate) fn new(agents: BTreeMap<String, SshAgent>) -> Self {
        Self(Arc::new(agents))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, id: &str) -> Result<&SshAgent, Status> {
        let id = if id.is_empty() { DEFAULT_ID } else { id };
        self.0.get(id).ok_or_else(|| {
            let id = shortened(id.as_bytes());
            Status::not_found(format!("no SSH agent `{id}` is defined for this target"))
        })
    }
}

impl Attachable for SshAgents {
    fn methods(&self) -> &[&'static str] {
        &[
            "/moby.sshforward.v1.SSH/CheckAgent",
            "/moby.sshforward.v1.SSH/ForwardAgent",
        ]
    }

    fn mount(&self, services: &mut SessionServices) {
        let server = SshServer::new(Service(self.clone()));
        services.add(server.max_decoding_message_size(MESSAGE_LIMIT));
    }
}

struct Service(SshAgents);

type Answers = Pin<Box<dyn Stream<Item = Result<BytesMessage, Status>> + Send>>;

#[tonic::async_trait]
impl ssh_server::Ssh for Service {
    type ForwardAgentStream = Answers;

    async fn check_agent(
        &self,
        request: Request<CheckAgentRequest>,
    ) -> Result<Response<CheckAgentResponse>, Status> {
        self.0.find(&request.into_inner().id)?;
        Ok(Response::new(CheckAgentResponse {}))
    }

    async fn forward_agent(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Answers>, Status> {
        let id = request.metadata().get(ID_HEADER);
        let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
        let agent = self.0.find(id)?.clone();
        tracing::trace!(id = %shortened(id.as_bytes()), "SSH agent asked for");
        let asked = request.into_inner().map(|message| match message {
            Ok(message) => Ok(io::Cursor::new(message.data)),
            Err(status) => Err(io::Error::other(status)),
        });
        let asked = StreamReader::new(asked);
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(agent, asked, theirs)));
        let answers = ReaderStream::new(ours).map(|chunk| match chunk {
            Ok(data) => Ok(BytesMessage { data }),
            Err(error) => Err(Status::unavailable(error.to_string())),
        });
        // The connection ends when the daemon drops the call.
        let answers = answers.inspect(move |_| {
            let _ = &serving;
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Answers the client of one connection until it ends.
async fn serve(
    agent: SshAgent,
    asked: impl tokio::io::AsyncRead + Unpin,
    answers: impl tokio::io::AsyncWrite + Unpin,
) {
    let ended = match agent {
        SshAgent::Keys(keys) => wire::serve_keys(&keys, asked, answers).await,
        SshAgent::Socket(path) => {
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, UnixStream::connect(&path));
            match connected.await {
                Ok(Ok(socket)) => wire::serve_agent(socket, asked, answers).await,
                Ok(Err(error)) => Err(error),
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::warn!(cause = %error, "connection to an SSH agent ended");
    }
}

#[cfg(test)]
mod tests;
