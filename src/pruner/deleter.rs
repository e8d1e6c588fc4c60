//! How one registry deletes.

use std::collections::{BTreeMap, BTreeSet};

use super::PruneError;
use super::listing::ListedManifest;
use crate::prune::plan::DeletionTraits;
use crate::registry::{
    Deletion, DeletionRight, DeletionRights, Registries, RegistrySecurity, RemoteRepository,
    TagOrDigest, Untagged,
};
use crate::types::{Digest, Environment, ImageRepository, ImageTag};

/// Where GitHub's registry is, and the API by which it deletes.
#[derive(Debug, Clone)]
pub(crate) struct GithubPackages {
    registry: String,
    api: String,
}

impl GithubPackages {
    /// GitHub's own, or those of an Enterprise Server: `GITHUB_API_URL` is set in workflows, and the registry of such a
    /// server has any name.
    pub(crate) fn of(environment: &Environment) -> Self {
        let text = |name: &str, default: &str| {
            let value = environment.non_empty(name);
            value.unwrap_or(default).to_owned()
        };
        Self {
            registry: text("RBAKE_GITHUB_REGISTRY", "ghcr.io"),
            api: text("GITHUB_API_URL", "https://api.github.com"),
        }
    }
}

/// Deletes from one repository. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Deleter {
    repository: RemoteRepository,
    traits: DeletionTraits,
    /// Why nothing can be deleted. `None` if deletions are possible.
    obstacle: Option<String>,
}

/// A registry whose way of deleting no request tells.
struct KnownRegistry {
    /// The end of its domain, or all of it.
    domain: &'static str,
    traits: DeletionTraits,
    /// Why rbake does not delete there. `None` if it does.
    obstacle: Option<&'static str>,
}

const KNOWN: [KnownRegistry; 6] = [
    KnownRegistry {
        domain: "gcr.io",
        traits: DeletionTraits::GOOGLE,
        obstacle: None,
    },
    KnownRegistry {
        domain: ".gcr.io",
        traits: DeletionTraits::GOOGLE,
        obstacle: None,
    },
    KnownRegistry {
        domain: ".pkg.dev",
        traits: DeletionTraits::GOOGLE,
        obstacle: None,
    },
    KnownRegistry {
        domain: "registry.gitlab.com",
        traits: DeletionTraits::GITLAB,
        obstacle: None,
    },
    KnownRegistry {
        domain: ".amazonaws.com",
        traits: DeletionTraits::ECR,
        obstacle: Some(
            "Amazon's registry deletes only by its own API, for which requests are signed; give the digests of the plan to `aws ecr batch-delete-image`, or use a lifecycle policy",
        ),
    },
    KnownRegistry {
        domain: "docker.io",
        traits: DeletionTraits::DOCKER_HUB,
        obstacle: Some(
            "Docker Hub deletes only by its own API, and only tags; delete the tags of the plan on its website",
        ),
    },
];

impl KnownRegistry {
    fn of(domain: &str) -> Option<&'static Self> {
        KNOWN.iter().find(|known| {
            known.domain == domain
                || known.domain.starts_with('.') && domain.ends_with(known.domain)
        })
    }
}

impl Deleter {
    /// Finds out how the registry of `name` deletes: by its domain, and by asking it to delete what nobody has.
    pub(crate) async fn of(
        registries: &Registries,
        security: RegistrySecurity,
        github: &GithubPackages,
        name: &ImageRepository,
    ) -> Result<Self, PruneError> {
        let repository = &registries.repository(name, security);
        let domain = name.domain();
        if domain == github.registry {
            return Ok(Self {
                repository: registries.with_packages(repository, &github.api, security)?,
                traits: DeletionTraits::GHCR,
                obstacle: None,
            });
        }
        if let Some(known) = KnownRegistry::of(domain)
            && let Some(obstacle) = known.obstacle
        {
            return Ok(Self {
                repository: repository.clone(),
                traits: known.traits,
                obstacle: Some(obstacle.to_owned()),
            });
        }
        let rights = repository.deletion_rights().await?;
        let traits = traits_of(domain, &rights);
        let obstacle = match rights.manifests {
            DeletionRight::Allowed => None,
            DeletionRight::Unsupported => Some("it is switched off, or not supported".to_owned()),
            DeletionRight::Denied { reason } => Some(reason),
        };
        Ok(Self {
            repository: repository.clone(),
            traits,
            obstacle,
        })
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
    pub(crate) fn obstacle(&self) -> Option<&str> {
        self.obstacle.as_deref()
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

    /// Removes `tag` from the manifest `digest`, which stays.
    pub(super) async fn remove_tag(
        &self,
        tag: &ImageTag,
        digest: &Digest,
    ) -> Result<Untagged, PruneError> {
        Ok(self.repository.untag(tag, digest).await?)
    }

    /// Deletes the manifest `digest` with the tags that it has.
    pub(super) async fn delete(&self, digest: &Digest) -> Result<Deletion, PruneError> {
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

/// The traits of the registry at `domain`, which deletes what `rights` tells.
fn traits_of(domain: &str, rights: &DeletionRights) -> DeletionTraits {
    match KnownRegistry::of(domain) {
        Some(known) => known.traits,
        None if rights.tags == DeletionRight::Allowed => DeletionTraits::DISTRIBUTION_3,
        // If deletions are switched off, the plan shows what could be deleted, and a warning names the obstacle.
        None => DeletionTraits::DISTRIBUTION_2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prune::plan::{TagRemoval, TaggedManifest, UntaggedManifest};

    fn rights(manifests: DeletionRight, tags: DeletionRight) -> DeletionRights {
        DeletionRights { manifests, tags }
    }

    #[test]
    fn a_registry_is_known_by_what_it_deletes() {
        let (yes, no) = (DeletionRight::Allowed, DeletionRight::Unsupported);
        let traits = |domain: &str, manifests: &DeletionRight, tags: &DeletionRight| {
            traits_of(domain, &rights(manifests.clone(), tags.clone()))
        };
        assert_eq!(
            traits("h.example", &yes, &yes),
            DeletionTraits::DISTRIBUTION_3
        );
        assert_eq!(
            traits("h.example", &yes, &no),
            DeletionTraits::DISTRIBUTION_2
        );
        assert_eq!(
            traits("h.example", &no, &no),
            DeletionTraits::DISTRIBUTION_2
        );
        let denied = DeletionRight::Denied {
            reason: "no".to_owned(),
        };
        // The plan of another login is shown.
        assert_eq!(
            traits("h.example", &denied, &denied).tags,
            TagRemoval::Replacement
        );
    }

    #[test]
    fn some_registries_are_known_by_their_domains() {
        let all = rights(DeletionRight::Allowed, DeletionRight::Allowed);
        let google = traits_of("eu.gcr.io", &all);
        assert_eq!(google.tagged, TaggedManifest::Refused);
        assert_eq!(traits_of("europe-docker.pkg.dev", &all), google);
        assert_eq!(traits_of("gcr.io", &all), google);
        let other = traits_of("notgcr.io", &all);
        assert_eq!(other, DeletionTraits::DISTRIBUTION_3);
        let gitlab = traits_of("registry.gitlab.com", &all);
        assert_eq!(gitlab.untagged, UntaggedManifest::Goes);
    }
}
