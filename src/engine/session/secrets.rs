//! Secrets, handed to the daemon when a step asks for them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rbake_proto::secrets::secrets_server::{self, SecretsServer};
use rbake_proto::secrets::{GetSecretRequest, GetSecretResponse};
use tonic::service::RoutesBuilder;
use tonic::{Request, Response, Status};

use super::Attachable;
use crate::files;
use crate::types::Secret;

/// The largest secret that BuildKit takes, in bytes.
pub const SECRET_LIMIT: u64 = 500 * 1024;

/// Where a secret's value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file, read each time it is asked for; the path is absolute and without links.
    File(PathBuf),
    /// Here, as from an environment variable.
    Value(Secret<Bytes>),
}

/// The secrets one session hands out, by id.
///
/// A step that two targets share may ask either target's session, so each knows the secrets of all targets; its own come first.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    own: BTreeMap<String, SecretSource>,
    others: Arc<BTreeMap<String, SecretSource>>,
}

impl Secrets {
    /// The secrets `own` of the session's target, then those of all targets, `others`.
    pub fn new(
        own: BTreeMap<String, SecretSource>,
        others: Arc<BTreeMap<String, SecretSource>>,
    ) -> Self {
        Self { own, others }
    }

    async fn read(&self, id: &str) -> Result<Bytes, Status> {
        match self.own.get(id).or_else(|| self.others.get(id)) {
            None => Err(Status::not_found(format!("secret `{id}` is not defined"))),
            Some(SecretSource::Value(value)) => limited(id, value.expose().clone()),
            Some(SecretSource::File(path)) => {
                let failed = |error: std::io::Error| {
                    let path = path.display();
                    // Not `NotFound`: steps that can do without a secret would go on without one that the user has set.
                    Status::failed_precondition(format!(
                        "cannot read secret `{id}` from `{path}`: {error}"
                    ))
                };
                let place = path.clone();
                let reading = tokio::task::spawn_blocking(move || read_file(&place));
                let data = reading.await.map_err(std::io::Error::from);
                let data = data.and_then(|read| read).map_err(failed)?;
                limited(id, data.into())
            }
        }
    }
}

// One byte more than a secret may have tells that it is too large.
fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut data = Vec::new();
    let file = files::open::file(path)?;
    file.take(SECRET_LIMIT + 1).read_to_end(&mut data)?;
    Ok(data)
}

fn limited(id: &str, data: Bytes) -> Result<Bytes, Status> {
    if data.len() as u64 > SECRET_LIMIT {
        let limit = SECRET_LIMIT / 1024;
        return Err(Status::failed_precondition(format!(
            "secret `{id}` is larger than {limit} KiB"
        )));
    }
    Ok(data)
}

pub(super) struct SecretsAttachable(pub(super) Arc<Secrets>);

impl Attachable for SecretsAttachable {
    fn methods(&self) -> &[&'static str] {
        &["/moby.buildkit.secrets.v1.Secrets/GetSecret"]
    }

    fn mount(&self, routes: &mut RoutesBuilder) {
        routes.add_service(SecretsServer::new(Service(Arc::clone(&self.0))));
    }
}

struct Service(Arc<Secrets>);

#[tonic::async_trait]
impl secrets_server::Secrets for Service {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        let data = self.0.read(&id).await?;
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

    fn of<const N: usize>(own: [(&str, SecretSource); N]) -> Secrets {
        let own = own
            .into_iter()
            .map(|(id, source)| (id.to_owned(), source))
            .collect();
        let others = BTreeMap::from([
            ("a".to_owned(), value("theirs")),
            ("b".to_owned(), value("b")),
        ]);
        Secrets::new(own, Arc::new(others))
    }

    #[tokio::test]
    async fn own_secrets_come_first_and_those_of_other_targets_next() {
        let secrets = of([("a", value("ours"))]);
        assert_eq!(secrets.read("a").await.unwrap(), "ours");
        assert_eq!(secrets.read("b").await.unwrap(), "b");
        assert_eq!(secrets.read("c").await.unwrap_err().code(), Code::NotFound);
    }

    #[tokio::test]
    async fn files_are_read_when_they_are_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let secrets = of([("f", SecretSource::File(path.clone()))]);
        let error = secrets.read("f").await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition);
        assert!(error.message().contains("secret `f`"), "{error}");
        std::fs::write(&path, "one").unwrap();
        assert_eq!(secrets.read("f").await.unwrap(), "one");
        std::fs::write(&path, "two").unwrap();
        assert_eq!(secrets.read("f").await.unwrap(), "two");
    }

    #[tokio::test]
    async fn large_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let secrets = of([("f", SecretSource::File(path.clone()))]);
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
