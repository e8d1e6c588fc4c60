//! Which software a registry is, if it says so.

use http::Method;
use http::header::HeaderName;

use super::RemoteRepository;
use super::exchange::RequestTarget;
use crate::types::causes::in_one_line;

/// The header by which GitLab's registry is recognised, in its answer to `GET /v2/` (its documentation, "Differences From
/// Upstream").
const GITLAB: HeaderName = HeaderName::from_static("gitlab-container-registry-version");

/// The most bytes of the answer, which has no content of interest.
const LARGEST: usize = 64 << 10;

impl RemoteRepository {
    /// Whether the registry says that it is GitLab's. False if it says nothing, or does not answer.
    pub(crate) async fn is_gitlab(&self) -> bool {
        let mut request = self.request(Method::GET, "").limit(LARGEST);
        request.target = RequestTarget::Path("/v2/".to_owned());
        match self.connection.perform(&request).await {
            Ok(reply) => reply.headers.contains_key(&GITLAB),
            Err(fault) => {
                let (host, cause) = (self.connection.address.host(), in_one_line(&fault));
                tracing::debug!(host, cause, "the registry does not say which one it is");
                false
            }
        }
    }
}
