//! Docker Hub's own API, by which it removes tags. Its registry answers 405 to the deletion of a tag, and deletes manifests
//! itself.
//!
//! The login of the registry is exchanged for a token of the API (docs.docker.com, "Create access token"). The deletion of a
//! tag is not in that documentation; Docker's own client uses it (docker/hub-tool, `pkg/hub/tags.go`). More requests than
//! the rate limit allows are answered with 429 and a time.

use std::fmt;
use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;

use super::server::{ApiAddress, ApiServer};
use crate::credential::Credential;
use crate::registry::error::RegistryFault;
use crate::registry::exchange::{RegistryReply, RegistryRequest};
use crate::registry::manifests::Deletion;
use crate::registry::{Registries, RemoteRepository};
use crate::types::{ImageTag, Secret};

/// The largest answer with a token, in bytes.
const LARGEST_TOKEN: usize = 64 << 10;

/// The tags of a repository. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::registry) struct HubTags(Arc<HubParts>);

#[derive(Debug)]
struct HubParts {
    server: ApiServer,
    /// The host whose credential is exchanged.
    registry: String,
    /// The path of the tags, with a slash at its end.
    tags: String,
    /// The token of the API. `None` before the first request.
    token: Mutex<Option<HubToken>>,
}

#[derive(Clone, PartialEq, Eq)]
struct HubToken(Secret<String>);

impl fmt::Debug for HubToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HubToken(..)")
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
}

impl HubTags {
    /// The tags of `repository`.
    ///
    /// # Errors
    /// Its name is not that of a repository of Docker Hub.
    pub(super) fn new(
        registries: &Registries,
        repository: &RemoteRepository,
        address: &ApiAddress,
    ) -> Result<Self, RegistryFault> {
        let name = repository.name();
        let parts = name.path().split_once('/');
        let (namespace, image) =
            parts
                .filter(|(_, image)| !image.contains('/'))
                .ok_or_else(|| {
                    RegistryFault::malformed(
                        "a repository that is not of the form `namespace/name`",
                    )
                })?;
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let (namespace, image) = (encode(namespace), encode(image));
        Ok(Self(Arc::new(HubParts {
            server: ApiServer::new(registries, repository, address),
            registry: name.domain().to_owned(),
            tags: format!("/v2/namespaces/{namespace}/repositories/{image}/tags/"),
            token: Mutex::default(),
        })))
    }

    /// Removes a tag. Its manifest stays.
    pub(super) async fn delete(
        &self,
        tag: &ImageTag,
        finishes: bool,
    ) -> Result<Deletion, RegistryFault> {
        let reply = match self.try_delete(tag, finishes, None).await {
            // Tokens are valid for some minutes only.
            Err((Some(old), RegistryFault::Denied { status: 401, .. })) => {
                let again = self.try_delete(tag, finishes, Some(&old)).await;
                again.map_err(|(_, fault)| fault)?
            }
            Err((_, fault)) => return Err(fault),
            Ok(reply) => reply,
        };
        match reply.status {
            status if status.is_success() => Ok(Deletion::Deleted),
            StatusCode::NOT_FOUND => Ok(Deletion::NotFound),
            StatusCode::METHOD_NOT_ALLOWED => Ok(Deletion::Unsupported),
            _ => Err(reply.fault()),
        }
    }

    /// Sends the request, with another token than `refused`. The error has the token if it was not new.
    async fn try_delete(
        &self,
        tag: &ImageTag,
        finishes: bool,
        refused: Option<&HubToken>,
    ) -> Result<RegistryReply, (Option<HubToken>, RegistryFault)> {
        let (token, is_new) = self.token(refused).await.map_err(|fault| (None, fault))?;
        let tag = utf8_percent_encode(tag.as_str(), NON_ALPHANUMERIC);
        let request = self.0.server.request(
            Method::DELETE,
            // A dot alone would be a step in the path; a tag never is one, and dots are encoded.
            &format!("{}{tag}", self.0.tags),
        );
        let sent = async {
            let mut request = with_token(request?, &token)?;
            request.finishes = finishes;
            self.0.server.perform(&request).await
        };
        sent.await
            .map_err(|fault| ((!is_new).then_some(token), fault))
    }

    /// A token other than `refused`, and whether it was fetched by this call.
    async fn token(&self, refused: Option<&HubToken>) -> Result<(HubToken, bool), RegistryFault> {
        let mut held = self.0.token.lock().await;
        if let Some(token) = held.as_ref().filter(|token| Some(*token) != refused) {
            return Ok((token.clone(), false));
        }
        let token = self.fetch().await?;
        *held = Some(token.clone());
        Ok((token, true))
    }

    /// Exchanges the login for a token.
    async fn fetch(&self) -> Result<HubToken, RegistryFault> {
        let server = &self.0.server;
        let provider = &server.connection.parts.provider;
        let credential = provider.credential(&self.0.registry, &[], &[]).await;
        let credential = credential.map_err(|error| RegistryFault::Credential(Arc::new(error)))?;
        let Credential::Basic { username, password } = credential else {
            return Err(RegistryFault::NoLogin);
        };
        let login = json!({"identifier": username, "secret": password.expose()});
        let mut request = server
            .request(Method::POST, "/v2/auth/token")?
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(login.to_string().into())
            .limit(LARGEST_TOKEN);
        request.secrets.push(password);
        let reply = server.perform(&request).await?;
        if !reply.status.is_success() {
            return Err(reply.fault());
        }
        let answer: TokenAnswer = serde_json::from_slice(&reply.body)
            .map_err(|_| RegistryFault::malformed("not a valid answer with a token"))?;
        Ok(HubToken(Secret::new(answer.access_token)))
    }
}

fn with_token(
    mut request: RegistryRequest,
    token: &HubToken,
) -> Result<RegistryRequest, RegistryFault> {
    let text = token.0.expose();
    let bad = |_| RegistryFault::malformed("a token with control characters");
    let mut value = HeaderValue::from_str(&format!("Bearer {text}")).map_err(bad)?;
    value.set_sensitive(true);
    request.secrets.push(token.0.clone());
    Ok(request.header(AUTHORIZATION, value))
}
