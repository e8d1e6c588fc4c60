//! What a registry deletes, tested without deleting anything.

use super::RemoteRepository;
use super::api::DeletionApi;
use super::error::{RegistryAct, RegistryError, RegistryFault};
use super::manifest::TagOrDigest;
use super::manifests::Deletion;
use crate::types::Digest;
use crate::types::causes::in_one_line;

/// Whether a registry deletes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeletionRight {
    /// It does.
    Allowed,
    /// It does not have this kind of deletion, or it is switched off.
    Unsupported,
    /// The credential does not allow it, or the registry refuses it for another reason.
    Denied {
        /// Why, for a message.
        reason: String,
    },
}

/// What a registry deletes for this login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeletionRights {
    /// Manifests by their digests.
    pub(crate) manifests: DeletionRight,
    /// Tags without their manifests.
    pub(crate) tags: DeletionRight,
}

impl RemoteRepository {
    /// Asks the registry to delete a digest and a tag that nobody has, because no other request tells what it deletes:
    /// distribution 2 answers 405 if deletion is switched off, and 404 if only the manifest is missing.
    pub(crate) async fn deletion_rights(&self) -> Result<DeletionRights, RegistryError> {
        let failed = Self::failed(RegistryAct::TestDelete, &self.name);
        self.try_deletion_rights().await.map_err(failed)
    }

    async fn try_deletion_rights(&self) -> Result<DeletionRights, RegistryFault> {
        if self.api.as_ref().is_some_and(DeletionApi::tells_no_rights) {
            return Ok(DeletionRights {
                manifests: DeletionRight::Allowed,
                tags: DeletionRight::Unsupported,
            });
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(RegistryFault::NoRandomness)?;
        let name = format!("rbake-nothing-{}", hex::encode(random));
        let manifests = self
            .deletion_right(&Digest::sha256(name.as_bytes()).into())
            .await?;
        // Registries that delete no manifests do not delete tags either, unless an API does.
        let has_api = self.api.is_some();
        let tags = match (&manifests, name.parse()) {
            (right, Ok(tag)) if has_api || *right == DeletionRight::Allowed => {
                self.deletion_right(&TagOrDigest::Tag(tag)).await?
            }
            _ => manifests.clone(),
        };
        Ok(DeletionRights { manifests, tags })
    }

    async fn deletion_right(&self, name: &TagOrDigest) -> Result<DeletionRight, RegistryFault> {
        match self.try_delete(name).await {
            Ok(Deletion::Deleted | Deletion::NotFound) => Ok(DeletionRight::Allowed),
            Ok(Deletion::Unsupported) => Ok(DeletionRight::Unsupported),
            Err(fault) if fault.is_denial() || matches!(fault, RegistryFault::Refused { .. }) => {
                let reason = in_one_line(&fault);
                Ok(DeletionRight::Denied { reason })
            }
            Err(fault) => Err(fault),
        }
    }
}
