//! Sends requests to one registry: authorization, redirects, repetition, and limits.

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::{HeaderValue, Method, StatusCode};
use reqwest::{Client, Response, Url};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::address::{RegistryAddress, RegistryProtocol, SpokenProtocol};
use super::answer::{RegistryAnswer, STALL, read, unreachable};
use super::authorization::{Authorizations, HeldAuthorization};
use super::challenge::challenges;
use super::counts::RequestCounter;
use super::error::{RegistryFault, is_throttling};
use super::exchange::{RegistryReply, RegistryRequest, RequestTarget};
use super::retries::Retries;
use super::retry::{RetryBudget, TryFailure};
use super::silence::RegistrySilence;
use super::tls;
use super::words::RegistryWords;
use crate::credential::{Provider, RegistryClientSpec};
use crate::diag::Notices;
use crate::types::Clock;
use crate::types::retry::{Pauses, is_transient_status, retry_after};

/// The requests to one registry at the same time. They are small, so their number decides how long a run with many tags takes.
const PARALLEL: usize = 16;

/// The blobs that are streamed to one registry at the same time. They do not count as requests of [`PARALLEL`]: the
/// source of a stream may be the same registry, and reading must not wait for writing.
const PARALLEL_STREAMS: usize = 4;

/// The answer may come later if the request has a large body: by a second for so many bytes.
const UPLOAD_RATE: u64 = 32 << 10;

/// The longest time for connecting, with the TLS handshake.
const CONNECT: Duration = Duration::from_secs(20);

/// The most redirects that are followed in a row.
const REDIRECTS: usize = 5;

/// The parts of a run that all its registries use.
#[derive(Debug, Clone)]
pub(super) struct RunParts {
    pub(super) provider: Provider,
    pub(super) clock: Clock,
    pub(super) stop: CancellationToken,
    pub(super) notices: Notices,
}

/// One registry in one run.
#[derive(Debug)]
pub(super) struct RegistryConnection {
    pub(super) address: RegistryAddress,
    pub(super) parts: RunParts,
    pub(super) pauses: Pauses,
    client: OnceCell<Client>,
    // The protocol that an insecure registry turned out to speak.
    pub(super) spoken: SpokenProtocol,
    pub(super) authorizations: Authorizations,
    pub(super) budget: RetryBudget,
    pub(super) silence: RegistrySilence,
    permits: Semaphore,
    streams: Semaphore,
    counter: RequestCounter,
}

impl RegistryConnection {
    pub(super) fn new(address: RegistryAddress, parts: RunParts, pauses: Pauses) -> Self {
        Self {
            silence: RegistrySilence::new(address.host(), parts.notices.clone()),
            address,
            parts,
            pauses,
            client: OnceCell::new(),
            spoken: SpokenProtocol::default(),
            authorizations: Authorizations::default(),
            budget: RetryBudget::new(),
            permits: Semaphore::new(PARALLEL),
            streams: Semaphore::new(PARALLEL_STREAMS),
            counter: RequestCounter::default(),
        }
    }

    pub(super) const fn counter(&self) -> &RequestCounter {
        &self.counter
    }

