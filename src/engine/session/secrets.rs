//! Secrets, which the daemon requests when a step needs them.
//!
//! A session answers for the secrets of its own target only. If several targets share a step, the daemon asks their
//! sessions one after another (BuildKit, `session/group.go`, `Any`), so the step still finds its secret. A session
//! that answered for other targets would give their secrets to steps that must not have them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rbake_proto::secrets::secrets_server::{self, SecretsServer};
use rbake_proto::secrets::{GetSecretRequest, GetSecretResponse};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::daemon_text::shortened;
use super::secret_file::SecretFile;
use super::{Attachable, SessionServices};
use crate::engine::connection::QUESTION_LIMIT;
use crate::types::Secret;

/// The largest secret that BuildKit accepts, in bytes.
pub(crate) const SECRET_LIMIT: u64 = 500 * 1024;

/// The most time for reading a secret's file: a pipe may never get a writer, and a disk may not respond.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// The source of a secret's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file, which is read for each request; a pipe is read only once.
    File(SecretFile),
    /// The value itself, for example from an environment variable.
    Value(Secret<Bytes>),
}

/// The secrets of one target, by id. Clones share their state.
#[derive(Debug, Clone)]
pub struct Secrets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sources: BTreeMap<String, SecretSource>,
    patience: Duration,
    failure: watch::Sender<Option<String>>,
}

impl Secrets {
    /// The secrets of one target, by id.
    pub fn new(sources: BTreeMap<String, SecretSource>) -> Self {
        Self::with_patience(sources, READ_TIMEOUT)
    }

    fn with_patience(sources: BTreeMap<String, SecretSource>, patience: Duration) -> Self {
        Self(Arc::new(Inner {
            sources,
            patience,
            failure: watch::Sender::new(None),
        }))
    }

    /// Completes with the reason when a secret of the target could not be read. Never completes if all could be read.
    ///
    /// A secret that the user has set and that cannot be read must end the target, but the daemon does not do so:
    /// after an error, it asks the next session, and if that does not know the secret, a step for which the secret is
    /// optional runs without it.
    pub async fn failed(&self) -> String {
        let mut failure = self.0.failure.subscribe();
        let reason = failure.wait_for(Option::is_some).await;
        let reason = reason.ok().and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }

    async fn read(&self, id: &str) -> Result<Bytes, Status> {
        let Some(source) = self.0.sources.get(id) else {
            let id = shortened(id.as_bytes());
            return Err(Status::not_found(format!("secret `{id}` is not defined")));
        };
        match value(id, source, self.0.patience).await {
            Ok(data) => Ok(data),
            Err(reason) => {
                self.0.failure.send_replace(Some(reason.clone()));
                // Not `NotFound`, because then a step for which the secret is optional would run without it, although
                // the user has set it.
                Err(Status::failed_precondition(reason))
            }
        }
    }
}

async fn value(id: &str, source: &SecretSource, patience: Duration) -> Result<Bytes, String> {
    match source {
        SecretSource::Value(value) => limited(id, value.expose().clone()),
        SecretSource::File(file) => match file.read(patience).await {
            Ok(content) => limited(id, content.expose().clone()),
            Err(problem) => {
                let path = file.path().display();
                Err(format!(
                    "cannot read secret `{id}` from `{path}`: {problem}"
                ))
            }
        },
    }
}

/// Fails if the secret is larger than BuildKit accepts.
fn limited(id: &str, data: Bytes) -> Result<Bytes, String> {
    if data.len() as u64 > SECRET_LIMIT {
        let limit = SECRET_LIMIT / 1024;
        return Err(format!("secret `{id}` is larger than {limit} KiB"));
    }
    Ok(data)
}

pub(super) struct SecretsAttachable(pub(super) Secrets);

impl Attachable for SecretsAttachable {
    fn methods(&self) -> &[&'static str] {
        &["/moby.buildkit.secrets.v1.Secrets/GetSecret"]
    }

    fn mount(&self, services: &mut SessionServices) {
        let server = SecretsServer::new(Service(self.0.clone()));
        services.add(server.max_decoding_message_size(QUESTION_LIMIT));
    }
}

struct Service(Secrets);

