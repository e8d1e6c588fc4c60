//! How the registries that rbake knows delete.

use crate::prune::plan::DeletionTraits;
use crate::registry::RegistryKind;

/// How a registry of this kind deletes. `None` if this is found out by asking.
pub(super) const fn traits(kind: RegistryKind) -> Option<DeletionTraits> {
    Some(match kind {
        RegistryKind::Distribution => return None,
        RegistryKind::Github => DeletionTraits::GHCR,
        RegistryKind::Gitlab => DeletionTraits::GITLAB,
        RegistryKind::Google => DeletionTraits::GOOGLE,
        RegistryKind::Ecr | RegistryKind::EcrPublic => DeletionTraits::ECR,
        RegistryKind::DockerHub => DeletionTraits::DOCKER_HUB,
    })
}
