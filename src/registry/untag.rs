//! Removes a tag, but never the manifest that it names: other tags and indexes may name the same one.

use super::RemoteRepository;
use super::error::{RegistryAct, RegistryError, RegistryFault};
use super::manifest::{RawManifest, TagOrDigest};
use super::manifests::Deletion;
use super::placeholder::EMPTY_BLOB;
use crate::types::causes::in_one_line;
use crate::types::retry::backoff;
use crate::types::{Digest, ImageTag};

/// How often a tag is looked up after its deletion: with 202, a registry only says that it will delete.
const LOOKS: u32 = 5;

/// What became of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Untagged {
    /// It was removed. Its manifest is still there.
    Removed,
    /// It did not exist.
    Gone,
    /// It names another manifest than the expected one, so nothing was changed; or another client set it while it was
    /// being removed.
    Moved {
        /// The manifest that it names.
        now: Digest,
    },
    /// The registry deletes neither tags nor manifests. The tag is as it was.
    Unsupported,
}

impl RemoteRepository {
    /// Removes `tag` if it names the manifest `expected`. The manifest, its other tags and the manifests below it stay.
    ///
    /// If the registry cannot delete a tag, rbake sets it to a manifest that nothing else names, and deletes that. If
    /// the deletion fails, the tag is set back. Once something was changed, a stopped run does not end this. If the
    /// future is dropped or rbake is killed then, the tag may be left at a manifest of the type
    /// `application/vnd.rbake.removed.v1+json`.
    pub(crate) async fn untag(
        &self,
        tag: &ImageTag,
        expected: &Digest,
    ) -> Result<Untagged, RegistryError> {
        let name = TagOrDigest::Tag(tag.clone());
        let failed = Self::failed(RegistryAct::RemoveTag, self.image(&name));
        self.try_untag(tag, name, expected, None)
            .await
            .map_err(failed)
    }

    /// The same for a tag of `manifest`, which is not read then.
    pub(crate) async fn untag_from(
        &self,
        tag: &ImageTag,
        manifest: &RawManifest,
    ) -> Result<Untagged, RegistryError> {
        let name = TagOrDigest::Tag(tag.clone());
        let failed = Self::failed(RegistryAct::RemoveTag, self.image(&name));
        self.try_untag(tag, name, manifest.digest(), Some(manifest))
            .await
            .map_err(failed)
    }

    async fn try_untag(
        &self,
        tag: &ImageTag,
        name: TagOrDigest,
        expected: &Digest,
        manifest: Option<&RawManifest>,
    ) -> Result<Untagged, RegistryFault> {
        if let Some(other) = self.other_than(&name, expected).await? {
            return Ok(other);
        }
        // Some registries delete the manifest with its tag. Then it is written again.
        let by_digest = TagOrDigest::Digest(expected.clone());
        let manifest = match manifest {
            Some(manifest) => Some(manifest.clone()),
            None => self.try_get(&by_digest).await?,
        };
        let Some(manifest) = manifest else {
            let what = "it has the tag, but not its manifest";
            return Err(RegistryFault::malformed(what));
        };
        let removal = TagRemoval {
            repository: self.finishing(),
            name,
            manifest,
        };
        let is_deleted = match removal.repository.try_delete(&removal.name).await? {
            Deletion::Deleted => true,
            // An earlier try may have deleted it. Or the registry looks for a digest of this form.
            Deletion::NotFound => removal.now().await?.as_ref() != Some(expected),
            Deletion::Unsupported => false,
        };
        if is_deleted {
            return removal.confirm(None).await;
        }
        let placeholder = self.placeholder(tag)?;
        if !self.deletes_manifests(&placeholder).await? {
            return Ok(Untagged::Unsupported);
        }
        let empty = Digest::sha256(&EMPTY_BLOB);
        if !self.try_has_blob(&empty).await? {
            self.try_put_blob(&EMPTY_BLOB, &empty).await?;
        }
        match self.other_than(&removal.name, expected).await? {
            Some(other) => Ok(other),
            None => removal.by(&placeholder).await,
        }
    }

    /// Whether manifests are deleted here. `nobodys` is one that the registry cannot have.
    async fn deletes_manifests(&self, nobodys: &RawManifest) -> Result<bool, RegistryFault> {
        if let Some(api) = &self.api
            && let Some(deletes) = api.deletes_manifests().await?
        {
            return Ok(deletes);
        }
        let by_digest = TagOrDigest::Digest(nobodys.digest().clone());
        Ok(self.try_delete(&by_digest).await? != Deletion::Unsupported)
    }

