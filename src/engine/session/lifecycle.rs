//! The life of a session, from opening to its end: who ends it, and how the end is reported.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, WithSpanExecutor};
use hyper_util::service::TowerToHyperService;
use rbake_proto::control::BytesMessage;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Request, Status, Streaming};
use tracing::Instrument as _;

use super::headers::Bounded;
use super::tunnel::{DEPTH, Tunnel};
use super::{SessionBuilder, SessionServices};
use crate::engine::connection::{
    CONNECTION_WINDOW, Connection, ConnectionError, FRAME_SIZE, HEADER_LIMIT, STREAM_WINDOW,
};
use crate::engine::endpoint::Endpoint;
use crate::engine::id::SessionId;
use crate::types::causes::in_one_line;
use crate::types::secret::redact_urls;

const ID_KEY: &str = "x-docker-expose-session-uuid";
const SHARED_KEY: &str = "x-docker-expose-session-sharedkey";
const METHOD_KEY: &str = "x-docker-expose-session-grpc-method";

/// The most time that the daemon may take to accept a session.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// The most time that the daemon may take to end its side of a session.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The most calls of the daemon that may be in progress at once in one session.
const CALLS: u32 = 1024;

/// Why a session could not be opened, or why it has ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The connection was lost.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The daemon did not accept the session.
    #[error("cannot open a session with `{endpoint}`")]
    Open {
        /// The daemon's address.
        endpoint: Endpoint,
        /// The daemon's answer.
        #[source]
        status: Box<Status>,
    },
    /// The daemon did not answer in time.
    #[error("`{endpoint}` did not accept a session within {} s", OPEN_TIMEOUT.as_secs())]
    Timeout {
        /// The daemon's address.
        endpoint: Endpoint,
    },
    /// The session ended although we did not close it.
    #[error("the session with `{endpoint}` was lost ({reason})")]
    Lost {
        /// The daemon's address.
        endpoint: Endpoint,
        /// The reason, if known.
        reason: Arc<str>,
    },
}

impl SessionError {
    /// Whether another attempt may succeed without any change by the user.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connection(error) => error.is_transient(),
            Self::Open { status, .. } => status.code() == tonic::Code::Unavailable,
            Self::Timeout { .. } | Self::Lost { .. } => true,
        }
    }
}

#[derive(Debug, Clone)]
enum Ending {
    Closed,
    Lost(Arc<str>),
}

/// An open session. Dropping it ends it, without waiting for the daemon.
pub struct Session {
    id: SessionId,
    endpoint: Endpoint,
    ended: watch::Receiver<Option<Ending>>,
    closing: CancellationToken,
}

impl Session {
    /// The id by which solves refer to this session.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// Completes when the session is lost. Never completes if we have closed the session.
    pub async fn lost(&self) -> SessionError {
        let mut ended = self.ended.clone();
        let ending = match ended.wait_for(Option::is_some).await {
            Ok(ending) => ending.clone(),
            Err(_) => None,
        };
        match ending {
            Some(Ending::Lost(reason)) => SessionError::Lost {
                endpoint: self.endpoint.clone(),
                reason,
            },
            Some(Ending::Closed) | None => std::future::pending().await,
        }
    }

    /// Closes the session and waits a moment until the daemon has ended its side. No solve may need the session any
    /// more.
    pub async fn close(&self) {
        self.closing.cancel();
        let mut ended = self.ended.clone();
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, ended.wait_for(Option::is_some)).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.id)
    }
}

/// Opens the session that `builder` describes. Two tasks then serve it until it ends.
pub(super) async fn open(
    builder: SessionBuilder,
    connection: &Connection,
) -> Result<Session, SessionError> {
    let span = tracing::info_span!("session", id = %builder.id);
    let methods = builder.methods().len();
    let opened = try_open(builder, connection, &span).await;
    span.in_scope(|| match &opened {
        Ok(_) => tracing::debug!(methods, "session open"),
        Err(error) => {
            tracing::error!(cause = %redact_urls(&in_one_line(error)), "session not opened");
        }
    });
    opened
}

