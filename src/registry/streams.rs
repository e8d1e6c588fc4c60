//! Requests whose content may be too large for the memory: it is streamed.

use http::header::CONTENT_LENGTH;
use http::{HeaderValue, StatusCode};
use reqwest::{Body, Response, Url};

use super::answer::{read, unreachable};
use super::authorization::HeldAuthorization;
use super::challenge::challenges;
use super::connection::RegistryConnection;
use super::error::RegistryFault;
use super::exchange::{RegistryReply, RegistryRequest};
use super::retry::TryFailure;

impl RegistryConnection {
    /// Sends `request` once; once more if the registry wants another authorization. Returns the answer, with the status
    /// 200, before its body is read. Another status is an error.
    pub(super) async fn open_stream(
        &self,
        request: &RegistryRequest,
    ) -> Result<Response, TryFailure> {
        let response = tokio::select! {
            biased;
            () = self.parts.stop.cancelled() => Err(RegistryFault::Stopped.into()),
            response = self.opened(request) => response,
        };
        if response.is_ok() {
            self.budget.earn();
        }
        response
    }

    async fn opened(&self, request: &RegistryRequest) -> Result<Response, TryFailure> {
        let (provider, host) = (&self.parts.provider, self.address.host());
        let scope = &request.scope;
        let mut held = self.authorizations.current(provider, host, scope).await?;
        // While its body is read, the request does not count as one that is under way.
        let open = async |held: Option<&HeldAuthorization>| {
            let _permit = self.permit().await;
            self.open(request, held).await
        };
        let (mut response, mut url) = open(held.as_deref()).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.is_ours(&url) {
            let challenges = challenges(response.headers());
            let other = self
                .authorizations
                .answer(provider, host, scope, &challenges, held.as_deref())
                .await?;
            if other.is_some() {
                (response, url) = open(other.as_deref()).await?;
                held = other;
            }
        }
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let is_ours = self.is_ours(&url);
        let answer = read(request, response, url, is_ours).await?;
        let reply = self.judge(request, answer, held.as_deref())?;
        Err(reply.fault().into())
    }

    /// Sends `request` with `body`, which has `length` bytes, to `place`. `None` if the registry
    /// wanted another authorization, which is there now: then everything must be sent again. Follows no redirects. The caller has a
    /// [`Self::stream_permit`], limits the time, and ends the request when the run is stopped.
    pub(super) async fn send_stream(
        &self,
        request: &RegistryRequest,
        place: Url,
        body: Body,
        length: u64,
    ) -> Result<Option<RegistryReply>, TryFailure> {
        let (provider, host) = (&self.parts.provider, self.address.host());
        let is_ours = self.is_ours(&place);
        let held = if is_ours {
            let current = self.authorizations.current(provider, host, &request.scope);
            current.await?
        } else {
            None
        };
        let client = self.client().await?;
        let mut sent = self.prepared(request, place.clone(), held.as_deref());
        // Without a length, the body would be sent in chunks, which not all storage servers accept.
        sent.headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
        *sent.body_mut() = Some(body);
        let response = client.execute(sent).await.map_err(unreachable)?;
        self.log(request, &response);
        if response.status() == StatusCode::UNAUTHORIZED && is_ours {
            let challenges = challenges(response.headers());
            let other = self
                .authorizations
                .answer(provider, host, &request.scope, &challenges, held.as_deref())
                .await?;
            if other.is_some() {
                return Ok(None);
            }
        }
        let answer = read(request, response, place, is_ours).await?;
        let reply = self.judge(request, answer, held.as_deref())?;
        self.budget.earn();
        Ok(Some(reply))
    }
}
