//! Limits the memory that the headers of all calls of one session may take.
//!
//! Patterns of ignore files travel as headers, so one call may have many megabytes of them, and a daemon may have a
//! thousand calls in progress. A call counts from its start until its answer ends, because its patterns are kept that
//! long.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::SessionServices;

/// The most bytes of headers that all calls in progress may have together. A single call has at most 16 MiB of text.
const SESSION: usize = 128 << 20;
/// The bytes that each header takes in addition to its text.
const FIELD: usize = 128;
/// The granularity of the count, in bytes.
const UNIT: usize = 1 << 10;

/// The bytes that headers take in memory.
fn cost(headers: &HeaderMap) -> usize {
    let sizes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD);
    sizes.sum()
}

/// The services of a session, within the limit on headers.
#[derive(Clone)]
pub(super) struct Bounded {
    services: SessionServices,
    free: Arc<Semaphore>,
}

impl Bounded {
    pub(super) fn new(services: SessionServices) -> Self {
        Self {
            services,
            free: Arc::new(Semaphore::new(SESSION / UNIT)),
        }
    }

    /// Reserves the memory for a call's headers, without waiting.
    fn share(&self, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, Status> {
        let units = u32::try_from(cost(headers).div_ceil(UNIT)).ok();
        units
            .and_then(|units| Arc::clone(&self.free).try_acquire_many_owned(units).ok())
            .ok_or_else(|| {
                Status::resource_exhausted(format!(
                    "the calls of one session have more than {} MiB of headers",
                    SESSION >> 20
                ))
            })
    }
}

impl<B> Service<Request<B>> for Bounded
where
    B: HttpBody<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<CountedBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // `SessionServices` is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Count now, not when the future is polled: until then, waiting calls would be unlimited.
        match self.share(request.headers()) {
            Ok(share) => {
                let answer = self.services.call(request.map(Body::new));
                Box::pin(async move {
                    let counted = |body| CountedBody {
                        body,
                        _share: Some(share),
                    };
                    Ok(answer.await?.map(counted))
                })
            }
            Err(status) => {
                drop(request);
                let refusal = status.into_http::<Body>();
                let counted = |body| CountedBody { body, _share: None };
                Box::pin(std::future::ready(Ok(refusal.map(counted))))
            }
        }
    }
}

/// The body of an answer. Releases the memory of its call when it is dropped.
pub(super) struct CountedBody {
    body: Body,
    _share: Option<OwnedSemaphorePermit>,
}

impl HttpBody for CountedBody {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::session::Attachable;
    use crate::engine::session::filesync::FileSync;

    const RESOURCE_EXHAUSTED: &str = "8";

    fn bounded() -> Bounded {
        let mut services = SessionServices::default();
        let sync = FileSync::new(Vec::new(), crate::event::EventSink::none());
        sync.mount(&mut services);
        Bounded::new(services)
    }

    async fn call(bounded: &mut Bounded, size: usize) -> Response<CountedBody> {
        let request = Request::builder()
            .uri("/nobody/Answers")
            .header("x", vec![b'a'; size])
            .body(Body::empty());
        bounded.call(request.unwrap()).await.unwrap()
    }

    fn is_refused(response: &Response<CountedBody>) -> bool {
        let status = response.headers().get("grpc-status");
        status.is_some_and(|status| status == RESOURCE_EXHAUSTED)
    }

    #[tokio::test]
    async fn running_calls_share_the_memory_limit_of_their_session() {
        const LARGE: usize = 16 << 20;
        let mut bounded = bounded();
        let mut under_way = Vec::new();
        while under_way.len() < SESSION / LARGE - 1 {
            let answer = call(&mut bounded, LARGE).await;
            assert!(!is_refused(&answer));
            under_way.push(answer);
        }
        // The overhead of the headers makes the last call exceed the limit.
        assert!(is_refused(&call(&mut bounded, LARGE).await));
        assert!(!is_refused(&call(&mut bounded, 100).await));
        under_way.pop();
        assert!(!is_refused(&call(&mut bounded, LARGE).await));
        let other = &mut self::bounded();
        assert!(!is_refused(&call(other, LARGE).await));
    }

    #[test]
    fn small_headers_are_counted_with_their_overhead() {
        let mut headers = HeaderMap::new();
        for _ in 0..100_000 {
            headers.append("x", "y".parse().unwrap());
        }
        assert!(cost(&headers) > 12 << 20);
    }
}