/// Opens the session; its tasks are in `span`.
async fn try_open(
    builder: SessionBuilder,
    connection: &Connection,
    span: &tracing::Span,
) -> Result<Session, SessionError> {
    let endpoint = connection.endpoint().clone();
    let (outbound, to_daemon) = mpsc::channel(DEPTH);
    let (from_daemon, inbound) = mpsc::channel(DEPTH);
    let (tell, ended) = watch::channel(None);
    let closing = CancellationToken::new();

    let mut request = Request::new(ReceiverStream::new(to_daemon));
    describe_session(&builder, request.metadata_mut());
    let mut services = SessionServices::default();
    for attachable in &builder.attachables {
        attachable.mount(&mut services);
    }
    // The daemon starts its calls at once, possibly before its answer to our call arrives. So serve first.
    let tunnel = Tunnel::new(inbound, outbound);
    let served = serve(tunnel, services, closing.clone(), tell.clone());
    tokio::spawn(served.instrument(span.clone()));

    let mut control = connection.control();
    let response = match tokio::time::timeout(OPEN_TIMEOUT, control.session(request)).await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => {
            return Err(match connection.loss_behind(&status).await {
                Some(loss) => loss.into(),
                None => SessionError::Open {
                    endpoint,
                    status: Box::new(status),
                },
            });
        }
        Err(_) => return Err(SessionError::Timeout { endpoint }),
    };
    let received = receive(response, from_daemon, closing.clone(), tell);
    tokio::spawn(received.instrument(span.clone()));
    Ok(Session {
        id: builder.id,
        endpoint,
        ended,
        closing,
    })
}

/// Sets the headers by which the daemon learns the session's id, key and methods.
fn describe_session(builder: &SessionBuilder, metadata: &mut MetadataMap) {
    let value = |text: &str| MetadataValue::<Ascii>::try_from(text).ok();
    if let Some(id) = value(builder.id.as_str()) {
        metadata.insert(ID_KEY, id);
    }
    // A key with characters that a header cannot carry is replaced by an empty one, which means no key.
    metadata.insert(
        SHARED_KEY,
        value(&builder.shared_key).unwrap_or_else(|| MetadataValue::from_static("")),
    );
    for method in builder.methods() {
        metadata.append(METHOD_KEY, MetadataValue::from_static(method));
    }
}

/// Answers the daemon's calls until the daemon closes the stream or we close the session.
async fn serve(
    tunnel: Tunnel,
    services: SessionServices,
    closing: CancellationToken,
    tell: watch::Sender<Option<Ending>>,
) {
    let service = TowerToHyperService::new(Bounded::new(services));
    let connection = http2::Builder::new(WithSpanExecutor::current(TokioExecutor::new()))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_SIZE)
        .max_header_list_size(HEADER_LIMIT)
        .max_concurrent_streams(CALLS)
        // Daemons cancel many calls at once when a build ends. The default limit would treat that as an attack.
        .max_pending_accept_reset_streams(CALLS as usize)
        .serve_connection(TokioIo::new(tunnel), service);
    // A session is closed when no solve needs it any more, so a call that is still in progress can only be a health
    // check. A graceful shutdown would wait until the daemon closes the stream, which may take any time.
    let result = tokio::select! {
        result = connection => result,
        () = closing.cancelled() => return,
    };
    if let Err(error) = result
        && !closing.is_cancelled()
    {
        let reason = format!("its stream broke: {error}");
        end(&tell, Ending::Lost(reason.into()));
    }
}

/// Passes the daemon's messages to the tunnel. After we close the session, continues until the daemon ends the call
/// or `DRAIN_TIMEOUT` is over.
async fn receive(
    mut from: Streaming<BytesMessage>,
    to: mpsc::Sender<Bytes>,
    closing: CancellationToken,
    tell: watch::Sender<Option<Ending>>,
) {
    let end_of_patience = async {
        closing.cancelled().await;
        tokio::time::sleep(DRAIN_TIMEOUT).await;
    };
    let mut end_of_patience = std::pin::pin!(end_of_patience);
    let outcome = loop {
        let next = tokio::select! {
            next = from.message() => next,
            () = &mut end_of_patience => break Ok(()),
        };
        match next {
            // An error of `send` means that `serve` has ended, and has reported why. Only let the daemon finish.
            Ok(Some(message)) => drop(to.send(message.data).await),
            Ok(None) => break Ok(()),
            Err(status) => break Err(status),
        }
    };
    let ending = match outcome {
        _ if closing.is_cancelled() => Ending::Closed,
        Ok(()) => Ending::Lost("the daemon ended it".into()),
        Err(status) => Ending::Lost(status.message().into()),
    };
    end(&tell, ending);
}

/// Records an ending. Only the first one counts: later ones are its consequences.
fn end(tell: &watch::Sender<Option<Ending>>, ending: Ending) {
    tell.send_if_modified(|ended| {
        let first = ended.is_none();
        if first {
            match &ending {
                Ending::Closed => tracing::debug!("session closed"),
                Ending::Lost(reason) => {
                    tracing::error!(cause = %redact_urls(reason), "session lost");
                }
            }
            *ended = Some(ending);
        }
        first
    });
}