    /// The result if `name` does not name `expected`.
    async fn other_than(
        &self,
        name: &TagOrDigest,
        expected: &Digest,
    ) -> Result<Option<Untagged>, RegistryFault> {
        Ok(match self.try_head(name).await? {
            None => Some(Untagged::Gone),
            Some(found) if found.digest == *expected => None,
            Some(found) => Some(Untagged::Moved { now: found.digest }),
        })
    }
}

/// The steps after which something may have to be put back.
struct TagRemoval {
    repository: RemoteRepository,
    name: TagOrDigest,
    /// The manifest that the tag named.
    manifest: RawManifest,
}

impl TagRemoval {
    /// The manifest that the tag names.
    async fn now(&self) -> Result<Option<Digest>, RegistryFault> {
        let found = self.repository.try_head(&self.name).await?;
        Ok(found.map(|found| found.digest))
    }

    /// Sets the tag to `placeholder`, and deletes that.
    async fn by(&self, placeholder: &RawManifest) -> Result<Untagged, RegistryFault> {
        let digest = placeholder.digest();
        if let Err(fault) = self.repository.try_put(&self.name, placeholder).await {
            // It may be set although the answer was lost.
            self.put_back(digest, Some(&fault)).await?;
            return Err(fault);
        }
        match self.delete(digest).await {
            Ok(Deletion::Deleted | Deletion::NotFound) => self.confirm(Some(digest)).await,
            Ok(Deletion::Unsupported) => {
                self.put_back(digest, None).await?;
                Ok(Untagged::Unsupported)
            }
            Err(fault) => {
                self.put_back(digest, Some(&fault)).await?;
                Err(fault)
            }
        }
    }

    /// Deletes `placeholder`, which was just written. The list of an API may be behind the registry, so an API that does not
    /// find it is asked again.
    async fn delete(&self, placeholder: &Digest) -> Result<Deletion, RegistryFault> {
        let name = TagOrDigest::Digest(placeholder.clone());
        for look in 1..LOOKS {
            let deletion = self.repository.try_delete(&name).await?;
            let is_behind = deletion == Deletion::NotFound
                && self.repository.api.is_some()
                && self.now().await?.as_ref() == Some(placeholder);
            if !is_behind {
                return Ok(deletion);
            }
            self.pause(look).await;
        }
        self.repository.try_delete(&name).await
    }

    /// Sets the tag back if it names the placeholder. `cause` is for the log.
    async fn put_back(
        &self,
        placeholder: &Digest,
        cause: Option<&RegistryFault>,
    ) -> Result<(), RegistryFault> {
        let image = self.repository.image(&self.name);
        let put_back = async {
            if self.now().await?.as_ref() == Some(placeholder) {
                self.repository.try_put(&self.name, &self.manifest).await?;
            }
            Ok(())
        };
        put_back.await.map_err(|last| {
            let cause = cause.map(|cause| in_one_line(cause));
            tracing::warn!(image, %placeholder, cause, "the tag may name a placeholder");
            RegistryFault::NotPutBack {
                image,
                last: Box::new(last),
            }
        })
    }

    /// Checks that the tag is gone, and that its manifest is not. The registry deleted the tag, or with it the
    /// `placeholder`.
    async fn confirm(&self, placeholder: Option<&Digest>) -> Result<Untagged, RegistryFault> {
        self.keep_manifest().await?;
        let deleted = placeholder.unwrap_or(self.manifest.digest());
        for look in 1..=LOOKS {
            match self.now().await? {
                None => return Ok(Untagged::Removed),
                Some(now) if now != *deleted => return Ok(Untagged::Moved { now }),
                Some(_) if look < LOOKS => self.pause(look).await,
                Some(_) => {}
            }
        }
        let fault = RegistryFault::malformed("the tag is still there after its deletion");
        if let Some(placeholder) = placeholder {
            self.put_back(placeholder, Some(&fault)).await?;
        }
        Err(fault)
    }

    /// Writes the manifest again if it was deleted with the tag.
    async fn keep_manifest(&self) -> Result<(), RegistryFault> {
        let name = TagOrDigest::Digest(self.manifest.digest().clone());
        if self.repository.try_head(&name).await?.is_some() {
            return Ok(());
        }
        let image = self.repository.image(&name);
        tracing::warn!(
            image,
            "the registry deleted the manifest with its tag, writing it again"
        );
        let written = self.repository.try_put(&name, &self.manifest).await;
        written.map_err(|last| RegistryFault::NotPutBack {
            image,
            last: Box::new(last),
        })
    }

    /// Waits for the registry, unless the run was stopped.
    async fn pause(&self, look: u32) {
        let connection = &self.repository.connection;
        tokio::select! {
            biased;
            () = connection.parts.stop.cancelled() => {}
            () = connection.pauses.pause(backoff(look)) => {}
        }
    }
}
