//! Runs a program in a container of a pod, and makes one stream of its standard streams.
//!
//! The API server upgrades the request to a WebSocket. The first byte of each message is the number of a channel
//! (`k8s.io/streaming/pkg/httpstream/wsstream` at v0.36.0). Start at [`Kubernetes::exec`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures_util::{Sink, Stream};
use http::Request;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};

use super::{Kubernetes, KubernetesError, ObjectKind};
use crate::engine::endpoint::is_kubernetes_name;
use crate::engine::failure::clean;
use crate::engine::transport::Remarks;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// Says that the channel that follows has ended. Only in version 5 of the protocol.
const CLOSE: u8 = 255;
/// The most that is sent in one message, in bytes. client-go sends as much.
const PIECE: usize = 32 << 10;
/// The most time for the upgrade of the connection. kubelet answers only when the program has started.
const UPGRADE_LIMIT: Duration = Duration::from_secs(60);

impl Kubernetes {
    /// Runs `command` in `container` of `pod`, or in its first one. Its standard error is kept in `remarks`, and how it
    /// has ended.
    pub(crate) async fn exec(
        &self,
        pod: &str,
        container: Option<&str>,
        command: &[&str],
        remarks: Remarks,
    ) -> Result<PodStream, KubernetesError> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for word in command {
            query.append_pair("command", word);
        }
        if let Some(container) = container {
            if !is_kubernetes_name(container) {
                return Err(KubernetesError::Name(container.to_owned()));
            }
            query.append_pair("container", container);
        }
        for stream in ["stdin", "stdout", "stderr"] {
            query.append_pair(stream, "true");
        }
        let path = format!(
            "{}/exec?{}",
            self.path(ObjectKind::Pod, pod)?,
            query.finish()
        );
        let act = format!("run a program in the pod `{pod}`");
        let request = Request::get(path)
            .body(Vec::new())
            .map_err(|_| KubernetesError::Name(pod.to_owned()))?;
        let connecting = tokio::time::timeout(UPGRADE_LIMIT, self.client.connect(request)).await;
        let connection = connecting
            .map_err(|_| KubernetesError::Timeout {
                server: self.server.clone(),
                after: UPGRADE_LIMIT,
            })?
            .map_err(|error| KubernetesError::of_client(&self.server, &act, error))?;
        Ok(PodStream {
            can_end_input: connection.supports_stream_close(),
            inner: connection.into_stream(),
            buffer: Bytes::new(),
            input: Input::Open,
            has_ended: false,
            remarks,
        })
    }
}

/// The standard streams of a program in a pod. Dropping it ends the connection, and Kubernetes then ends the program's input.
pub(crate) struct PodStream<S = TokioIo<Upgraded>> {
    inner: WebSocketStream<S>,
    /// Output that was received and not yet read.
    buffer: Bytes,
    /// Whether the end of the input can be sent. If not, only the connection can end.
    can_end_input: bool,
    input: Input,
    has_ended: bool,
    remarks: Remarks,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    /// Its end was passed on, but may not be sent yet.
    Ending,
}

impl<S: AsyncRead + AsyncWrite + Unpin> PodStream<S> {
    /// Receives messages up to the next output. Returns `false` when the stream has ended.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.buffer.is_empty() && !self.has_ended {
            let message = match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
                Some(Ok(message)) => message,
                None => {
                    self.has_ended = true;
                    break;
                }
                Some(Err(error)) => {
                    self.has_ended = true;
                    return Poll::Ready(Err(io_error(error)));
                }
            };
            let mut bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Text(text) => text.into(),
                Message::Close(_) => {
                    self.has_ended = true;
                    break;
                }
                // tungstenite answers pings itself.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            };
            if bytes.is_empty() {
                continue;
            }
            match bytes.get_u8() {
                STDOUT => self.buffer = bytes,
                STDERR => self.remarks.push(&String::from_utf8_lossy(&bytes)),
                STATUS => {
                    if let Some(failure) = failure_of(&bytes) {
                        self.remarks.push(&format!("\n{failure}\n"));
                    }
                    self.has_ended = true;
                }
                // Other channels, and the ends of some.
                _ => {}
            }
        }
        Poll::Ready(Ok(!self.buffer.is_empty()))
    }
}

