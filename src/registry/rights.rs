//! Whether a repository may be pushed to, tested before any work begins.

use http::{Method, StatusCode};

use super::RemoteRepository;
use super::error::{RegistryAct, RegistryError, RegistryFault};
use crate::types::causes::in_one_line;

/// Whether rbake may push to a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PushRight {
    /// The registry started an upload.
    Allowed,
    /// The registry, or its token server, refused.
    Denied {
        /// Why, for a message.
        reason: String,
    },
    /// The registry answered with something else.
    Unknown {
        /// What, for a message.
        reason: String,
    },
}

impl RemoteRepository {
    /// Starts an upload and cancels it. Fails only if the registry or its token server cannot be reached.
    pub(crate) async fn can_push(&self) -> Result<PushRight, RegistryError> {
        let request = self.request(Method::POST, "blobs/uploads/");
        let reason = |fault: &RegistryFault| in_one_line(fault);
        match self.connection.perform(&request).await {
            Ok(reply) if reply.status == StatusCode::ACCEPTED => {
                self.cancel_upload(&reply).await;
                Ok(PushRight::Allowed)
            }
            Ok(reply) => {
                let fault = reply.fault();
                let reason = reason(&fault);
                // Some registries do not create repositories at the first push, and some are only for reading.
                let is_denied = matches!(
                    reply.status,
                    StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
                );
                Ok(if is_denied {
                    PushRight::Denied { reason }
                } else {
                    PushRight::Unknown { reason }
                })
            }
            Err(fault) if fault.is_denial() => Ok(PushRight::Denied {
                reason: reason(&fault),
            }),
            Err(fault @ RegistryFault::Malformed { .. }) => Ok(PushRight::Unknown {
                reason: reason(&fault),
            }),
            Err(fault) => Err(fault.at(RegistryAct::TestPush, &self.name)),
        }
    }
}