    /// Sends `request` until there is an answer that a repetition would not change.
    pub(super) async fn perform(
        &self,
        request: &RegistryRequest,
    ) -> Result<RegistryReply, RegistryFault> {
        let mut retries = Retries::new(self);
        loop {
            match self.attempt(request).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => retries.after(failure, request).await?,
            }
        }
    }

    /// Sends `request` once; once more if the registry wants another authorization.
    pub(super) async fn attempt(
        &self,
        request: &RegistryRequest,
    ) -> Result<RegistryReply, TryFailure> {
        let more = Duration::from_secs(request.body.len() as u64 / UPLOAD_RATE);
        // The futures of all verbs have this one in them.
        let answer = Box::pin(self.authorized(request));
        let reply = tokio::select! {
            biased;
            () = self.parts.stop.cancelled(), if !request.finishes => Err(RegistryFault::Stopped.into()),
            reply = self.silence.watch(more, answer) => reply,
        };
        if reply.is_ok() {
            self.budget.earn();
        }
        reply
    }

    async fn authorized(&self, request: &RegistryRequest) -> Result<RegistryReply, TryFailure> {
        if request.has_credential {
            let answer = self.send(request, None).await?;
            return self.judge(request, answer, None);
        }
        let (provider, host) = (&self.parts.provider, self.address.host());
        let current = self
            .authorizations
            .current(provider, host, &request.scope)
            .await?;
        let mut answer = self.send(request, current.as_deref()).await?;
        let mut held = current;
        if answer.response.status == StatusCode::UNAUTHORIZED && answer.is_ours {
            let challenges = challenges(&answer.response.headers);
            let other = self
                .authorizations
                .answer(provider, host, &request.scope, &challenges, held.as_deref())
                .await?;
            if other.is_some() {
                answer = self.send(request, other.as_deref()).await?;
                held = other;
            }
        }
        self.judge(request, answer, held.as_deref())
    }

    /// Separates the answers that a repetition may change, and those that deny access.
    pub(super) fn judge(
        &self,
        request: &RegistryRequest,
        answer: RegistryAnswer,
        held: Option<&HeldAuthorization>,
    ) -> Result<RegistryReply, TryFailure> {
        let RegistryAnswer {
            response,
            body,
            url,
            ..
        } = answer;
        let status = response.status;
        let is_error = !status.is_success();
        let mut secrets = held.map(HeldAuthorization::secrets).unwrap_or_default();
        secrets.extend(
            request
                .secrets
                .iter()
                .map(|secret| secret.expose().as_str()),
        );
        let words = if is_error {
            RegistryWords::read(&body, &secrets)
        } else {
            RegistryWords::default()
        };
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let denied = RegistryFault::Denied {
                status: status.as_u16(),
                words: words.text(),
            };
            return Err(denied.into());
        }
        let retry_after = retry_after(&response.headers, self.parts.clock.now());
        let reply = RegistryReply {
            status,
            headers: response.headers,
            body,
            url,
            words,
        };
        if is_transient_status(status.as_u16()) || is_throttling(&reply.words.code) {
            return Err(TryFailure {
                fault: reply.fault(),
                status: Some(status.as_u16()),
                retry_after,
            });
        }
        Ok(reply)
    }

    /// Sends one request and reads the answer.
    async fn send(
        &self,
        request: &RegistryRequest,
        held: Option<&HeldAuthorization>,
    ) -> Result<RegistryAnswer, TryFailure> {
        let _permit = self.permit().await;
        let (response, url) = self.open(request, held).await?;
        let is_ours = self.is_ours(&url);
        read(request, response, url, is_ours).await
    }

    /// Waits until another request may be sent.
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed, so this cannot fail.
        self.permits.acquire().await.ok()
    }

    /// Waits until another blob may be streamed to the registry.
    pub(super) async fn stream_permit(&self) -> Option<SemaphorePermit<'_>> {
        self.streams.acquire().await.ok()
    }

    /// Sends one request and returns the head of the answer, with the address that answered. Follows redirects; the
    /// authorization is sent to the registry only.
    pub(super) async fn open(
        &self,
        request: &RegistryRequest,
        held: Option<&HeldAuthorization>,
    ) -> Result<(Response, Url), TryFailure> {
        let mut url = match &request.target {
            RequestTarget::Path(path) => self.resolve(&self.base()?, path)?,
            RequestTarget::Place(url) => url.clone(),
        };
        for _ in 0..=REDIRECTS {
            let is_ours = self.is_ours(&url);
            let response = self
                .exchange(request, &mut url, is_ours, held.filter(|_| is_ours))
                .await?;
            match self.redirect(request, &response, &url)? {
                Some(next) if request.has_credential && !self.is_ours(&next) => {
                    let what = "a redirect to another server";
                    return Err(RegistryFault::malformed(what).into());
                }
                Some(next) => url = next,
                None => return Ok((response, url)),
            }
        }
        let what = format!("more than {REDIRECTS} redirects");
        Err(RegistryFault::malformed(what).into())
    }

    /// Exchanges one request for the head of its answer. A registry that may speak either protocol is asked by the
    /// other one if it does not understand the first. Then `url` changes.
    async fn exchange(
        &self,
        request: &RegistryRequest,
        url: &mut Url,
        is_ours: bool,
        held: Option<&HeldAuthorization>,
    ) -> Result<Response, TryFailure> {
        let result = self.execute(request, url.clone(), held).await;
        if self.address.protocol() != RegistryProtocol::Either || !is_ours {
            return Ok(result?);
        }
        match result {
            Err(RegistryFault::Unreachable { source })
                if self.speaks_no_tls(&source)
                    && self.spoken.settle(SpokenProtocol::HTTP) == SpokenProtocol::HTTP
                    && url.scheme() == "https"
                    && url.set_scheme("http").is_ok() =>
            {
                tracing::debug!(host = self.address.host(), "no TLS, trying plain HTTP");
                Ok(self.execute(request, url.clone(), held).await?)
            }
            result => {
                if result.is_ok() && url.scheme() == "https" {
                    self.spoken.settle(SpokenProtocol::HTTPS);
                }
                Ok(result?)
            }
        }
    }

    /// Whether plain HTTP should be tried after this error (BuildKit, `isTLSError` and `isPortError` in
    /// `util/resolver/resolver.go`).
    fn speaks_no_tls(&self, error: &reqwest::Error) -> bool {
        if tls::is_not_tls(error) {
            return true;
        }
        // A refused or silent default port does not mean that the port of plain HTTP is the same.
        let is_refused = tls::io_cause(error)
            .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
        let is_silent = error.is_connect() && error.is_timeout();
        is_silent || is_refused && !self.address.has_port()
    }

    async fn execute(
        &self,
        request: &RegistryRequest,
        url: Url,
        held: Option<&HeldAuthorization>,
    ) -> Result<Response, RegistryFault> {
        let client = self.client().await?;
        let mut sent = self.prepared(request, url, held);
        let length = u64::try_from(request.body.len()).unwrap_or(u64::MAX);
        if length > 0 {
            *sent.body_mut() = Some(request.body.clone().into());
        } else if matches!(request.method, Method::POST | Method::PUT) {
            // Some registries answer 411 to a request without a length, and hyper sends none for an empty body.
            sent.headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let limit = STALL + Duration::from_secs(length / UPLOAD_RATE);
        let response = timeout(limit, client.execute(sent)).await;
        let response = response.map_err(|_| RegistryFault::Stalled {
            seconds: limit.as_secs(),
        })?;
        let response = response.map_err(unreachable)?;
        self.log(request, &response);
        Ok(response)
    }

    /// The request as the HTTP client sends it, without its body. It is counted.
    pub(super) fn prepared(
        &self,
        request: &RegistryRequest,
        url: Url,
        held: Option<&HeldAuthorization>,
    ) -> reqwest::Request {
        let mut sent = reqwest::Request::new(request.method.clone(), url);
        sent.headers_mut().clone_from(&request.headers);
        if !self.is_ours(sent.url()) {
            sent.headers_mut().remove(AUTHORIZATION);
        }
        if let Some(held) = held {
            sent.headers_mut().insert(AUTHORIZATION, held.header());
        }
        self.counter.add(&request.method);
        sent
    }

    pub(super) fn log(&self, request: &RegistryRequest, response: &Response) {
        tracing::trace!(
            host = self.address.host(),
            path = request.shown_path(),
            method = %request.method,
            status = response.status().as_u16(),
            "registry request"
        );
    }

    pub(super) async fn client(&self) -> Result<&Client, RegistryFault> {
        let make = || {
            let spec = RegistryClientSpec {
                skips_certificate_check: self.address.protocol() == RegistryProtocol::Either,
                skips_proxies: self.address.is_this_machine(),
                connect_timeout: CONNECT,
            };
            self.parts
                .provider
                .registry_client(self.address.host(), spec)
        };
        Ok(self.client.get_or_try_init(make).await?)
    }
}
