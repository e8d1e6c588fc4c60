//! One HTTP/2 connection to a daemon, for all calls of a run.
//!
//! Sessions, solves and results live as long as the connection, so a lost one is an error and never made anew in silence.
//! Start at [`Connection::open`]; [`Connection::channel`] is what gRPC clients are made of.

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

use super::endpoint::Endpoint;
use super::pulse::{self, Patience};
use super::traffic::{CountedStream, Counters, Traffic};
use super::transport;
use super::transport::{DialError, Dialled, Remarks};
use crate::types::causes::in_one_line;
use crate::types::ending::FLUSH;

/// What one gRPC message may hold at most, either way: BuildKit's own limit.
pub(crate) const MESSAGE_LIMIT: usize = 16 << 20;
/// The same for questions of a daemon that hold a few names: a thousand of them may be under way in a session.
pub(super) const QUESTION_LIMIT: usize = 1 << 20;
/// HTTP/2 flow control: how much may be under way on one stream, in bytes.
pub(super) const STREAM_WINDOW: u32 = 4 << 20;
/// HTTP/2 flow control: how much may be under way on one connection, in bytes.
pub(super) const CONNECTION_WINDOW: u32 = 8 << 20;
/// The largest HTTP/2 frame that is taken, in bytes.
pub(super) const FRAME_SIZE: u32 = 256 << 10;
/// Ignore patterns and error details travel as headers, and both may be long.
pub(super) const HEADER_LIMIT: u32 = 16 << 20;

/// How long a daemon may take to answer at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the end of a connection may lag behind the error that it causes.
const END_LAG: Duration = Duration::from_millis(500);

/// How the labels of dockerd's workers begin, and of no other's.
const DOCKER_LABEL: &str = "org.mobyproject.buildkit.worker.moby.";

const USER_AGENT: &str = concat!("rbake/", env!("CARGO_PKG_VERSION"));

/// Why there is no connection, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// There is no stream.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Nothing was answered in time.
    #[error("`{endpoint}` did not answer within {} s", .after.as_secs())]
    Timeout {
        /// The address.
        endpoint: Endpoint,
        /// How long was waited.
        after: Duration,
    },
    /// Something answers, but it speaks no gRPC.
    #[error("what listens at `{endpoint}` does not speak gRPC ({detail})")]
    NotGrpc {
        /// The address.
        endpoint: Endpoint,
        /// What happened instead.
        detail: String,
    },
    /// A gRPC server that is no BuildKit.
    #[error("the gRPC server at `{endpoint}` is no BuildKit")]
    NotBuildkit {
        /// The address.
        endpoint: Endpoint,
    },
    /// The daemon, or something before it, turns us away.
    #[error("`{endpoint}` refused the first call")]
    Refused {
        /// The address.
        endpoint: Endpoint,
        /// What it said.
        #[source]
        status: Box<Status>,
    },
    /// The connection ended.
    #[error("the connection to `{endpoint}` was lost ({reason})")]
    Lost {
        /// The address.
        endpoint: Endpoint,
        /// Why, as far as it is known.
        reason: Arc<str>,
    },
    /// The connection was given up, because nothing came any more.
    #[error("`{endpoint}` does not answer any more; nothing was heard of it for {} s", .after.as_secs())]
    Silent {
        /// The address.
        endpoint: Endpoint,
        /// For how long.
        after: Duration,
    },
}

/// How a connection ended.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// It broke, or was closed; why, as far as it is known.
    Lost(Arc<str>),
    /// Nothing came for this time.
    Silent(Duration),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(reason) => f.write_str(reason),
            Self::Silent(after) => write!(f, "nothing was heard for {} s", after.as_secs()),
        }
    }
}

impl ConnectionError {
    /// What the user may try if the builder falls silent in the middle of a build.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Silent { .. } => Some(
                "see whether the builder still runs; `RBAKE_BUILDER_TIMEOUT=5m` gives it more time, `never` all",
            ),
            _ => None,
        }
    }

    /// Whether a connection was made, and what answers does not do what a BuildKit does.
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

    /// Whether trying again may succeed without any change by the user.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_transient(),
            Self::Timeout { .. } | Self::Lost { .. } | Self::Silent { .. } => true,
            Self::Refused { status, .. } => status.code() == Code::Unavailable,
            Self::NotGrpc { .. } | Self::NotBuildkit { .. } => false,
        }
    }
}

/// An open connection to a daemon. All calls share it; it is never made anew.
pub struct Connection {
    endpoint: Endpoint,
    channel: GrpcChannel,
    counters: Arc<Counters>,
    version: Option<String>,
    is_docker: bool,
    ended: watch::Receiver<Option<End>>,
    silence: watch::Receiver<Duration>,
    closing: CancellationToken,
}

