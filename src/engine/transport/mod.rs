//! Byte streams to daemons. Each kind of endpoint has its own file; all give a [`ByteStream`].
//!
//! This module knows nothing of HTTP/2 or gRPC (see `connection`). Start at [`dial`].

mod docker;
mod docker_container;
mod pod;
mod process;
mod tcp;
mod unix;

use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite};

use super::endpoint::{DockerHost, Endpoint};
use super::kubernetes::KubernetesError;

/// A stream of bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A byte stream of any kind.
pub(crate) type BoxedStream = Box<dyn ByteStream>;

/// A stream to a daemon, with the name that requests need. BuildKit speaks HTTP/2 on it, and a Docker Engine HTTP/1.1.
pub struct Dialled {
    /// The stream.
    pub stream: BoxedStream,
    /// The value of `:authority` or `Host` in requests.
    pub authority: String,
    /// The standard error of the process at the other end, for messages. `None` if the stream is not that of a
    /// process.
    pub remarks: Option<Remarks>,
}

/// The end of the standard error of the process at the other end of a stream.
#[derive(Debug, Clone, Default)]
pub struct Remarks(std::sync::Arc<std::sync::Mutex<String>>);

impl Remarks {
    /// The most that is kept, in bytes.
    const LIMIT: usize = 4096;

    /// Adds `text` and drops the oldest text beyond the limit.
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

    /// The kept text, without white space around it.
    pub(crate) fn text(&self) -> String {
        let all = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        all.trim().to_owned()
    }
}

/// Why a stream could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The socket or port does not accept connections.
    #[error("cannot connect to `{endpoint}`")]
    Connect {
        /// The address.
        endpoint: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A file with a certificate or key cannot be used.
    #[error("cannot use `{}` for TLS: {reason}", path.display())]
    Material {
        /// The file.
        path: PathBuf,
        /// The problem with it.
        reason: String,
    },
    /// The client's certificate is given without its key, or the key without its certificate.
    #[error("TLS to `{endpoint}` has {has} without {lacks}")]
    HalfIdentity {
        /// The address.
        endpoint: String,
        /// The part that was given.
        has: &'static str,
        /// The part that is missing.
        lacks: &'static str,
    },
    /// The server's name is neither a DNS name nor an IP address.
    #[error("`{name}` is not a valid name for a TLS server")]
    ServerName {
        /// The name.
        name: String,
    },
    /// The machine has no trusted certificates.
    #[error("no trusted certificates were found on this machine (set SSL_CERT_FILE, or give a CA)")]
    NoRoots,
    /// The TLS handshake failed.
    #[error("the TLS handshake with `{endpoint}` failed")]
    Handshake {
        /// The address.
        endpoint: String,
        /// The error of rustls, in plain words if possible.
        #[source]
        source: std::io::Error,
    },
    /// The program that leads to the daemon cannot be started.
    #[error("cannot run `{program}`, which `{endpoint}` needs")]
    Program {
        /// The program.
        program: &'static str,
        /// The address.
        endpoint: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The program that leads to the daemon has ended before the daemon has answered.
    #[error("cannot reach `{endpoint}`: {said}")]
    Ended {
        /// The address.
        endpoint: String,
        /// What the program wrote to standard error, in one line.
        said: String,
    },
    /// A Docker Engine did not give a stream to its BuildKit or to a container.
    #[error("cannot reach the builder through Docker at `{host}`: {reason}")]
    Docker {
        /// The address of the Engine.
        host: String,
        /// The reason.
        reason: String,
    },
    /// Kubernetes did not give a stream to a pod.
    #[error("cannot reach the builder in the pod `{pod}`")]
    Kubernetes {
        /// The pod.
        pod: String,
        /// Why.
        #[source]
        source: Box<KubernetesError>,
    },
}

impl DialError {
    /// Whether there is no daemon at the address, which may be because it has just been started.
    pub(crate) fn finds_nobody(&self) -> bool {
        use std::io::ErrorKind as Kind;
        match self {
            Self::Connect { source, .. } => {
                matches!(source.kind(), Kind::ConnectionRefused | Kind::NotFound)
            }
            // The words of `buildctl dial-stdio` and ssh for the same.
            Self::Ended { said, .. } => ["connection refused", "no such file or directory"]
                .iter()
                .any(|words| said.to_ascii_lowercase().contains(words)),
            _ => false,
        }
    }

    /// Whether another attempt may succeed without any change by the user.
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
        Endpoint::Command(endpoint) => process::dial(endpoint).await,
        Endpoint::Pod(endpoint) => pod::dial(endpoint).await,
    }
}

/// Opens a stream to the Docker Engine at `host`. The Engine speaks HTTP/1.1 on it.
pub(crate) async fn dial_docker(host: &DockerHost) -> Result<Dialled, DialError> {
    let name = host.to_string();
    let (stream, authority) = match host {
        DockerHost::Unix(path) => (unix::connect(path, &name).await?, "docker".to_owned()),
        DockerHost::Tcp { address, tls } => (
            tcp::dial(address, tls.as_ref(), &name, &[b"http/1.1"]).await?,
            address.to_string(),
        ),
        DockerHost::Ssh(place) => {
            let arguments = DockerHost::ssh_arguments(place);
            return Ok(Dialled {
                authority: "docker".to_owned(),
                ..process::start("ssh", arguments, &name).await?
            });
        }
    };
    Ok(Dialled {
        stream,
        authority,
        remarks: None,
    })
}

/// Whether the server on `stream` speaks TLS. Its certificate is not checked.
pub(super) async fn speaks_tls(stream: BoxedStream) -> bool {
    tcp::speaks_tls(stream).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_keep_the_end_of_the_text_in_whole_characters() {
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
