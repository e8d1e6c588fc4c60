//! Registry credentials and tokens for the daemon's pulls and pushes.
//!
//! If possible, the daemon lets rbake fetch a token, so that the secret itself never leaves this machine. It asks for
//! the secret only if a registry accepts nothing else (BuildKit, `util/resolver/authorizer.go`).

use std::sync::Arc;
use std::time::Duration;

use rbake_proto::filesync::auth_server::{self, AuthServer};
use rbake_proto::filesync::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse,
    GetTokenAuthorityRequest, GetTokenAuthorityResponse, VerifyTokenAuthorityRequest,
    VerifyTokenAuthorityResponse,
};
use tonic::{Request, Response, Status};

use super::{Attachable, SessionServices};
use crate::credential::{Error, Provider, TokenRequest};
use crate::engine::connection::QUESTION_LIMIT;
use crate::types::Reference;
use crate::types::causes::in_one_line;

/// The most time for one answer. The daemon waits 60 s and then reports only `context deadline exceeded`, so we
/// answer earlier, with a better message. Slow steps inside have shorter limits, whose errors name the step.
const CREDENTIAL_TIMEOUT: Duration = Duration::from_secs(58);

/// Answers from one [`Provider`], which all sessions of a bake share.
#[derive(Debug, Clone)]
pub(crate) struct Auth {
    provider: Arc<Provider>,
    /// The images that the target writes or names itself, then those that it only reads.
    images: [Arc<[Reference]>; 2],
}

impl Auth {
    /// Answers from `provider`.
    pub(crate) fn new(provider: Arc<Provider>) -> Self {
        Self {
            provider,
            images: Default::default(),
        }
    }

    /// Returns the same for a target that uses these images. If a registry has several credentials and the daemon
    /// does not say for which image it asks, the images decide. The `own` images come before those that the target
    /// only `reads`, such as base images.
    #[must_use]
    pub(crate) fn for_images(mut self, own: Vec<Reference>, reads: Vec<Reference>) -> Self {
        self.images = [own.into(), reads.into()];
        self
    }

    /// The paths of the images at `host`: first the target's own, then those that it only reads.
    fn repositories(&self, host: &str) -> Vec<Vec<String>> {
        let of = |images: &Arc<[Reference]>| {
            let here = images.iter().filter(|image| image.domain() == host);
            here.map(|image| image.path().to_owned()).collect()
        };
        self.images.iter().map(of).collect()
    }
}

impl Attachable for Auth {
    fn methods(&self) -> &[&'static str] {
        &[
            "/moby.filesync.v1.Auth/Credentials",
            "/moby.filesync.v1.Auth/FetchToken",
            "/moby.filesync.v1.Auth/GetTokenAuthority",
            "/moby.filesync.v1.Auth/VerifyTokenAuthority",
        ]
    }

    fn mount(&self, services: &mut SessionServices) {
        let server = AuthServer::new(self.clone());
        services.add(server.max_decoding_message_size(QUESTION_LIMIT));
    }
}

/// Converts an error. `Unavailable` makes the daemon ask for the credential instead of a token; any other code fails
/// the daemon's pull or push with our text.
fn status(error: &Error) -> Status {
    let text = in_one_line(error);
    match error {
        Error::TokensDisabled => Status::unavailable(text),
        Error::Refused {
            status: 401 | 403, ..
        } => Status::unauthenticated(text),
        _ => Status::unknown(text),
    }
}

/// Limits `work` to `CREDENTIAL_TIMEOUT`.
async fn answer<T>(host: &str, work: impl Future<Output = Result<T, Error>>) -> Result<T, Status> {
    if let Ok(result) = tokio::time::timeout(CREDENTIAL_TIMEOUT, work).await {
        return result.map_err(|error| status(&error));
    }
    let host = host.escape_debug();
    let seconds = CREDENTIAL_TIMEOUT.as_secs();
    let message = format!("no credentials for `{host}` were found within {seconds} s");
    Err(Status::deadline_exceeded(message))
}

#[tonic::async_trait]
impl auth_server::Auth for Auth {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let host = request.into_inner().host;
        let repositories = self.repositories(&host);
        let work = self.provider.credential(&host, &[], &repositories);
        let credential = answer(&host, work).await?;
        let (username, secret) = credential.as_pair();
        Ok(Response::new(CredentialsResponse {
            username: username.to_owned(),
            secret: secret.to_owned(),
        }))
    }

    async fn fetch_token(
        &self,
        request: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        let request = request.into_inner();
        let request = TokenRequest {
            repositories: self.repositories(&request.host),
            host: request.host,
            realm: request.realm,
            service: request.service,
            scopes: request.scopes,
            client_id: request.client_id,
        };
        let token = answer(&request.host, self.provider.token_for_daemon(&request)).await?;
        Ok(Response::new(FetchTokenResponse {
            token: token.value.expose().clone(),
            expires_in: token.expires_in,
            issued_at: token.issued_at,
        }))
    }

    async fn get_token_authority(
        &self,
        request: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        let request = request.into_inner();
        let work = self.provider.token_authority(&request.host, &request.salt);
        let key = answer(&request.host, work).await?;
        Ok(Response::new(GetTokenAuthorityResponse {
            public_key: key.to_vec().into(),
        }))
    }

    async fn verify_token_authority(
        &self,
        request: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        let request = request.into_inner();
        let (host, salt) = (&request.host, &request.salt);
        let work = self
            .provider
            .verify_token_authority(host, salt, &request.payload);
        let signed = answer(host, work).await?;
        Ok(Response::new(VerifyTokenAuthorityResponse {
            signed: signed.into(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::auth_server::Auth as _;
    use super::*;
    use crate::credential::ProviderOptions;
    use crate::types::Environment;
    use tonic::Code;

    fn auth<const N: usize>(variables: [(&str, &str); N]) -> Auth {
        let environment = Environment::of(variables, "/");
        let provider = Provider::new(ProviderOptions::new(&environment));
        Auth::new(Arc::new(provider))
    }

    fn of(host: &str) -> Request<CredentialsRequest> {
        Request::new(CredentialsRequest {
            host: host.to_owned(),
        })
    }

    #[tokio::test]
    async fn an_unknown_host_has_an_empty_credential() {
        let answer = auth([])
            .credentials(of("r.example"))
            .await
            .unwrap()
            .into_inner();
        assert_eq!((answer.username.as_str(), answer.secret.as_str()), ("", ""));
    }

    #[tokio::test]
    async fn configured_hosts_get_their_credentials() {
        let config = r#"{"auths":{"r.example":{"auth":"dTpw"},"h.example/a":{"auth":"YTpw"},"h.example/b":{"auth":"Yjpw"}}}"#;
        let auth = auth([("DOCKER_AUTH_CONFIG", config)]);
        let answer = auth
            .credentials(of("r.example"))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            (answer.username.as_str(), answer.secret.as_str()),
            ("u", "p")
        );
        let auth = auth.for_images(vec!["h.example/b/image:1".parse().unwrap()], Vec::new());
        let answer = auth
            .credentials(of("h.example"))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            answer.username, "b",
            "the target's own image is below `h/b`"
        );
    }

    #[tokio::test]
    async fn no_token_authority_is_offered_if_client_tokens_are_disabled() {
        let auth = auth([("BUILDKIT_NO_CLIENT_TOKEN", "true")]);
        let request = GetTokenAuthorityRequest {
            host: "r.example".to_owned(),
            salt: b"s".to_vec().into(),
        };
        let error = auth
            .get_token_authority(Request::new(request))
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::Unavailable);
    }
}
