//! How one registry deletes.

use std::collections::{BTreeMap, BTreeSet};

use super::PruneError;
use super::kinds;
use super::listing::ListedManifest;
use crate::prune::plan::{DeletionTraits, TagRemoval};
use crate::registry::{
    Deletion, DeletionRight, DeletionRights, DeletionSettings, FoundApi, NO_KEYS, RawManifest,
    Registries, RegistryKind, RegistrySecurity, RemoteRepository, SWITCHED_OFF, TagOrDigest,
    Untagged,
};
use crate::types::causes::in_one_line;
use crate::types::{Digest, ImageRepository, ImageTag};

/// Why a registry deletes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeletionObstacle {
    /// The reason.
    pub(crate) reason: String,
    /// What the user can do.
    pub(crate) help: &'static str,
}

/// Deletes from one repository. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Deleter {
    repository: RemoteRepository,
    traits: DeletionTraits,
    /// Why nothing can be deleted. `None` if deletions are possible.
    obstacle: Option<DeletionObstacle>,
    kind: RegistryKind,
}

impl Deleter {
    /// Finds out how the registry of `name` deletes: by its kind, and by asking it to delete what nobody has.
    pub(crate) async fn of(
        registries: &Registries,
        security: RegistrySecurity,
        settings: &DeletionSettings<'_>,
        name: &ImageRepository,
    ) -> Result<Self, PruneError> {
        let mut repository = registries.repository(name, security);
        let kind = settings.kind_at(name.domain());
        let api = match kind {
            Some(kind) => settings.api_of(kind, name.domain(), security).await?,
            None => FoundApi::None,
        };
        match (api, kind) {
            (FoundApi::Api(api), _) => repository = registries.with_api(&repository, &api)?,
            (FoundApi::NoKeys(error), Some(kind)) => {
                let obstacle = DeletionObstacle {
                    reason: in_one_line(&error),
                    help: NO_KEYS,
                };
                return Ok(Self::with_obstacle(repository, kind, obstacle));
            }
            (FoundApi::Unknown, Some(kind)) => {
                let obstacle = DeletionObstacle {
                    reason: "rbake does not know the API by which it deletes".to_owned(),
                    help: kind.login(),
                };
                return Ok(Self::with_obstacle(repository, kind, obstacle));
            }
            _ => {}
        }
        let rights = repository.deletion_rights().await?;
        let kind = match kind {
            Some(kind) => kind,
            None if repository.is_gitlab().await => RegistryKind::Gitlab,
            None => RegistryKind::Distribution,
        };
        let traits = traits_of(kind, &rights);
        Ok(Self {
            obstacle: obstacle(kind, traits, rights),
            repository,
            traits,
            kind,
        })
    }

    /// A deleter that deletes nothing.
    fn with_obstacle(
        repository: RemoteRepository,
        kind: RegistryKind,
        obstacle: DeletionObstacle,
    ) -> Self {
        Self {
            repository,
            traits: kinds::traits(kind).unwrap_or(DeletionTraits::DISTRIBUTION_2),
            obstacle: Some(obstacle),
            kind,
        }
    }

    /// What a login needs that may delete.
    pub(crate) fn login(&self) -> &'static str {
        self.kind.login()
    }

    /// The repository.
    pub(crate) const fn repository(&self) -> &RemoteRepository {
        &self.repository
    }

    /// How the registry deletes.
    pub(crate) const fn traits(&self) -> DeletionTraits {
        self.traits
    }

    /// Why nothing can be deleted. `None` if deletions are possible.
    pub(crate) const fn obstacle(&self) -> Option<&DeletionObstacle> {
        self.obstacle.as_ref()
    }

    /// All manifests of the repository. `None` if the registry does not list them.
    pub(super) async fn list(
        &self,
    ) -> Result<Option<BTreeMap<Digest, ListedManifest>>, PruneError> {
        let versions = self.repository.versions().await?;
        Ok(versions.map(|versions| {
            let listed = versions.into_iter().map(|version| {
                let uploaded = version.updated;
                (version.digest, ListedManifest { uploaded })
            });
            listed.collect()
        }))
    }

    /// The manifests that the registry itself can restore. `None` if it does not.
    pub(super) async fn restorable(&self) -> Result<Option<BTreeSet<Digest>>, PruneError> {
        let deleted = self.repository.deleted_versions().await?;
        let digests = deleted.map(|deleted| deleted.into_iter().map(|version| version.digest));
        Ok(digests.map(Iterator::collect))
    }

    /// Removes `tag` from `manifest`, which stays. `None` if the manifest is not known; then it is read.
    pub(super) async fn remove_tag(
        &self,
        tag: &ImageTag,
        digest: &Digest,
        manifest: Option<&RawManifest>,
    ) -> Result<Untagged, PruneError> {
        Ok(match manifest {
            // Registries count the reading of a manifest as a download.
            Some(manifest) => self.repository.untag_from(tag, manifest).await?,
            None => self.repository.untag(tag, digest).await?,
        })
    }

    /// Deletes the manifest `digest` with the tags that it has.
    pub(super) async fn delete(&self, digest: &Digest) -> Result<Deletion, PruneError> {
        if !self.traits.deletes_manifests() {
            return Ok(Deletion::Unsupported);
        }
        let name = TagOrDigest::Digest(digest.clone());
        Ok(self.repository.delete(&name).await?)
    }

    /// Deletes the manifest `digest`, whose only tag is `tag`.
    pub(super) async fn delete_tagged(
        &self,
        tag: &ImageTag,
        digest: &Digest,
    ) -> Result<Deletion, PruneError> {
        if !self.traits.deletes_with_tags() {
            self.repository
                .delete(&TagOrDigest::Tag(tag.clone()))
                .await?;
        }
        self.delete(digest).await
    }
}

