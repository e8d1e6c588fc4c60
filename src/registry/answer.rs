//! Reads the answers of registries.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use reqwest::{Response, Url};
use tokio::time::{Instant, timeout_at};

use super::error::RegistryFault;
use super::exchange::RegistryRequest;
use super::retry::TryFailure;

/// The longest wait for bytes.
pub(super) const STALL: Duration = Duration::from_secs(30);

/// The longest time for reading an answer, however steadily it comes.
const LONGEST_ANSWER: Duration = Duration::from_secs(300);

/// The most bytes that are read of an answer with an error status.
const ERROR_LIMIT: usize = 64 << 10;

/// An answer, with its body.
pub(super) struct RegistryAnswer {
    pub(super) response: http::response::Parts,
    pub(super) body: Bytes,
    pub(super) url: Url,
    /// Whether it is from the registry itself, and not from a server to which it redirected.
    pub(super) is_ours: bool,
}

/// Reads the body of `response`. Of an answer with an error status, only the start is read, and errors while reading
/// it do not matter.
pub(super) async fn read(
    request: &RegistryRequest,
    response: Response,
    url: Url,
    is_ours: bool,
) -> Result<RegistryAnswer, TryFailure> {
    let is_error = !response.status().is_success();
    let limit = if is_error { ERROR_LIMIT } else { request.limit };
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = response.status();
    head.headers.clone_from(response.headers());
    let mut answer = RegistryAnswer {
        response: head,
        body: Bytes::new(),
        url,
        is_ours,
    };
    // Without a limit, the content does not matter, but reading it keeps the connection usable.
    if request.method != Method::HEAD {
        match collect(response, limit).await {
            Ok(body) => answer.body = body,
            Err(_) if is_error || request.limit == 0 => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    Ok(answer)
}

async fn collect(mut response: Response, limit: usize) -> Result<Bytes, RegistryFault> {
    let end = Instant::now() + LONGEST_ANSWER;
    let too_large = || RegistryFault::malformed(format!("the answer is larger than {limit} bytes"));
    let declared = response.content_length();
    if declared.is_some_and(|length| length > u64::try_from(limit).unwrap_or(u64::MAX)) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    loop {
        let limit_of_wait = end.min(Instant::now() + STALL);
        let chunk = timeout_at(limit_of_wait, response.chunk()).await;
        let chunk = chunk.map_err(|_| RegistryFault::Stalled {
            seconds: STALL.as_secs(),
        })?;
        let Some(chunk) = chunk.map_err(unreachable)? else {
            return Ok(body.into());
        };
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
}

pub(super) fn unreachable(error: reqwest::Error) -> RegistryFault {
    RegistryFault::Unreachable {
        source: Box::new(error.without_url()),
    }
}
