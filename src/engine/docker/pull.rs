//! Has a Docker Engine pull an image, as `docker pull` does.

use std::time::Duration;

use ::http::Request;

use super::push::header;
use super::{Docker, DockerError};
use crate::credential::Credential;
use crate::engine::failure::clean;
use crate::types::Reference;

/// The most time for a pull.
const LIMIT: Duration = Duration::from_secs(30 * 60);

impl Docker {
    /// Pulls the image `name`. The Engine gets `credential` for its registry.
    pub(crate) async fn pull(
        &self,
        name: &Reference,
        credential: &Credential,
    ) -> Result<(), DockerError> {
        let pulling = self.try_pull(name, credential);
        tokio::time::timeout(LIMIT, pulling)
            .await
            .unwrap_or_else(|_| {
                Err(DockerError::Slow {
                    act: format!("pull `{}`", name.familiar()),
                    host: self.host.to_string(),
                })
            })
    }

    async fn try_pull(&self, name: &Reference, credential: &Credential) -> Result<(), DockerError> {
        let refused = |message: String| DockerError::Pull {
            host: self.host.to_string(),
            image: name.familiar(),
            message: clean(&message),
        };
        let image = name.familiar();
        let tag = name.tag_or_latest().unwrap_or_default();
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if name.has_digest() {
            // The name has the digest, and the Engine ignores a tag beside it.
            query.append_pair("fromImage", &image);
        } else {
            query.append_pair("fromImage", &name.familiar_name());
            query.append_pair("tag", tag);
        }
        let path = format!("{}/images/create?{}", self.prefix, query.finish());
        let mut request = Request::post(&path);
        if !matches!(credential, Credential::Anonymous) {
            let header = header(name.domain(), credential);
            request = request.header("X-Registry-Auth", header.expose());
        }
        let request = request
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .map_err(|_| DockerError::Path(path.clone()))?;
        self.report(request, refused).await.map(drop)
    }
}
