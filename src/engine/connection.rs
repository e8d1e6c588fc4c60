//! One HTTP/2 connection to a daemon, shared by all calls of a run.
//!
//! Sessions, solves and results end with the connection. So a lost connection is an error: it is never silently
//! replaced by a new one. Start at [`Connection::open`]; gRPC clients are built on [`Connection::channel`].

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rbake_proto::content::content_client::ContentClient;
use rbake_proto::control::control_client::ControlClient;
use rbake_proto::control::{InfoRequest, ListWorkersRequest};
use rbake_proto::gateway::llb_bridge_client::LlbBridgeClient;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Code, Status};
use tracing::Instrument as _;

use super::endpoint::Endpoint;
use super::pulse::{self, Patience};
use super::traffic::{CountedStream, Counters, Traffic};
use super::transport;
use super::transport::{DialError, Dialled, Remarks};
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

const USER_AGENT: &str = concat!("rbake/", env!("CARGO_PKG_VERSION"));

/// Why a connection could not be opened, or why it has ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The stream to the daemon could not be opened.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The daemon did not answer in time.
    #[error("`{endpoint}` did not answer within {} s", .after.as_secs())]
    Timeout {
        /// The address.
        endpoint: Endpoint,
        /// How long we waited.
        after: Duration,
    },
    /// A server answered, but it does not speak gRPC.
    #[error("the server at `{endpoint}` does not speak gRPC ({detail})")]
    NotGrpc {
        /// The address.
        endpoint: Endpoint,
        /// What it did instead.
        detail: String,
    },
    /// A gRPC server answered, but it is not a BuildKit.
    #[error("the gRPC server at `{endpoint}` is not BuildKit")]
    NotBuildkit {
        /// The address.
        endpoint: Endpoint,
    },
    /// The daemon, or a proxy in front of it, refused the first call.
    #[error("`{endpoint}` refused the first call")]
    Refused {
        /// The address.
        endpoint: Endpoint,
        /// The refusal.
        #[source]
        status: Box<Status>,
    },
    /// The connection ended.
    #[error("the connection to `{endpoint}` was lost ({reason})")]
    Lost {
        /// The address.
        endpoint: Endpoint,
        /// The reason, if known.
        reason: Arc<str>,
    },
    /// The connection was given up, because the daemon was silent for too long.
    #[error("`{endpoint}` stopped responding: no answer for {} s", .after.as_secs())]
    Silent {
        /// The address.
        endpoint: Endpoint,
        /// The length of the silence.
        after: Duration,
    },
}

/// How a connection ended.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// It broke or was closed, with the reason if known.
    Lost(Arc<str>),
    /// Nothing arrived for this time.
    Silent(Duration),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(reason) => f.write_str(reason),
            Self::Silent(after) => write!(f, "no answer for {} s", after.as_secs()),
        }
    }
}

impl ConnectionError {
    /// What the user may try if the builder became silent during a build.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Silent { .. } => Some(
                "check that the builder still runs; set `RBAKE_BUILDER_TIMEOUT=5m` to wait longer, or `never` for no limit",
            ),
            _ => None,
        }
    }

    /// Whether something answered, but did not behave like a BuildKit.
    pub(crate) fn is_about_protocol(&self) -> bool {
        match self {
            Self::Dial(error) => matches!(error, DialError::Handshake { .. }),
            Self::Timeout { .. }
            | Self::NotGrpc { .. }
            | Self::NotBuildkit { .. }
            | Self::Refused { .. }
            | Self::Lost { .. } => true,
            Self::Silent { .. } => false,
        }
    }

    /// Whether another attempt may succeed without any change by the user.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_transient(),
            Self::Timeout { .. } | Self::Lost { .. } | Self::Silent { .. } => true,
            Self::Refused { status, .. } => status.code() == Code::Unavailable,
            Self::NotGrpc { .. } | Self::NotBuildkit { .. } => false,
        }
    }
}

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
        let line = Line::default();
        let (cut, gone) = (line.cut.clone(), line.gone.clone());
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
            drive(connection, line, given_up, closing.clone(), remarks)
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

/// The error for a server that did not speak gRPC. With TLS 1.3, a server refuses a client's certificate only after
/// the handshake, and its alert may be lost with the connection. So if a TLS server has sent nothing at all, this
/// reports a failed handshake. If nothing has arrived through a program, it reports what that has said.
fn no_grpc(
    endpoint: &Endpoint,
    traffic: Traffic,
    detail: String,
    remarks: Option<&Remarks>,
) -> ConnectionError {
    let said = remarks.map(Remarks::text).unwrap_or_default();
    if traffic.received == 0 && !said.is_empty() {
        let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
        return ConnectionError::Dial(DialError::Ended {
            endpoint: endpoint.to_string(),
            said: lines.collect::<Vec<_>>().join("; "),
        });
    }
    if traffic.received == 0
        && let Endpoint::Tcp { tls: Some(tls), .. } = endpoint
    {
        let mut detail = detail;
        if tls.cert.is_none() {
            detail.push_str("; it may require a client certificate");
        }
        return ConnectionError::Dial(DialError::Handshake {
            endpoint: endpoint.to_string(),
            source: std::io::Error::other(detail),
        });
    }
    ConnectionError::NotGrpc {
        endpoint: endpoint.clone(),
        detail,
    }
}

