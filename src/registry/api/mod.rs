//! APIs beside that of the registry, by which some registries delete.
//!
//! [`DeletionApi`] is what the client of registries uses; each variant has a file. What a registry's own API does is not
//! here: [`DeletionApi::delete`] returns `None` then.

mod docker_hub;
mod ecr;
mod ecr_place;
mod github;
mod server;
mod sigv4;

use jiff::Timestamp;

use super::RemoteRepository;
use super::error::{RegistryAct, RegistryError, RegistryFault};
use super::manifest::TagOrDigest;
use super::manifests::Deletion;
use super::repository::Registries;
use crate::types::Digest;

use docker_hub::HubTags;
use ecr::EcrImages;
pub(crate) use ecr::EcrSpec;
pub(crate) use ecr_place::EcrPlace;
use github::PackageVersions;
pub(crate) use server::{ApiAddress, InvalidApiAddress};

/// Which API deletes from a repository.
#[derive(Debug, Clone)]
pub(crate) enum ApiSpec {
    /// GitHub's Packages API at this address.
    Github(ApiAddress),
    /// Amazon's API.
    Ecr(Box<EcrSpec>),
    /// Docker Hub's API at this address.
    DockerHub(ApiAddress),
}

/// A manifest in the list of an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedVersion {
    /// The manifest.
    pub(crate) digest: Digest,
    /// When it was pushed, or its tags changed.
    pub(crate) updated: Timestamp,
}

/// The API by which a repository deletes. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) enum DeletionApi {
    Github(PackageVersions),
    Ecr(EcrImages),
    DockerHub(HubTags),
}

impl Registries {
    /// The same repository, from which the API of `spec` deletes. Sends nothing yet.
    ///
    /// # Errors
    /// The name of the repository is not one that the API knows.
    pub(crate) fn with_api(
        &self,
        repository: &RemoteRepository,
        spec: &ApiSpec,
    ) -> Result<RemoteRepository, RegistryError> {
        let api = match spec {
            ApiSpec::Github(address) => {
                PackageVersions::new(self, repository, address).map(DeletionApi::Github)
            }
            ApiSpec::Ecr(spec) => Ok(DeletionApi::Ecr(EcrImages::new(self, repository, spec))),
            ApiSpec::DockerHub(address) => {
                HubTags::new(self, repository, address).map(DeletionApi::DockerHub)
            }
        };
        let failed = RemoteRepository::failed(RegistryAct::Delete, &repository.name);
        let mut repository = repository.clone();
        repository.api = Some(api.map_err(failed)?);
        Ok(repository)
    }
}

impl DeletionApi {
    /// Deletes `name`: a tag, or a manifest with all its tags. `None` if the registry itself deletes this. `finishes` says
    /// whether the deletion is also sent when the run was stopped.
    pub(super) async fn delete(
        &self,
        name: &TagOrDigest,
        finishes: bool,
    ) -> Result<Option<Deletion>, RegistryFault> {
        match (self, name) {
            (Self::Github(_), TagOrDigest::Tag(_)) => Ok(Some(Deletion::Unsupported)),
            (Self::Github(packages), TagOrDigest::Digest(digest)) => {
                packages.delete(digest, finishes).await.map(Some)
            }
            (Self::Ecr(images), name) => images.delete(name, finishes).await.map(Some),
            (Self::DockerHub(tags), TagOrDigest::Tag(tag)) => {
                tags.delete(tag, finishes).await.map(Some)
            }
            (Self::DockerHub(_), TagOrDigest::Digest(_)) => Ok(None),
        }
    }

    /// Whether manifests are deleted, if that is known without a question for one that nobody has. `None` if such a question
    /// tells it.
    ///
    /// # Errors
    /// The login is not one that deletes.
    pub(super) async fn deletes_manifests(&self) -> Result<Option<bool>, RegistryFault> {
        match self {
            Self::Github(packages) => packages.check_login().await.map(|()| Some(true)),
            Self::Ecr(_) | Self::DockerHub(_) => Ok(None),
        }
    }

    /// Whether a question for something that nobody has would not tell what may be deleted.
    pub(super) const fn tells_no_rights(&self) -> bool {
        match self {
            Self::Github(_) => true,
            Self::Ecr(_) | Self::DockerHub(_) => false,
        }
    }

    async fn list(&self) -> Result<Option<Vec<ListedVersion>>, RegistryFault> {
        match self {
            Self::Github(packages) => packages.all().await.map(Some),
            Self::Ecr(images) => images.list().await.map(Some),
            Self::DockerHub(_) => Ok(None),
        }
    }

    async fn deleted(&self) -> Result<Option<Vec<ListedVersion>>, RegistryFault> {
        match self {
            Self::Github(packages) => packages.deleted().await.map(Some),
            Self::Ecr(_) | Self::DockerHub(_) => Ok(None),
        }
    }

    async fn restore(&self, digest: &Digest) -> Result<bool, RegistryFault> {
        match self {
            Self::Github(packages) => packages.restore(digest).await,
            Self::Ecr(_) | Self::DockerHub(_) => Ok(false),
        }
    }
}

impl RemoteRepository {
    /// All manifests of the repository. `None` if the registry does not list them.
    pub(crate) async fn versions(&self) -> Result<Option<Vec<ListedVersion>>, RegistryError> {
        let failed = Self::failed(RegistryAct::ListVersions, &self.name);
        match &self.api {
            Some(api) => api.list().await.map_err(failed),
            None => Ok(None),
        }
    }

    /// The manifests that were deleted and can be restored. `None` if the registry does not restore any.
    pub(crate) async fn deleted_versions(
        &self,
    ) -> Result<Option<Vec<ListedVersion>>, RegistryError> {
        let failed = Self::failed(RegistryAct::ListVersions, &self.name);
        match &self.api {
            Some(api) => api.deleted().await.map_err(failed),
            None => Ok(None),
        }
    }

    /// Restores a manifest that was deleted, with the tags that it had. Returns false if the registry cannot.
    pub(crate) async fn restore(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let failed = Self::failed(RegistryAct::Restore, format!("{}@{digest}", self.name));
        match &self.api {
            Some(api) => api.restore(digest).await.map_err(failed),
            None => Ok(false),
        }
    }
}
