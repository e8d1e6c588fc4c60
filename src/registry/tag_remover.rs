//! Finds what removes tags from a repository: the registry itself, or an API beside it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::deletion_settings::{DeletionSettingError, DeletionSettings, FoundApi};
use super::error::{RegistryError, RegistryFault};
use super::kinds::RegistryKind;
use super::{Registries, RegistrySecurity, RemoteRepository, Untagged};
use crate::credential::AwsCredentialError;
use crate::types::{Digest, Environment, ImageRepository, ImageTag};

/// What a user can do whose registry of distribution deletes nothing.
pub(crate) const SWITCHED_OFF: &str = "the registry of distribution deletes only with `storage.delete.enabled: true` in its configuration";

/// What a user can do who has no keys for Amazon's API: `docker login` with a password of Amazon is not enough for it.
pub(crate) const NO_KEYS: &str = "set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` (and `AWS_SESSION_TOKEN`), or `AWS_PROFILE`: the login of the registry does not sign requests to Amazon's API";

/// What removes tags, of all repositories of a run for which that was asked.
#[derive(Debug, Default)]
pub(super) struct TagRemovers {
    /// What names the APIs. Without it, registries remove tags themselves, or not at all.
    environment: Option<Environment>,
    found: Mutex<BTreeMap<(ImageRepository, RegistrySecurity), Arc<FoundRemover>>>,
}

/// Empty while it is being looked for.
type FoundRemover = OnceCell<Result<TagRemover, Arc<TagObstacle>>>;

/// Removes tags from one repository. Cheap to clone.
#[derive(Debug, Clone)]
struct TagRemover {
    repository: RemoteRepository,
    /// `None` if neither the environment nor the domain tells.
    kind: Option<RegistryKind>,
}

/// No tag can be removed from a repository, which is known without a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TagObstacle {
    /// A variable has a value that makes no sense.
    #[error(transparent)]
    Setting(DeletionSettingError),
    /// There are no keys for Amazon's API.
    #[error(transparent)]
    Keys(AwsCredentialError),
    /// The registry deletes by an API that rbake does not know.
    #[error("rbake does not know the API by which the registry deletes")]
    UnknownApi,
    /// The API does not know repositories with such a name.
    #[error(transparent)]
    Name(RegistryError),
}

impl TagObstacle {
    /// What the user can do. `None` if nothing is known that helps.
    pub(crate) const fn help(&self) -> Option<&'static str> {
        match self {
            Self::Setting(_) => Some("see `docs/pruning.md` for the variables"),
            Self::Keys(_) => Some(NO_KEYS),
            Self::UnknownApi => Some(
                "`aws ecr-public batch-delete-image --region us-east-1 --repository-name NAME --image-ids imageTag=TAG` removes a tag",
            ),
            Self::Name(_) => None,
        }
    }
}

/// A tag was not removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TagRemovalError {
    /// It was known before any request.
    #[error("cannot remove the tag `{image}`")]
    Obstacle {
        /// The repository and the tag.
        image: String,
        /// Why not.
        #[source]
        obstacle: Arc<TagObstacle>,
    },
    /// The registry deletes neither tags nor manifests.
    #[error("the registry of `{image}` does not remove tags")]
    Unsupported {
        /// The repository and the tag.
        image: String,
        /// What the user can do.
        help: Option<&'static str>,
    },
    /// The login does not allow it.
    #[error("cannot remove the tag `{image}`")]
    Denied {
        /// The repository and the tag.
        image: String,
        /// What the registry or its API has said.
        #[source]
        fault: RegistryFault,
        /// What a login needs that may delete.
        login: &'static str,
    },
    /// Another request failed.
    #[error(transparent)]
    Request(RegistryError),
}

impl TagRemovalError {
    /// The request that failed for another reason than the login. `None` if none did.
    pub(crate) const fn request(&self) -> Option<&RegistryError> {
        match self {
            Self::Request(error) => Some(error),
            Self::Obstacle { .. } | Self::Unsupported { .. } | Self::Denied { .. } => None,
        }
    }

    /// What the user can do. `None` if nothing is known that helps.
    pub(crate) fn help(&self) -> Option<&'static str> {
        match self {
            Self::Obstacle { obstacle, .. } => obstacle.help(),
            Self::Unsupported { help, .. } => *help,
            Self::Denied { login, .. } => Some(login),
            Self::Request(_) => None,
        }
    }
}

