//! One HTTP/2 connection to a daemon, shared by all calls of a run.
//!
//! Sessions, solves and results end with the connection. So a lost connection is an error: it is never silently
//! replaced by a new one. Start at [`Connection::open`]; gRPC clients are built on [`Connection::channel`].

mod channel;
mod error;
mod task;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rbake_proto::content::content_client::ContentClient;
use rbake_proto::control::control_client::ControlClient;
use rbake_proto::control::{InfoRequest, ListWorkersRequest};
use rbake_proto::gateway::llb_bridge_client::LlbBridgeClient;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Code, Status};

pub(crate) use self::channel::GrpcChannel;
pub(super) use self::channel::{is_from_peer, status_of};
pub use self::error::ConnectionError;
use self::error::no_grpc;
pub(super) use self::task::End;
use self::task::{StreamSwitch, drive};
use super::endpoint::Endpoint;
use super::pulse::{self, Patience};
use super::traffic::{CountedStream, Counters, Traffic};
use super::transport;
use super::transport::{Dialled, Remarks};
use crate::types::causes::in_one_line;
use crate::types::secret::redact_urls;
use crate::types::shutdown::FLUSH_TIMEOUT;

/// The largest gRPC message in either direction, in bytes: BuildKit's own limit.
pub(crate) const MESSAGE_LIMIT: usize = 16 << 20;
/// The largest message, in bytes, of the daemon's calls that hold only a few names. It is smaller because a session
/// may have a thousand such calls in progress.
pub(super) const QUESTION_LIMIT: usize = 1 << 20;
/// HTTP/2 flow control: how many unacknowledged bytes one stream may have.
pub(super) const STREAM_WINDOW: u32 = 4 << 20;
/// HTTP/2 flow control: how many unacknowledged bytes a connection may have.
pub(super) const CONNECTION_WINDOW: u32 = 8 << 20;
/// The largest HTTP/2 frame that we accept, in bytes.
pub(super) const FRAME_SIZE: u32 = 256 << 10;
/// The largest header list in bytes. Ignore patterns and error details travel as headers, and both may be long.
pub(super) const HEADER_LIMIT: u32 = 16 << 20;

/// The most time that a daemon may take to answer the first call.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// The end of a connection may be noticed this much later than the error that it causes in a call.
const END_LAG: Duration = Duration::from_millis(500);

/// The prefix of labels that only dockerd's workers have.
const DOCKER_LABEL: &str = "org.mobyproject.buildkit.worker.moby.";

/// An open connection to a daemon. All calls share it. A lost connection cannot be reopened.
pub struct Connection {
    endpoint: Endpoint,
    channel: GrpcChannel,
    counters: Arc<Counters>,
    version: Option<String>,
    is_docker: bool,
    remarks: Option<Remarks>,
    ended: watch::Receiver<Option<End>>,
    silence: watch::Receiver<Duration>,
    closing: CancellationToken,
}

impl Connection {
    /// Connects to `endpoint` and checks that a BuildKit answers there.
    pub async fn open(endpoint: Endpoint) -> Result<Self, ConnectionError> {
        Self::open_with(endpoint, Patience::default()).await
    }

    /// Like [`Connection::open`], but gives up after `limit`.
    pub(crate) async fn open_within(
        endpoint: Endpoint,
        limit: Duration,
    ) -> Result<Self, ConnectionError> {
        Self::open_patiently(endpoint, limit, Patience::default()).await
    }

    /// Like [`Connection::open`], for a daemon that may be silent as long as `patience` allows.
    pub(crate) async fn open_with(
        endpoint: Endpoint,
        patience: Patience,
    ) -> Result<Self, ConnectionError> {
        Self::open_patiently(endpoint, CONNECT_TIMEOUT, patience).await
    }

    /// Like [`Connection::open_with`], but gives up after `limit` if there is no first answer.
    pub(crate) async fn open_patiently(
        endpoint: Endpoint,
        limit: Duration,
        patience: Patience,
    ) -> Result<Self, ConnectionError> {
        let name = endpoint.clone();
        let limit = patience.at_most(limit);
        let opened =
            match tokio::time::timeout(limit, Self::dial_and_greet(endpoint, patience)).await {
                Ok(result) => result,
                Err(_) => Err(ConnectionError::Timeout {
                    endpoint: name.clone(),
                    after: limit,
                }),
            };
        if let Err(error) = &opened {
            tracing::warn!(endpoint = %name, cause = %redact_urls(&in_one_line(error)), "not connected");
        }
        opened
    }

