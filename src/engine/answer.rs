//! Finds out what kind of server answers at an address if it is not a BuildKit, for error messages.
//!
//! Opens another connection after the real one has failed. The result only improves messages; nothing else depends on
//! it. Start at [`identify`].

use std::fmt;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::endpoint::{DockerHost, Endpoint};
use super::transport::{self, BoxedStream};

/// How long to wait for a server that speaks first, as SSH and BuildKit do.
const GREETING: Duration = Duration::from_millis(300);
/// The most time that the identification may take, if the server has answered before.
pub(crate) const LIMIT: Duration = Duration::from_secs(3);
/// The same, if nothing has answered: the user has already waited for an answer.
pub(crate) const LIMIT_AFTER_SILENCE: Duration = Duration::from_secs(1);
/// The most that is read of an answer, in bytes.
const SIZE: usize = 4096;

/// The kind of server that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PeerKind {
    /// An SSH server.
    Ssh,
    /// A Docker Engine.
    Docker,
    /// A registry of images.
    Registry,
    /// Another web server, with the value of its `Server` header.
    Http(Option<String>),
    /// HTTP/2 in plain text, which buildkitd speaks without TLS.
    Http2,
    /// A server that speaks TLS.
    Tls,
}

impl fmt::Display for PeerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ssh => f.write_str("an SSH server"),
            Self::Docker => f.write_str("a Docker Engine"),
            Self::Registry => f.write_str("an image registry"),
            Self::Http(None) => f.write_str("a web server"),
            Self::Http(Some(name)) => write!(f, "a web server (`{name}`)"),
            Self::Http2 => f.write_str("a gRPC server without TLS"),
            Self::Tls => f.write_str("a TLS server"),
        }
    }
}

/// Identifies the server at `endpoint` within `limit`. `None` if nothing answers, or if the answer is not recognised.
pub(crate) async fn identify(endpoint: &Endpoint, limit: Duration) -> Option<PeerKind> {
    tokio::time::timeout(limit, ask(endpoint, limit))
        .await
        .ok()?
}

/// Waits a moment for a server that speaks first, then sends an HTTP request, then tries TLS if nothing was answered.
async fn ask(endpoint: &Endpoint, limit: Duration) -> Option<PeerKind> {
    let mut stream = dial(endpoint).await?;
    let mut answer = Vec::new();
    let first = tokio::time::timeout(GREETING, read(&mut stream, &mut answer));
    if first.await.is_err() {
        let request = b"GET /_ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.ok()?;
        // An answer comes in pieces and may never end; classify what has arrived by then.
        let _ = tokio::time::timeout(limit / 3, async {
            while answer.len() < SIZE && read(&mut stream, &mut answer).await > 0 {}
        })
        .await;
    }
    match classify(&answer) {
        None if answer.is_empty() => {
            let speaks = transport::speaks_tls(dial(endpoint).await?).await;
            speaks.then_some(PeerKind::Tls)
        }
        known => known,
    }
}

/// Connects without TLS, even if the endpoint uses TLS, because the plain bytes show what the server is. `None` for a
/// container, which has no address.
async fn dial(endpoint: &Endpoint) -> Option<BoxedStream> {
    let plain = match endpoint {
        Endpoint::Unix(path) | Endpoint::Docker(DockerHost::Unix(path)) => {
            DockerHost::Unix(path.clone())
        }
        Endpoint::Tcp { address, .. } | Endpoint::Docker(DockerHost::Tcp { address, .. }) => {
            DockerHost::Tcp {
                address: address.clone(),
                tls: None,
            }
        }
        Endpoint::Docker(DockerHost::Ssh(_))
        | Endpoint::DockerContainer { .. }
        | Endpoint::Command(_)
        | Endpoint::Pod(_) => return None,
    };
    let dialled = transport::dial_docker(&plain).await.ok()?;
    Some(dialled.stream)
}

/// Returns the number of bytes read; 0 if the stream has ended or failed.
async fn read(stream: &mut BoxedStream, into: &mut Vec<u8>) -> usize {
    stream.read_buf(into).await.unwrap_or(0)
}

/// Recognises a server by its first bytes.
fn classify(bytes: &[u8]) -> Option<PeerKind> {
    if bytes.starts_with(b"SSH-") {
        return Some(PeerKind::Ssh);
    }
    // A TLS record: an alert or a handshake.
    if matches!(bytes, [0x15 | 0x16, 0x03, ..]) {
        return Some(PeerKind::Tls);
    }
    // A server's first HTTP/2 frame is SETTINGS, on stream 0.
    if matches!(bytes, [0, _, _, 4, 0, 0, 0, 0, 0, ..]) {
        return Some(PeerKind::Http2);
    }
    if !bytes.starts_with(b"HTTP/1.") {
        return None;
    }
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let header = |wanted: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim().to_owned())
    };
    // The error texts of Go's `net/http` and of nginx.
    let wants_tls = ["HTTP request to an HTTPS server", "sent to HTTPS port"];
    Some(if wants_tls.iter().any(|words| body.contains(words)) {
        PeerKind::Tls
    } else if header("api-version").is_some() {
        PeerKind::Docker
    } else if header("docker-distribution-api-version").is_some() {
        PeerKind::Registry
    } else {
        let name = header("server").map(|name| printable(&name));
        PeerKind::Http(name.filter(|name| !name.is_empty()))
    })
}

/// The name that an unknown server gives itself, shortened, and without characters that could steer a terminal.
fn printable(text: &str) -> String {
    let plain = |c: &char| c.is_ascii_graphic() && *c != '`' || *c == ' ';
    text.chars().filter(plain).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case(b"SSH-2.0-OpenSSH_9.2\r\n", Some(&PeerKind::Ssh); "ssh")]
    #[test_case(&[0x15, 3, 1, 0, 2, 2, 70], Some(&PeerKind::Tls); "an alert")]
    #[test_case(&[0, 0, 18, 4, 0, 0, 0, 0, 0, 0, 3], Some(&PeerKind::Http2); "settings")]
    #[test_case(b"HTTP/1.1 200 OK\r\nApi-Version: 1.53\r\n\r\nOK", Some(&PeerKind::Docker); "docker")]
    #[test_case(b"HTTP/1.1 404 Not Found\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\r\n", Some(&PeerKind::Registry); "a registry")]
    #[test_case(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n", Some(&PeerKind::Tls); "https of go")]
    #[test_case(b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n<h1>The plain HTTP request was sent to HTTPS port</h1>", Some(&PeerKind::Tls); "https of nginx")]
    #[test_case(b"HTTP/1.1 400 Bad Request\r\nServer: squid/5\x1b[2J`\r\n\r\n", Some(&PeerKind::Http(Some("squid/5[2J".into()))); "a proxy")]
    #[test_case(b"HTTP/1.1 400 Bad Request\r\n\r\n", Some(&PeerKind::Http(None)); "a web server")]
    #[test_case(b"220 mail.example ESMTP\r\n", None; "something else")]
    #[test_case(b"", None; "nothing")]
    fn servers_are_recognised_by_their_answers(bytes: &[u8], expected: Option<&PeerKind>) {
        assert_eq!(classify(bytes).as_ref(), expected);
    }
}