impl Connection {
    /// Connects to `endpoint` and makes sure that a BuildKit answers there.
    pub async fn open(endpoint: Endpoint) -> Result<Self, ConnectionError> {
        Self::open_with(endpoint, Patience::default()).await
    }

    /// As [`Connection::open`], giving up after `limit`.
    pub(crate) async fn open_within(
        endpoint: Endpoint,
        limit: Duration,
    ) -> Result<Self, ConnectionError> {
        Self::open_patiently(endpoint, limit, Patience::default()).await
    }

    /// As [`Connection::open`], for a daemon that may be silent as long as `patience` says.
    pub(crate) async fn open_with(
        endpoint: Endpoint,
        patience: Patience,
    ) -> Result<Self, ConnectionError> {
        Self::open_patiently(endpoint, CONNECT_TIMEOUT, patience).await
    }

    /// As [`Connection::open_with`], giving up after `limit` if nothing answers at first.
    pub(crate) async fn open_patiently(
        endpoint: Endpoint,
        limit: Duration,
        patience: Patience,
    ) -> Result<Self, ConnectionError> {
        let name = endpoint.clone();
        let limit = patience.at_most(limit);
        match tokio::time::timeout(limit, Self::dial_and_greet(endpoint, patience)).await {
            Ok(result) => result,
            Err(_) => Err(ConnectionError::Timeout {
                endpoint: name,
                after: limit,
            }),
        }
    }

    async fn dial_and_greet(
        endpoint: Endpoint,
        patience: Patience,
    ) -> Result<Self, ConnectionError> {
        let dialled = transport::dial(&endpoint).await?;
        Self::over(endpoint, dialled, patience).await
    }