    async fn dial_and_greet(
        endpoint: Endpoint,
        patience: Patience,
    ) -> Result<Self, ConnectionError> {
        tracing::debug!(%endpoint, "dial");
        let dialled = transport::dial(&endpoint).await?;
        tracing::debug!(%endpoint, "stream open");
        Self::over(endpoint, dialled, patience).await
    }

    /// Checks that a BuildKit answers on `dialled`, an open stream to `endpoint`.
    ///
    /// # Errors
    /// If the server is not a BuildKit, or if it refuses the first call.
    pub async fn over(
        endpoint: Endpoint,
        dialled: Dialled,
        patience: Patience,
    ) -> Result<Self, ConnectionError> {
        let counters = Arc::new(Counters::default());
        let switch = StreamSwitch::default();
        let (cut, gone) = (switch.cut.clone(), switch.gone.clone());
        let stream = CountedStream::new(dialled.stream, Arc::clone(&counters), cut, gone);
        let stream = TokioIo::new(stream);
        let not_grpc = |detail: String| ConnectionError::NotGrpc {
            endpoint: endpoint.clone(),
            detail,
        };
        let authority: Authority = dialled
            .authority
            .parse()
            .map_err(|_| not_grpc(format!("`{}` is not a valid host", dialled.authority)))?;
        let (send, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_SIZE)
            .max_header_list_size(HEADER_LIMIT)
            .handshake::<_, Body>(stream)
            .await
            .map_err(|error| {
                let said = dialled.remarks.as_ref();
                no_grpc(&endpoint, counters.read(), in_one_line(&error), said)
            })?;
        let closing = CancellationToken::new();
        let channel = GrpcChannel { send, authority };
        let (tell_silence, silence) = watch::channel(Duration::ZERO);
        let given_up = {
            let (counters, channel) = (Arc::clone(&counters), channel.clone());
            async move {
                let ask = || {
                    let mut control = ControlClient::new(channel.clone());
                    async move { drop(control.info(InfoRequest {}).await) }
                };
                pulse::watch(&counters, patience, &tell_silence, ask).await
            }
        };
        let ended = tracing::info_span!("connection", %endpoint).in_scope(|| {
            let remarks = dialled.remarks.clone();
            drive(connection, switch, given_up, closing.clone(), remarks)
        });
        let mut connection = Self {
            channel,
            counters,
            version: None,
            is_docker: false,
            remarks: dialled.remarks,
            ended,
            silence,
            closing,
            endpoint,
        };
        let (version, is_docker) =
            futures_util::join!(connection.greet(), connection.ask_for_docker());
        connection.version = version?;
        connection.is_docker = is_docker;
        tracing::info!(
            endpoint = %connection.endpoint,
            version = connection.version.as_deref(),
            is_docker,
            "greeting"
        );
        Ok(connection)
    }

    /// Whether the daemon is dockerd, which its workers' labels show. An error counts as "no": some daemons, and
    /// proxies in front of them, do not list workers.
    async fn ask_for_docker(&self) -> bool {
        let mut control = self.control();
        let workers = control.list_workers(ListWorkersRequest::default()).await;
        workers.is_ok_and(|response| {
            let mut workers = response.into_inner().record.into_iter();
            workers.any(|worker| {
                worker
                    .labels
                    .keys()
                    .any(|label| label.starts_with(DOCKER_LABEL))
            })
        })
    }

    /// Makes the first call and returns the daemon's version. Daemons before v0.12 do not know `Info`, so they have
    /// no version.
    async fn greet(&self) -> Result<Option<String>, ConnectionError> {
        let mut control = self.control();
        let status = match control.info(InfoRequest {}).await {
            Ok(response) => {
                let version = response.into_inner().buildkit_version;
                return Ok(version.map(|v| v.version).filter(|v| !v.is_empty()));
            }
            Err(status) => status,
        };
        if is_from_peer(&status) && status.code() == Code::Unimplemented {
            return match control.list_workers(ListWorkersRequest::default()).await {
                Ok(_) => Ok(None),
                Err(status) if status.code() == Code::Unimplemented => {
                    Err(ConnectionError::NotBuildkit {
                        endpoint: self.endpoint.clone(),
                    })
                }
                Err(status) => Err(self.no_greeting(status).await),
            };
        }
        Err(self.no_greeting(status).await)
    }

    /// Why the first call failed: the daemon's refusal, or the end of the connection.
    async fn no_greeting(&self, status: Status) -> ConnectionError {
        if is_from_peer(&status) {
            return ConnectionError::Refused {
                endpoint: self.endpoint.clone(),
                status: Box::new(status),
            };
        }
        let detail = match self.end_reason().await {
            Some(reason) => reason.to_string(),
            None => status.message().to_owned(),
        };
        no_grpc(
            &self.endpoint,
            self.traffic(),
            detail,
            self.remarks.as_ref(),
        )
    }