impl TagRemovers {
    pub(super) fn of(environment: &Environment) -> Self {
        Self {
            environment: Some(environment.clone()),
            found: Mutex::default(),
        }
    }
}

impl Registries {
    /// What removes tags from `repository`. The environment is read, and Amazon's keys are looked for, when this is first asked
    /// for a repository. Sends nothing yet.
    async fn tag_remover(
        &self,
        repository: &RemoteRepository,
    ) -> Result<TagRemover, Arc<TagObstacle>> {
        let key = (repository.name.clone(), repository.security);
        let cell = {
            let found = self.removers.found.lock();
            let mut found = found.unwrap_or_else(PoisonError::into_inner);
            Arc::clone(found.entry(key).or_default())
        };
        let found = cell.get_or_init(|| async { self.find(repository).await.map_err(Arc::new) });
        found.await.clone()
    }

    /// Why no tag can be removed from `repository`, if that is known without a request. `None` if a request tells.
    pub(crate) async fn tag_obstacle(
        &self,
        repository: &RemoteRepository,
    ) -> Option<Arc<TagObstacle>> {
        self.tag_remover(repository).await.err()
    }

    async fn find(&self, repository: &RemoteRepository) -> Result<TagRemover, TagObstacle> {
        let Some(environment) = &self.removers.environment else {
            return Ok(TagRemover {
                repository: repository.clone(),
                kind: None,
            });
        };
        let settings = DeletionSettings::of(environment).map_err(TagObstacle::Setting)?;
        let domain = repository.name.domain();
        let kind = settings.kind_at(domain);
        let api = match kind {
            Some(kind) => settings.api_of(kind, domain, repository.security).await,
            None => Ok(FoundApi::None),
        };
        let repository = match api.map_err(TagObstacle::Setting)? {
            FoundApi::None => repository.clone(),
            FoundApi::Api(api) => self.with_api(repository, &api).map_err(TagObstacle::Name)?,
            FoundApi::NoKeys(error) => return Err(TagObstacle::Keys(error)),
            FoundApi::Unknown => return Err(TagObstacle::UnknownApi),
        };
        Ok(TagRemover { repository, kind })
    }

    /// Removes `tag` from `repository` if it names the manifest `expected`: see [`RemoteRepository::untag`].
    pub(crate) async fn remove_tag(
        &self,
        repository: &RemoteRepository,
        tag: &ImageTag,
        expected: &Digest,
    ) -> Result<Untagged, TagRemovalError> {
        let image = || format!("{}:{tag}", repository.name);
        let remover = match self.tag_remover(repository).await {
            Ok(remover) => remover,
            Err(obstacle) => {
                let image = image();
                return Err(TagRemovalError::Obstacle { image, obstacle });
            }
        };
        match remover.repository.untag(tag, expected).await {
            Ok(Untagged::Unsupported) => Err(TagRemovalError::Unsupported {
                image: image(),
                help: remover.unsupported(),
            }),
            Ok(untagged) => Ok(untagged),
            Err(error) if remover.is_denial(&error.fault) => {
                let login = remover.kind_now().await.login();
                Err(TagRemovalError::Denied {
                    image: error.place,
                    fault: error.fault,
                    login,
                })
            }
            Err(error) => Err(TagRemovalError::Request(error)),
        }
    }
}

impl TagRemover {
    /// Whether another login may help.
    fn is_denial(&self, fault: &RegistryFault) -> bool {
        // GitHub does not tell a login without the right to see a package that there is one.
        let hides = self.kind == Some(RegistryKind::Github);
        fault.is_denial() || hides && matches!(fault, RegistryFault::NotFound { .. })
    }

    /// The kind of the registry, which is asked if nothing else tells.
    async fn kind_now(&self) -> RegistryKind {
        match self.kind {
            Some(kind) => kind,
            None if self.repository.is_gitlab().await => RegistryKind::Gitlab,
            None => RegistryKind::Distribution,
        }
    }

    /// What a user can do whose registry removes no tags.
    const fn unsupported(&self) -> Option<&'static str> {
        match self.kind {
            None | Some(RegistryKind::Distribution) => Some(SWITCHED_OFF),
            Some(_) => None,
        }
    }
}