    /// Makes sure that a BuildKit answers at the far end of `dialled`, a stream to `endpoint` that is open already.
    ///
    /// # Errors
    /// If what answers is not a BuildKit, or refuses.
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
            .map_err(|_| not_grpc(format!("`{}` cannot be a host", dialled.authority)))?;
        let (send, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_SIZE)
            .max_header_list_size(HEADER_LIMIT)
            .handshake::<_, Body>(stream)
            .await
            .map_err(|error| no_grpc(&endpoint, counters.read(), in_one_line(&error)))?;
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
        let ended = drive(connection, line, given_up, closing.clone(), dialled.remarks);
        let mut connection = Self {
            channel,
            counters,
            version: None,
            is_docker: false,
            ended,
            silence,
            closing,
            endpoint,
        };
        let (version, is_docker) =
            futures_util::join!(connection.greet(), connection.ask_for_docker());
        connection.version = version?;
        connection.is_docker = is_docker;
        Ok(connection)
    }

    // dockerd has a label of its own. Daemons that do not tell, and what stands before them, are none.
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

    // Daemons before v0.12 do not know Info, and name no version.
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
        no_grpc(&self.endpoint, self.traffic(), detail)
    }

    /// The address of the daemon.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The daemon's version such as `v0.32.2`, where it tells.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Whether the BuildKit is that of a Docker Engine, which names and stores images in a way of its own.
    pub(crate) fn is_docker(&self) -> bool {
        self.is_docker
    }

    /// Bytes that went through the connection so far.
    pub fn traffic(&self) -> Traffic {
        self.counters.read()
    }

    /// What gRPC clients are made of.
    pub fn channel(&self) -> GrpcChannel {
        self.channel.clone()
    }

    /// A client of the control interface, with BuildKit's limits.
    pub fn control(&self) -> ControlClient<GrpcChannel> {
        ControlClient::new(self.channel())
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT)
    }

    /// A client of the gateway, with BuildKit's limits.
    pub fn gateway(&self) -> LlbBridgeClient<GrpcChannel> {
        LlbBridgeClient::new(self.channel())
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT)
    }

    /// A client of the daemon's content store, with BuildKit's limits.
    pub(super) fn content(&self) -> ContentClient<GrpcChannel> {
        ContentClient::new(self.channel()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// Completes when the connection has ended, with the reason.
    pub async fn lost(&self) -> ConnectionError {
        let mut ended = self.ended.clone();
        let end = match ended.wait_for(Option::is_some).await {
            Ok(end) => end.clone(),
            Err(_) => None,
        };
        self.lost_because(end.unwrap_or_else(|| End::Lost("it was closed".into())))
    }

    /// How long nothing has been heard of the daemon. Changes when that is worth telling, and back to zero.
    pub fn silence(&self) -> watch::Receiver<Duration> {
        self.silence.clone()
    }

    pub(super) fn lost_because(&self, end: End) -> ConnectionError {
        let endpoint = self.endpoint.clone();
        match end {
            End::Lost(reason) => ConnectionError::Lost { endpoint, reason },
            End::Silent(after) => ConnectionError::Silent { endpoint, after },
        }
    }

    /// The loss of the connection, where `status` came of it.
    ///
    /// Waits a moment where `status` did not come from the daemon, since the end may be seen a little later than its effect.
    pub(crate) async fn loss_behind(&self, status: &Status) -> Option<ConnectionError> {
        if is_from_peer(status) {
            return None;
        }
        Some(self.lost_because(self.end_reason().await?))
    }

    pub(super) async fn end_reason(&self) -> Option<End> {
        let mut ended = self.ended.clone();
        let end = tokio::time::timeout(END_LAG, ended.wait_for(Option::is_some)).await;
        end.ok()?.ok()?.clone()
    }

    /// Ends the connection, after what is to be sent has left or a moment has passed.
    pub async fn close(&self) {
        self.closing.cancel();
        let mut ended = self.ended.clone();
        let _ = tokio::time::timeout(FLUSH * 2, ended.wait_for(Option::is_some)).await;
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

// With TLS 1.3 a server refuses a client's certificate only after the handshake, and its alert may be lost with the
// connection; but then it has said nothing at all.
fn no_grpc(endpoint: &Endpoint, traffic: Traffic, detail: String) -> ConnectionError {
    if traffic.received == 0
        && let Endpoint::Tcp { tls: Some(tls), .. } = endpoint
    {
        let mut detail = detail;
        if tls.cert.is_none() {
            detail.push_str("; it may want a certificate of the client");
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

/// The stream that a connection goes over, seen from outside.
#[derive(Default)]
struct Line {
    /// Breaks it.
    cut: CancellationToken,
    /// Cancelled once nobody uses it any more.
    gone: CancellationToken,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cut.cancel();
    }
}

// Runs the connection in a task of its own, which also learns why it ended. Ends it when `given_up` completes.
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
    tokio::spawn(async move {
        // Breaks the stream when all is over.
        let line = line;
        let (mut connection, mut given_up) = (std::pin::pin!(connection), std::pin::pin!(given_up));
        let result = tokio::select! {
            result = &mut connection => Some(result),
            after = &mut given_up => {
                tell.send_replace(Some(End::Silent(after)));
                return;
            }
            () = closing.cancelled() => {
                // Frames that are queued, resets above all, still leave.
                tokio::time::timeout(FLUSH, &mut connection).await.ok()
            }
        };
        let mut reason = match &result {
            Some(Err(error)) => in_one_line(error),
            Some(Ok(())) => "it was closed by the other side".to_owned(),
            None => "it was closed".to_owned(),
        };
        if let Some(text) = remarks.map(|r| r.text()).filter(|text| !text.is_empty()) {
            reason = format!("{reason}: {text}");
        }
        tell.send_replace(Some(End::Lost(reason.into())));
        if let Some(Ok(())) = result {
            // The other side takes no more calls (GOAWAY), but those that are under way go on.
            tokio::select! {
                () = line.gone.cancelled() => {}
                after = &mut given_up => drop(tell.send_replace(Some(End::Silent(after)))),
                () = closing.cancelled() => {
                    let _ = tokio::time::timeout(FLUSH, line.gone.cancelled()).await;
                }
            }
        }
    });
    ended
}

/// Whether `status` was sent by the daemon, rather than made here of a broken stream.
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

/// A request could not be sent, or was not answered, because of the connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection failed")]
struct BrokenChannel(#[source] hyper::Error);

impl tower::Service<http::Request<Body>> for GrpcChannel {
    type Response = http::Response<Incoming>;
    type Error = tonic::codegen::StdError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    // Always ready: HTTP/2 holds calls back by itself, and generated clients lose the cause of an error from here.
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
        Box::pin(async move { response.await.map_err(broken) })
    }
}

// tonic takes a hyper error apart by itself and would call a closed connection `cancelled`, which is a user's doing.
fn broken(error: hyper::Error) -> tonic::codegen::StdError {
    let mut status = Status::unavailable(in_one_line(&error));
    status.set_source(Arc::new(BrokenChannel(error)));
    Box::new(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    // A listener that writes `answer`, then closes if `closes`.
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
    async fn a_web_server_is_no_daemon() {
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
    async fn one_that_hangs_up_is_no_daemon() {
        let error = connect_to(b"", true).await;
        assert!(
            matches!(error, ConnectionError::NotGrpc { .. }),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn one_that_says_nothing_is_given_up() {
        let error = connect_to(b"", false).await;
        assert!(
            matches!(error, ConnectionError::Timeout { .. }),
            "{error:?}"
        );
        assert!(error.is_transient());
    }

    #[tokio::test]
    async fn a_missing_socket_is_named() {
        let endpoint = Endpoint::Unix("/nonexistent/buildkitd.sock".into());
        let error = Connection::open(endpoint).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot connect to `unix:///nonexistent/buildkitd.sock`"
        );
    }
}