/// The traits of a registry of this kind, which deletes what `rights` tells.
fn traits_of(kind: RegistryKind, rights: &DeletionRights) -> DeletionTraits {
    let (manifests, tags) = (&rights.manifests, &rights.tags);
    match kinds::traits(kind) {
        Some(traits) if *manifests != DeletionRight::Allowed && *tags == DeletionRight::Allowed => {
            traits.without_manifests()
        }
        Some(traits) => traits,
        None if *tags == DeletionRight::Allowed => DeletionTraits::DISTRIBUTION_3,
        // If deletions are switched off, the plan shows what could be deleted, and a warning names the obstacle.
        None => DeletionTraits::DISTRIBUTION_2,
    }
}

/// What prevents all deletions.
fn obstacle(
    kind: RegistryKind,
    traits: DeletionTraits,
    rights: DeletionRights,
) -> Option<DeletionObstacle> {
    let decides = match (traits.tags, rights.tags) {
        // Tags do not go in another way.
        (TagRemoval::Api, tags) => tags,
        (_, DeletionRight::Allowed) => return None,
        _ => rights.manifests,
    };
    match decides {
        DeletionRight::Allowed => None,
        DeletionRight::Unsupported => Some(DeletionObstacle {
            reason: "it is switched off, or not supported".to_owned(),
            help: SWITCHED_OFF,
        }),
        DeletionRight::Denied { reason } => Some(DeletionObstacle {
            reason,
            help: kind.login(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YES: DeletionRight = DeletionRight::Allowed;
    const NO: DeletionRight = DeletionRight::Unsupported;

    fn rights(manifests: DeletionRight, tags: DeletionRight) -> DeletionRights {
        DeletionRights { manifests, tags }
    }

    fn denied() -> DeletionRight {
        DeletionRight::Denied {
            reason: "no".to_owned(),
        }
    }

    /// The traits and the obstacle of a registry of this kind.
    fn found(
        kind: RegistryKind,
        manifests: DeletionRight,
        tags: DeletionRight,
    ) -> (DeletionTraits, Option<String>) {
        let rights = rights(manifests, tags);
        let traits = traits_of(kind, &rights);
        let obstacle = obstacle(kind, traits, rights);
        (traits, obstacle.map(|obstacle| obstacle.help.to_owned()))
    }

    #[test]
    fn a_registry_is_known_by_what_it_deletes() {
        let kind = RegistryKind::Distribution;
        let (two, three) = (
            DeletionTraits::DISTRIBUTION_2,
            DeletionTraits::DISTRIBUTION_3,
        );
        assert_eq!(found(kind, YES, YES), (three, None));
        assert_eq!(found(kind, YES, NO), (two, None));
        assert_eq!(found(kind, YES, denied()), (two, None));
        let (traits, help) = found(kind, NO, NO);
        assert_eq!(traits, two);
        assert!(help.unwrap().contains("storage.delete.enabled"));
        // The plan of another login is shown.
        let (traits, help) = found(kind, denied(), denied());
        assert_eq!(traits.tags, TagRemoval::Replacement);
        assert!(help.unwrap().contains("the right to delete"));
    }

    #[test]
    fn each_kind_says_what_its_login_needs() {
        for (kind, word) in [
            (RegistryKind::Gitlab, "CI_REGISTRY_PASSWORD"),
            (RegistryKind::Google, "artifactregistry"),
            (RegistryKind::DockerHub, "Read, Write and Delete"),
        ] {
            let (_, help) = found(kind, denied(), denied());
            let help = help.unwrap();
            assert!(help.contains(word), "{help}");
            assert!(!help.contains("storage.delete"), "{help}");
        }
    }

    #[test]
    fn docker_hub_deletes_tags_also_if_it_does_not_delete_manifests() {
        let hub = RegistryKind::DockerHub;
        assert_eq!(found(hub, YES, YES), (DeletionTraits::DOCKER_HUB, None));
        let only_tags = DeletionTraits::DOCKER_HUB.without_manifests();
        assert_eq!(found(hub, NO, YES), (only_tags, None));
        assert_eq!(found(hub, denied(), YES), (only_tags, None));
        // Without its tags, no manifest can go.
        assert!(found(hub, YES, denied()).1.is_some());
    }
}