/// Adds to `reason` what the process at the other end of the stream has written to standard error.
fn with_remarks(reason: String, remarks: Option<&Remarks>) -> String {
    match remarks.map(Remarks::text).filter(|text| !text.is_empty()) {
        Some(text) => format!("{reason}: {text}"),
        None => reason,
    }
}

/// Controls the stream of a connection from outside.
#[derive(Default)]
struct Line {
    /// Breaks the stream when it is cancelled.
    cut: CancellationToken,
    /// Cancelled when the stream has been dropped.
    gone: CancellationToken,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cut.cancel();
    }
}

/// Runs the connection in a separate task, which also records why it ended. Ends the connection when `given_up`
/// completes.
fn drive<F, G>(
    connection: F,
    line: Line,
    given_up: G,
    closing: CancellationToken,
    remarks: Option<Remarks>,
) -> watch::Receiver<Option<End>>
where
    F: Future<Output = hyper::Result<()>> + Send + 'static,
    G: Future<Output = Duration> + Send + 'static,
{
    let (tell, ended) = watch::channel(None);
    let driven = async move {
        // Breaks the stream when this task ends.
        let line = line;
        let (mut connection, mut given_up) = (std::pin::pin!(connection), std::pin::pin!(given_up));
        let result = tokio::select! {
            result = &mut connection => Some(result),
            after = &mut given_up => {
                tracing::error!(seconds = after.as_secs(), "connection given up, no answer");
                tell.send_replace(Some(End::Silent(after)));
                return;
            }
            () = closing.cancelled() => {
                // Queued frames are still sent. Resets matter most: they cancel the daemon's work.
                tokio::time::timeout(FLUSH_TIMEOUT, &mut connection).await.ok()
            }
        };
        let reason = match &result {
            Some(Err(error)) => in_one_line(error),
            Some(Ok(())) => "it was closed by the other side".to_owned(),
            None => "it was closed".to_owned(),
        };
        let reason = with_remarks(reason, remarks.as_ref());
        if closing.is_cancelled() {
            tracing::debug!("connection closed");
        } else {
            tracing::error!(reason = %redact_urls(&reason), "connection lost");
        }
        tell.send_replace(Some(End::Lost(reason.into())));
        if let Some(Ok(())) = result {
            // GOAWAY: the other side accepts no new calls, but calls that are in progress continue.
            tokio::select! {
                () = line.gone.cancelled() => {}
                after = &mut given_up => drop(tell.send_replace(Some(End::Silent(after)))),
                () = closing.cancelled() => {
                    let _ = tokio::time::timeout(FLUSH_TIMEOUT, line.gone.cancelled()).await;
                }
            }
        }
    };
    tokio::spawn(driven.in_current_span());
    ended
}

/// Whether the daemon sent `status`. Otherwise it was made here, because the stream broke.
pub(super) fn is_from_peer(status: &Status) -> bool {
    std::error::Error::source(status).is_none()
}

/// Sends gRPC requests over the connection.
#[derive(Clone)]
pub struct GrpcChannel {
    send: SendRequest<Body>,
    authority: Authority,
}

impl fmt::Debug for GrpcChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({})", self.authority)
    }
}

/// A request could not be sent, or was not answered, because the connection failed.
#[derive(Debug, thiserror::Error)]
#[error("the connection failed")]
struct BrokenChannel(#[source] hyper::Error);

impl tower::Service<http::Request<Body>> for GrpcChannel {
    type Response = http::Response<Incoming>;
    type Error = tonic::codegen::StdError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    // Always ready: HTTP/2 delays calls by itself, and generated clients lose the cause of an error that `poll_ready`
    // returns.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path_and_query().cloned();
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
            .build();
        match uri {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => return Box::pin(std::future::ready(Err(error.into()))),
        }
        request.headers_mut().insert(
            http::header::USER_AGENT,
            http::HeaderValue::from_static(USER_AGENT),
        );
        let response = self.send.send_request(request);
        Box::pin(async move { response.await.map_err(|error| status_of(error).into()) })
    }
}

/// Wraps `error` in a status. If tonic converted a hyper error itself, it would report a closed connection as
/// `cancelled`, a code that we use for cancellation by the user.
pub(super) fn status_of(error: hyper::Error) -> Status {
    let mut status = Status::unavailable(in_one_line(&error));
    status.set_source(Arc::new(BrokenChannel(error)));
    status
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