#[tonic::async_trait]
impl secrets_server::Secrets for Service {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        let read = self.0.read(&id).await;
        let code = read
            .as_ref()
            .err()
            .map(|status| tracing::field::debug(status.code()));
        tracing::trace!(id = %shortened(id.as_bytes()), refused = code, "secret asked for");
        let data = read?;
        Ok(Response::new(GetSecretResponse { data }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn value(text: &'static str) -> SecretSource {
        SecretSource::Value(Secret::new(Bytes::from_static(text.as_bytes())))
    }

    fn file(path: impl AsRef<std::path::Path>) -> SecretSource {
        SecretSource::File(path.as_ref().to_owned().into())
    }

    fn of<const N: usize>(own: [(&str, SecretSource); N]) -> Secrets {
        let own = own.into_iter().map(|(id, source)| (id.to_owned(), source));
        Secrets::new(own.collect())
    }

    #[tokio::test]
    async fn a_target_serves_only_its_own_secrets() {
        let secrets = of([("a", value("ours"))]);
        assert_eq!(secrets.read("a").await.unwrap(), "ours");
        for other in ["b", "GIT_AUTH_TOKEN", "GIT_AUTH_TOKEN.example.com", ""] {
            let error = secrets.read(other).await.unwrap_err();
            assert_eq!(error.code(), Code::NotFound, "{other}");
        }
        assert!(futures_util::poll!(std::pin::pin!(secrets.failed())).is_pending());
    }

    #[tokio::test]
    async fn an_unreadable_secret_is_recorded_for_the_target() {
        let secrets = of([("f", file("/nonexistent/token"))]);
        let waiting = secrets.clone();
        let failed = tokio::spawn(async move { waiting.failed().await });
        assert!(secrets.read("f").await.is_err());
        let reason = failed.await.unwrap();
        assert!(reason.starts_with("cannot read secret `f` from `/nonexistent/token`"));
    }

    #[tokio::test(start_paused = true)]
    async fn reading_a_pipe_without_a_writer_times_out() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&reader);
        let path = format!("/dev/fd/{fd}");
        let sources = BTreeMap::from([("p".to_owned(), file(&path))]);
        let second = Duration::from_secs(1);
        let secrets = Secrets::with_patience(sources, second);
        // Tokio does not advance a paused clock by itself while a blocking thread works.
        let (read, ()) = tokio::join!(secrets.read("p"), tokio::time::advance(second));
        let error = read.unwrap_err();
        assert!(error.message().contains("within 1 s"), "{error}");
    }

    #[tokio::test]
    async fn files_are_read_when_their_secret_is_requested() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let secrets = of([("f", file(&path))]);
        let error = secrets.read("f").await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition);
        assert!(error.message().contains("secret `f`"), "{error}");
        std::fs::write(&path, "one").unwrap();
        assert_eq!(secrets.read("f").await.unwrap(), "one");
        std::fs::write(&path, "two").unwrap();
        assert_eq!(secrets.read("f").await.unwrap(), "two");
    }

    #[tokio::test]
    async fn requests_are_limited_in_size() {
        let channel = super::super::peer::channel(&SecretsAttachable(of([]))).await;
        let mut client = rbake_proto::secrets::secrets_client::SecretsClient::new(channel);
        let mut ask = async |length: usize| {
            let request = GetSecretRequest {
                id: "x".repeat(length),
                ..GetSecretRequest::default()
            };
            client
                .get_secret(request)
                .await
                .map(drop)
                .unwrap_err()
                .code()
        };
        assert_eq!(ask(QUESTION_LIMIT / 2).await, Code::NotFound);
        assert_eq!(ask(QUESTION_LIMIT).await, Code::OutOfRange);
    }

    #[tokio::test]
    async fn large_secrets_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let secrets = of([("f", file(&path))]);
        let size = usize::try_from(SECRET_LIMIT).unwrap();
        std::fs::write(&path, vec![0; size]).unwrap();
        assert_eq!(secrets.read("f").await.unwrap().len(), size);
        std::fs::write(&path, vec![0; size + 1]).unwrap();
        assert!(
            secrets
                .read("f")
                .await
                .unwrap_err()
                .message()
                .contains("500 KiB")
        );
    }
}
