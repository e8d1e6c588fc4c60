//! The registries of a run, and one repository of a registry.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use tokio_util::sync::CancellationToken;

use super::address::{RegistryAddress, RegistryProtocol, RegistrySecurity};
use super::api::DeletionApi;
use super::connection::{RegistryConnection, RunParts};
use super::counts::RequestCounts;
use super::error::{RegistryAct, RegistryError, RegistryFault};
use super::exchange::RegistryRequest;
use super::manifest::TagOrDigest;
use super::tag_remover::TagRemovers;
use crate::credential::Provider;
use crate::diag::Notices;
use crate::types::retry::Pauses;
use crate::types::{Clock, Environment, ImageRepository};

/// The registries of one run. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Registries {
    parts: RunParts,
    known: Arc<Mutex<Known>>,
    pub(super) removers: Arc<TagRemovers>,
}

type Known = BTreeMap<(String, RegistryProtocol), Arc<RegistryConnection>>;

impl Registries {
    /// Registries with the credentials of `provider`. When `stop` is cancelled, all requests fail at once with
    /// [`RegistryFault::Stopped`].
    pub(crate) fn new(provider: Provider, clock: Clock, stop: CancellationToken) -> Self {
        Self {
            parts: RunParts {
                provider,
                clock,
                stop,
                notices: Notices::default(),
            },
            known: Arc::default(),
            removers: Arc::default(),
        }
    }

    /// The same registries, which report to `notices` if one keeps the run waiting. To be called before the first request.
    pub(crate) fn with_notices(mut self, notices: Notices) -> Self {
        self.parts.notices = notices;
        self
    }

    /// The same registries, which remove tags by the APIs that `environment` names. It is read only when a tag is to be
    /// removed: see [`remove_tag`](Self::remove_tag).
    pub(crate) fn with_environment(self, environment: &Environment) -> Self {
        Self {
            removers: Arc::new(TagRemovers::of(environment)),
            ..self
        }
    }

    /// The repository at its registry. Sends nothing yet.
    pub(crate) fn repository(
        &self,
        repository: &ImageRepository,
        security: RegistrySecurity,
    ) -> RemoteRepository {
        self.repository_with(repository, security, || Pauses::Slept)
    }

    pub(super) fn repository_with(
        &self,
        repository: &ImageRepository,
        security: RegistrySecurity,
        pauses: impl FnOnce() -> Pauses,
    ) -> RemoteRepository {
        let address = RegistryAddress::of(repository, security);
        RemoteRepository {
            connection: self.connection(address, pauses),
            name: repository.clone(),
            path: repository.path().into(),
            finishes: false,
            api: None,
            security,
        }
    }

    /// The connection to a server, which all its users share.
    pub(super) fn connection(
        &self,
        address: RegistryAddress,
        pauses: impl FnOnce() -> Pauses,
    ) -> Arc<RegistryConnection> {
        let known = self.known.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        let key = (address.host().to_owned(), address.protocol());
        let make = || {
            let connection = RegistryConnection::new(address, self.parts.clone(), pauses());
            Arc::new(connection)
        };
        Arc::clone(known.entry(key).or_insert_with(make))
    }

    /// The requests that were sent so far, by the host of the registry.
    pub(crate) fn counts(&self) -> BTreeMap<String, RequestCounts> {
        let known = self.known.lock();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        let mut counts: BTreeMap<String, RequestCounts> = BTreeMap::new();
        for ((host, _), connection) in known.iter() {
            let more = connection.counter().counts();
            counts
                .entry(host.clone())
                .and_modify(|counts| *counts = counts.plus(more))
                .or_insert(more);
        }
        counts
    }
}

/// A repository at its registry. Cheap to clone.
///
/// Every request is repeated if that may help: after connection errors, truncated answers, 30 s without a byte, and the
/// statuses 408, 429, 500, 502, 503 and 504. It is sent six times at most, and a registry has a limited number of such
/// repetitions in a run.
#[derive(Debug, Clone)]
pub(crate) struct RemoteRepository {
    pub(super) connection: Arc<RegistryConnection>,
    pub(super) name: ImageRepository,
    pub(super) path: Arc<str>,
    // Whether its requests are also sent when the run was stopped.
    pub(super) finishes: bool,
    // What deletes from it, if the registry itself does not.
    pub(super) api: Option<DeletionApi>,
    // What the user allows for its registry.
    pub(super) security: RegistrySecurity,
}

impl RemoteRepository {
    /// Its name.
    pub(crate) const fn name(&self) -> &ImageRepository {
        &self.name
    }

    /// The same repository, for requests without which something would stay half done. They are also sent when the run
    /// was stopped, but not repeated then.
    pub(crate) fn finishing(&self) -> Self {
        Self {
            finishes: true,
            ..self.clone()
        }
    }

    /// Whether its registry has answered a request in this run.
    pub(crate) fn has_answered(&self) -> bool {
        self.connection.budget.has_answered()
    }

    /// A request for `rest` in this repository.
    pub(super) fn request(&self, method: Method, rest: &str) -> RegistryRequest {
        RegistryRequest {
            finishes: self.finishes,
            ..RegistryRequest::new(method, &self.path, rest)
        }
    }

    /// The name of an image, for messages.
    pub(super) fn image(&self, name: &TagOrDigest) -> String {
        match name {
            TagOrDigest::Tag(tag) => format!("{}:{tag}", self.name),
            TagOrDigest::Digest(digest) => format!("{}@{digest}", self.name),
        }
    }

    /// Adds the act and the place to a fault.
    pub(super) fn failed(
        act: RegistryAct,
        place: impl fmt::Display,
    ) -> impl FnOnce(RegistryFault) -> RegistryError {
        move |fault| fault.at(act, place)
    }
}