/// The explanation in the status with which a program has ended. `None` if it has succeeded.
fn failure_of(status: &[u8]) -> Option<String> {
    let status: serde_json::Value = serde_json::from_slice(status).ok()?;
    if status["status"] == "Success" {
        return None;
    }
    Some(clean(status["message"].as_str()?))
}

fn io_error(error: WebSocketError) -> io::Error {
    match error {
        WebSocketError::Io(error) => error,
        WebSocketError::ConnectionClosed | WebSocketError::AlreadyClosed => {
            io::ErrorKind::BrokenPipe.into()
        }
        // Such as a connection that ends without the last message of the protocol.
        WebSocketError::Protocol(error) => io::Error::new(io::ErrorKind::ConnectionReset, error),
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for PodStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if ready!(this.poll_output(cx))? {
            let length = this.buffer.len().min(out.remaining());
            out.put_slice(&this.buffer.split_to(length));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for PodStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.input == Input::Ending {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(Pin::new(&mut this.inner).poll_ready(cx)).map_err(io_error)?;
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        let mut message = Vec::with_capacity(piece.len() + 1);
        message.push(STDIN);
        message.extend_from_slice(piece);
        Pin::new(&mut this.inner)
            .start_send(Message::Binary(message.into()))
            .map_err(io_error)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner)
            .poll_flush(cx)
            .map_err(io_error)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.can_end_input {
            return Pin::new(&mut this.inner).poll_close(cx).map_err(io_error);
        }
        if this.input == Input::Open {
            ready!(Pin::new(&mut this.inner).poll_ready(cx)).map_err(io_error)?;
            let end = Message::Binary(Bytes::from_static(&[CLOSE, STDIN]));
            Pin::new(&mut this.inner)
                .start_send(end)
                .map_err(io_error)?;
            this.input = Input::Ending;
        }
        Pin::new(&mut this.inner).poll_flush(cx).map_err(io_error)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    async fn pair() -> (PodStream<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (near, far) = tokio::io::duplex(256 << 10);
        let stream = PodStream {
            inner: WebSocketStream::from_raw_socket(near, Role::Client, None).await,
            buffer: Bytes::new(),
            can_end_input: true,
            input: Input::Open,
            has_ended: false,
            remarks: Remarks::default(),
        };
        (
            stream,
            WebSocketStream::from_raw_socket(far, Role::Server, None).await,
        )
    }

    fn message(channel: u8, bytes: &[u8]) -> Message {
        Message::Binary([&[channel], bytes].concat().into())
    }

    #[tokio::test]
    async fn output_is_read_and_errors_are_remarks() {
        let (mut stream, mut server) = pair().await;
        let status = br#"{"status":"Failure","message":"command terminated with exit code 7"}"#;
        for sent in [
            message(1, b"one"),
            message(1, b""),
            message(2, b"oops\n"),
            message(9, b"?"),
            message(1, b" two"),
            message(3, status),
        ] {
            server.send(sent).await.unwrap();
        }
        let mut read = String::new();
        stream.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "one two");
        assert_eq!(
            stream.remarks.text(),
            "oops\n\ncommand terminated with exit code 7"
        );
    }

    #[tokio::test]
    async fn input_goes_to_its_channel_in_pieces_and_its_end_is_sent() {
        let (mut stream, mut server) = pair().await;
        let sent: Vec<u8> = (0..PIECE + 5)
            .map(|n| u8::try_from(n % 251).unwrap())
            .collect();
        stream.write_all(&sent).await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(stream.write_all(b"x").await.is_err());
        let mut received = Vec::new();
        loop {
            let bytes = server.next().await.unwrap().unwrap().into_data();
            assert!(bytes.len() <= PIECE + 1);
            if bytes[0] == CLOSE {
                assert_eq!(&bytes[..], [CLOSE, STDIN]);
                break;
            }
            assert_eq!(bytes[0], STDIN);
            received.extend_from_slice(&bytes[1..]);
        }
        assert_eq!(received, sent);
    }

    #[tokio::test]
    async fn a_connection_that_breaks_off_is_an_error() {
        let (mut stream, server) = pair().await;
        drop(server);
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_success_leaves_no_remark() {
        let (mut stream, mut server) = pair().await;
        server
            .send(message(3, br#"{"status":"Success"}"#))
            .await
            .unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(stream.remarks.text(), "");
    }
}
