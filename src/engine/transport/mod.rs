//! Byte streams to daemons: one file per kind of endpoint, all behind [`ByteStream`].
//!
//! Knows nothing of HTTP/2 or gRPC (`connection`). Start at [`dial`].

mod docker;
mod docker_container;
mod tcp;
mod unix;

use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite};

use super::endpoint::{DockerHost, Endpoint};

/// A stream of bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A byte stream whose kind does not matter any more.
pub(crate) type BoxedStream = Box<dyn ByteStream>;

/// A stream on which the daemon speaks HTTP/2, and the name to address it by.
pub struct Dialled {
    /// The stream.
    pub stream: BoxedStream,
    /// The `:authority` of requests.
    pub authority: String,
    /// What the process at the other end of a pipe told on its standard error, for messages.
    pub remarks: Option<Remarks>,
}

/// The last lines that the process at the far end of a pipe wrote to its standard error.
#[derive(Debug, Clone, Default)]
pub struct Remarks(std::sync::Arc<std::sync::Mutex<String>>);

impl Remarks {
    /// At most this many bytes are kept.
    const LIMIT: usize = 4096;

    /// Adds what was written, dropping what is oldest.
    pub(crate) fn push(&self, text: &str) {
        let mut all = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        all.push_str(text);
        if all.len() > Self::LIMIT {
            let mut from = all.len() - Self::LIMIT;
            while !all.is_char_boundary(from) {
                from += 1;
            }
            all.drain(..from);
        }
    }

    /// All that is kept, without blanks around it.
    pub(crate) fn text(&self) -> String {
        let all = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        all.trim().to_owned()
    }
}

/// Why no stream could be had.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The socket or port does not take connections.
    #[error("cannot connect to `{endpoint}`")]
    Connect {
        /// The address.
        endpoint: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("cannot use `{}` for TLS: {reason}", path.display())]
    Material {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key must be given together.
    #[error("TLS to `{endpoint}` has {has} without {lacks}")]
    HalfIdentity {
        /// The address.
        endpoint: String,
        /// What was given.
        has: &'static str,
        /// What goes with it.
        lacks: &'static str,
    },
    /// The server's name is no name.
    #[error("`{name}` cannot be the name of a TLS server")]
    ServerName {
        /// The name.
        name: String,
    },
    /// The machine has no certificates to trust.
    #[error("no trusted certificates were found on this machine (set SSL_CERT_FILE, or give a CA)")]
    NoRoots,
    /// The TLS handshake failed.
    #[error("cannot agree on TLS with `{endpoint}`")]
    Handshake {
        /// The address.
        endpoint: String,
        /// What rustls says.
        #[source]
        source: std::io::Error,
    },
    /// A Docker Engine, or a container of it, gave no stream.
    #[error("cannot reach the builder through Docker at `{host}`: {reason}")]
    Docker {
        /// The Engine.
        host: String,
        /// Why.
        reason: String,
    },
}

impl DialError {
    /// Whether trying again may succeed without any change by the user.
    pub fn is_transient(&self) -> bool {
        use std::io::ErrorKind as Kind;
        match self {
            Self::Connect { source, .. } | Self::Handshake { source, .. } => matches!(
                source.kind(),
                Kind::ConnectionRefused
                    | Kind::ConnectionReset
                    | Kind::ConnectionAborted
                    | Kind::TimedOut
                    | Kind::Interrupted
            ),
            _ => false,
        }
    }
}

/// Opens a stream to the daemon at `endpoint`.
pub(crate) async fn dial(endpoint: &Endpoint) -> Result<Dialled, DialError> {
    match endpoint {
        Endpoint::Unix(path) => unix::dial(path, endpoint).await,
        Endpoint::Tcp { address, tls } => {
            let name = endpoint.to_string();
            let stream = tcp::dial(address, tls.as_ref(), &name, &[b"h2"]).await?;
            let servername = tls.as_ref().and_then(|tls| tls.servername.clone());
            Ok(Dialled {
                stream,
                authority: servername.unwrap_or_else(|| address.to_string()),
                remarks: None,
            })
        }
        Endpoint::Docker(host) => docker::dial(host).await,
        Endpoint::DockerContainer { container, host } => {
            docker_container::dial(container, host).await
        }
    }
}

/// Opens a stream to the Docker Engine at `host`, on which it speaks HTTP/1.1.
pub(crate) async fn dial_docker(host: &DockerHost) -> Result<BoxedStream, DialError> {
    let name = host.to_string();
    match host {
        DockerHost::Unix(path) => unix::connect(path, &name).await,
        DockerHost::Tcp { address, tls } => {
            tcp::dial(address, tls.as_ref(), &name, &[b"http/1.1"]).await
        }
    }
}

/// Whether what answers on `stream` speaks TLS, whoever it is.
pub(super) async fn speaks_tls(stream: BoxedStream) -> bool {
    tcp::speaks_tls(stream).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_keep_the_newest_whole_characters() {
        let remarks = Remarks::default();
        remarks.push(&"é".repeat(Remarks::LIMIT));
        remarks.push("end\n");
        let text = remarks.text();
        assert!(
            text.len() <= Remarks::LIMIT && text.ends_with("éend"),
            "{}",
            text.len()
        );
    }
}
