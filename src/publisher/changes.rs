//! Single changes of tags, and the announcement of a run in its repositories.

use super::{PublishError, Publisher};
use crate::publish::journal::PublishedTag;
use crate::registry::{RawManifest, RemoteRepository, TagOrDigest};
use crate::types::{Digest, ImageTag};

impl Publisher {
    /// The manifest with this digest.
    pub(super) async fn manifest(
        repository: &RemoteRepository,
        digest: &Digest,
    ) -> Result<RawManifest, PublishError> {
        let found = repository.get(&TagOrDigest::Digest(digest.clone())).await?;
        found.ok_or_else(|| PublishError::Missing {
            repository: repository.name().clone(),
            digest: digest.clone(),
        })
    }

    /// The digest to which `tag` points. `None` if it does not exist.
    pub(super) async fn digest_now(
        repository: &RemoteRepository,
        tag: &ImageTag,
    ) -> Result<Option<Digest>, PublishError> {
        let found = repository.head(&TagOrDigest::Tag(tag.clone())).await?;
        Ok(found.map(|found| found.digest))
    }

    /// Points `tag`, which is at `now`, to `to`, or removes it. Tags are removed by the registry, or by its API.
    pub(super) async fn change(
        &self,
        repository: &RemoteRepository,
        tag: &PublishedTag,
        now: Option<&Digest>,
        to: Option<&Digest>,
    ) -> Result<(), PublishError> {
        match (now, to) {
            (_, Some(to)) => {
                let manifest = Self::manifest(repository, to).await?;
                let name = TagOrDigest::Tag(tag.tag().clone());
                Ok(repository.put(&name, &manifest).await?)
            }
            (None, None) => Ok(()),
            (Some(now), None) => {
                // If somebody else has moved it in the meantime, it is not ours any more.
                let removal = self.registries.remove_tag(repository, tag.tag(), now);
                removal.await?;
                Ok(())
            }
        }
    }

    /// Writes the record of the run into `repositories`. A registry that does not accept records, but accepts images,
    /// does not prevent a publish: what is lost is the recovery from another machine.
    pub(super) async fn announce(
        &self,
        repositories: &[RemoteRepository],
    ) -> Result<(), PublishError> {
        match self.record.publish(repositories, None).await {
            Err(PublishError::Registry(error)) if is_refusal(&error) => {
                self.record.was_refused(&error);
                Ok(())
            }
            other => other,
        }
    }
}

/// Whether the registry understood the request and does not want the record.
pub(super) fn is_refusal(error: &crate::registry::RegistryError) -> bool {
    !error.is_transient() && !error.is_stop() && !error.fault.is_denial()
}
