//! Sends gRPC requests over a connection.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use tonic::Status;
use tonic::body::Body;

use crate::types::causes::in_one_line;

const USER_AGENT: &str = concat!("rbake/", env!("CARGO_PKG_VERSION"));

/// Sends gRPC requests over the connection.
#[derive(Clone)]
pub struct GrpcChannel {
    pub(super) send: SendRequest<Body>,
    pub(super) authority: Authority,
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
pub(in crate::engine) fn status_of(error: hyper::Error) -> Status {
    let mut status = Status::unavailable(in_one_line(&error));
    status.set_source(Arc::new(BrokenChannel(error)));
    status
}

/// Whether the daemon sent `status`. Otherwise it was made here, because the stream broke.
pub(in crate::engine) fn is_from_peer(status: &Status) -> bool {
    std::error::Error::source(status).is_none()
}