    /// The address of the daemon.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The daemon's version, such as `v0.32.2`, if it reports one.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Whether this is the BuildKit inside a Docker Engine, which names and stores images differently.
    pub(crate) fn is_docker(&self) -> bool {
        self.is_docker
    }

    /// The number of bytes that have gone through the connection so far.
    pub fn traffic(&self) -> Traffic {
        self.counters.read()
    }

    /// The channel that gRPC clients are built on.
    pub fn channel(&self) -> GrpcChannel {
        self.channel.clone()
    }

    /// A client of the control service, with BuildKit's limits on messages.
    pub fn control(&self) -> ControlClient<GrpcChannel> {
        ControlClient::new(self.channel())
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT)
    }

    /// A client of the gateway service, with BuildKit's limits on messages.
    pub fn gateway(&self) -> LlbBridgeClient<GrpcChannel> {
        LlbBridgeClient::new(self.channel())
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT)
    }

    /// A client of the daemon's content store, with BuildKit's limits on messages.
    pub(super) fn content(&self) -> ContentClient<GrpcChannel> {
        ContentClient::new(self.channel()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// Completes when the connection has ended, and returns the reason.
    pub async fn lost(&self) -> ConnectionError {
        let mut ended = self.ended.clone();
        let end = match ended.wait_for(Option::is_some).await {
            Ok(end) => end.clone(),
            Err(_) => None,
        };
        self.lost_because(end.unwrap_or_else(|| End::Lost("it was closed".into())))
    }

    /// How long the daemon has been silent. The value changes once the silence is long enough to report, and goes
    /// back to zero when bytes arrive again.
    pub fn silence(&self) -> watch::Receiver<Duration> {
        self.silence.clone()
    }

    /// Converts the end of the connection to an error.
    pub(super) fn lost_because(&self, end: End) -> ConnectionError {
        let endpoint = self.endpoint.clone();
        match end {
            End::Lost(reason) => ConnectionError::Lost { endpoint, reason },
            End::Silent(after) => ConnectionError::Silent { endpoint, after },
        }
    }

    /// The loss of the connection, if that caused `status`.
    ///
    /// Waits a moment if `status` did not come from the daemon, because the end of a connection may be noticed a
    /// little later than the errors that it causes.
    pub(crate) async fn loss_behind(&self, status: &Status) -> Option<ConnectionError> {
        if is_from_peer(status) {
            return None;
        }
        Some(self.lost_because(self.end_reason().await?))
    }

    /// How the connection ended. Waits up to `END_LAG` for the end; `None` if the connection is still open then.
    pub(super) async fn end_reason(&self) -> Option<End> {
        let mut ended = self.ended.clone();
        let end = tokio::time::timeout(END_LAG, ended.wait_for(Option::is_some)).await;
        end.ok()?.ok()?.clone()
    }

    /// Ends the connection, after queued frames have been sent or a moment has passed.
    pub async fn close(&self) {
        self.closing.cancel();
        let mut ended = self.ended.clone();
        let _ = tokio::time::timeout(FLUSH_TIMEOUT * 2, ended.wait_for(Option::is_some)).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("endpoint", &self.endpoint)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    // Connects to a listener that writes `answer`, and then closes the connection if `closes`.
    async fn connect_to(answer: &'static [u8], closes: bool) -> ConnectionError {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 24]).await.unwrap();
            stream.write_all(answer).await.unwrap();
            if !closes {
                std::future::pending::<()>().await;
            }
        });
        let limit = Duration::from_millis(if closes { 5000 } else { 300 });
        Connection::open_within(Endpoint::Unix(path), limit)
            .await
            .unwrap_err()
    }

    #[tokio::test]
    async fn a_web_server_is_not_accepted_as_a_daemon() {
        let error = connect_to(
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
            true,
        )
        .await;
        assert!(
            matches!(error, ConnectionError::NotGrpc { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("does not speak gRPC"), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_hangs_up_is_not_accepted_as_a_daemon() {
        let error = connect_to(b"", true).await;
        assert!(
            matches!(error, ConnectionError::NotGrpc { .. }),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn connecting_to_a_silent_server_times_out() {
        let error = connect_to(b"", false).await;
        assert!(
            matches!(error, ConnectionError::Timeout { .. }),
            "{error:?}"
        );
        assert!(error.is_transient());
    }

    #[tokio::test]
    async fn the_error_names_a_missing_socket() {
        let endpoint = Endpoint::Unix("/nonexistent/buildkitd.sock".into());
        let error = Connection::open(endpoint).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot connect to `unix:///nonexistent/buildkitd.sock`"
        );
    }
}
