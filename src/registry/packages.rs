//! GitHub's Packages API, by which its registry deletes: the registry itself answers 405 to every `DELETE`.
//!
//! A manifest is a *version* of a package. The API lists all of them, with their digests as names, deletes one with all of
//! its tags, and can restore it for 30 days (docs.github.com, "REST API endpoints for packages"). The login is that of the
//! registry: a personal access token (classic) with the scope `delete:packages`, or the token of a workflow of a repository
//! that has the role Admin for the package.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{ACCEPT, AUTHORIZATION, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::RemoteRepository;
use super::address::RegistrySecurity;
use super::error::{RegistryAct, RegistryError, RegistryFault};
use super::exchange::{RegistryReply, RegistryRequest};
use super::manifests::Deletion;
use super::repository::Registries;
use crate::types::{Digest, ImageRepository, Reference};

/// The versions of a page, and the most pages.
const PAGE: usize = 100;
const PAGES: usize = 2_000;
/// The largest page, in bytes.
const LARGEST_PAGE: usize = 16 << 20;
/// The owner of a package is an organization or a user.
const COLLECTIONS: [&str; 2] = ["orgs", "users"];

/// A version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackageVersion {
    /// The manifest.
    pub(crate) digest: Digest,
    /// When it was pushed, or its tags changed.
    pub(crate) updated: Timestamp,
    id: u64,
}

/// The package of a repository. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct PackageVersions(Arc<PackageParts>);

#[derive(Debug)]
struct PackageParts {
    /// Sends the requests. Its name is that of the API's host.
    api: RemoteRepository,
    /// The address of the API, without a slash at its end.
    base: String,
    /// The host whose credential is sent.
    registry: String,
    owner: String,
    /// The name of the package, encoded for a path.
    package: String,
    /// Whether the owner is an organization or a user.
    collection: OnceCell<&'static str>,
    ids: Mutex<BTreeMap<Digest, u64>>,
}

#[derive(Deserialize)]
struct VersionAnswer {
    id: u64,
    name: String,
    created_at: String,
    updated_at: Option<String>,
}

/// Which versions are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VersionState {
    Active,
    Deleted,
}

impl Registries {
    /// The same repository, whose manifests are deleted by the Packages API at `api`, such as `https://api.github.com`.
    ///
    /// # Errors
    /// `api` is not the address of a server, or is not protected although it is not on this machine.
    pub(crate) fn with_packages(
        &self,
        repository: &RemoteRepository,
        api: &str,
        security: RegistrySecurity,
    ) -> Result<RemoteRepository, RegistryError> {
        let failed = |fault: RegistryFault| fault.at(RegistryAct::ListVersions, &repository.name);
        let packages = self.packages(repository, api, security);
        let mut repository = repository.clone();
        repository.packages = Some(packages.map_err(failed)?);
        Ok(repository)
    }

    fn packages(
        &self,
        repository: &RemoteRepository,
        api: &str,
        security: RegistrySecurity,
    ) -> Result<PackageVersions, RegistryFault> {
        let bad = || RegistryFault::malformed("the address of the Packages API");
        let url = Url::parse(api).map_err(|_| bad())?;
        let host = url.host_str().ok_or_else(bad)?;
        let port = url.port().map_or(String::new(), |port| format!(":{port}"));
        // Requests go by the rules for registries: plain HTTP only to this machine.
        let name: Reference = format!("{host}{port}/packages")
            .parse()
            .map_err(|_| bad())?;
        let api = self.repository(&ImageRepository::of(&name), security);
        let base = api.connection.base()?;
        let path = url.path().trim_end_matches('/');
        let (owner, package) = repository.name.path().split_once('/').ok_or_else(bad)?;
        Ok(PackageVersions(Arc::new(PackageParts {
            base: format!("{}{path}", base.as_str().trim_end_matches('/')),
            api,
            registry: repository.name.domain().to_owned(),
            owner: owner.to_owned(),
            package: utf8_percent_encode(package, NON_ALPHANUMERIC).to_string(),
            collection: OnceCell::new(),
            ids: Mutex::default(),
        })))
    }
}

impl RemoteRepository {
    /// All manifests of the repository. `None` if the registry does not list them.
    pub(crate) async fn versions(&self) -> Result<Option<Vec<PackageVersion>>, RegistryError> {
        self.versions_in(VersionState::Active).await
    }

    /// The manifests that were deleted and can be restored. `None` if the registry does not restore any.
    pub(crate) async fn deleted_versions(
        &self,
    ) -> Result<Option<Vec<PackageVersion>>, RegistryError> {
        self.versions_in(VersionState::Deleted).await
    }

    async fn versions_in(
        &self,
        state: VersionState,
    ) -> Result<Option<Vec<PackageVersion>>, RegistryError> {
        let Some(packages) = &self.packages else {
            return Ok(None);
        };
        let failed = Self::failed(RegistryAct::ListVersions, &self.name);
        packages.list(state, None).await.map(Some).map_err(failed)
    }

    /// Restores a manifest that was deleted, with the tags that it had. Returns false if the registry cannot.
    pub(crate) async fn restore(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let Some(packages) = &self.packages else {
            return Ok(false);
        };
        let failed = Self::failed(RegistryAct::Restore, format!("{}@{digest}", self.name));
        packages.restore(digest).await.map_err(failed)
    }
}

impl PackageVersions {
    /// Deletes the version of `digest`, with all its tags.
    pub(super) async fn delete(&self, digest: &Digest) -> Result<Deletion, RegistryFault> {
        let known = self.known(digest);
        let id = match known {
            Some(id) => Some(id),
            None => self.find(VersionState::Active, digest).await?,
        };
        let Some(id) = id else {
            return Ok(Deletion::NotFound);
        };
        let request = self.request(Method::DELETE, &format!("/{id}")).await?;
        let reply = self.0.api.connection.perform(&request).await?;
        match reply.status {
            status if status.is_success() => Ok(Deletion::Deleted),
            StatusCode::NOT_FOUND => Ok(Deletion::NotFound),
            _ => Err(reply.fault()),
        }
    }

    async fn restore(&self, digest: &Digest) -> Result<bool, RegistryFault> {
        let Some(id) = self.find(VersionState::Deleted, digest).await? else {
            return Ok(false);
        };
        let request = self
            .request(Method::POST, &format!("/{id}/restore"))
            .await?;
        let reply = self.0.api.connection.perform(&request).await?;
        if reply.status.is_success() {
            Ok(true)
        } else {
            Err(reply.fault())
        }
    }

    fn known(&self, digest: &Digest) -> Option<u64> {
        let ids = self.0.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.get(digest).copied()
    }

    async fn find(
        &self,
        state: VersionState,
        digest: &Digest,
    ) -> Result<Option<u64>, RegistryFault> {
        let found = self.list(state, Some(digest)).await?;
        let found = found.into_iter().find(|version| version.digest == *digest);
        Ok(found.map(|version| version.id))
    }

    /// Lists the versions, the newest first; only up to `until`, if that is wanted.
    async fn list(
        &self,
        state: VersionState,
        until: Option<&Digest>,
    ) -> Result<Vec<PackageVersion>, RegistryFault> {
        let query = match state {
            VersionState::Active => format!("?per_page={PAGE}"),
            VersionState::Deleted => format!("?per_page={PAGE}&state=deleted"),
        };
        let mut request = self.request(Method::GET, &query).await?.limit(LARGEST_PAGE);
        let mut found = Vec::new();
        for _ in 0..PAGES {
            let reply = self.0.api.connection.perform(&request).await?;
            if !reply.status.is_success() {
                return Err(reply.fault());
            }
            let page = parse(&reply)?;
            let is_last = until.is_some_and(|until| page.iter().any(|one| one.digest == *until));
            if state == VersionState::Active {
                let mut ids = self.0.ids.lock().unwrap_or_else(PoisonError::into_inner);
                ids.extend(page.iter().map(|one| (one.digest.clone(), one.id)));
            }
            found.extend(page);
            match self.0.api.next_page(&reply)? {
                Some(next) if !is_last => request = request.to(next),
                _ => return Ok(found),
            }
        }
        Err(RegistryFault::malformed(
            "the list of versions does not end",
        ))
    }

    /// A request for `rest` below the versions of the package.
    async fn request(&self, method: Method, rest: &str) -> Result<RegistryRequest, RegistryFault> {
        let collection = self.collection().await?;
        self.request_in(collection, method, &format!("/versions{rest}"))
            .await
    }

    /// Where the package is: at an organization or a user.
    async fn collection(&self) -> Result<&'static str, RegistryFault> {
        let find = || async {
            let mut last = RegistryFault::NotFound {
                words: String::new(),
            };
            for collection in COLLECTIONS {
                let request = self.request_in(collection, Method::GET, "").await?;
                let request = request.limit(LARGEST_PAGE);
                let reply = self.0.api.connection.perform(&request).await?;
                if reply.status.is_success() {
                    return Ok(collection);
                }
                last = reply.fault();
                if reply.status != StatusCode::NOT_FOUND {
                    break;
                }
            }
            Err(last)
        };
        self.0.collection.get_or_try_init(find).await.copied()
    }

    async fn request_in(
        &self,
        collection: &str,
        method: Method,
        rest: &str,
    ) -> Result<RegistryRequest, RegistryFault> {
        let PackageParts {
            api,
            base,
            registry,
            owner,
            package,
            ..
        } = &*self.0;
        let provider = &api.connection.parts.provider;
        let credential = provider.credential(registry, &[], &[]).await;
        let credential = credential.map_err(|error| RegistryFault::Credential(Arc::new(error)))?;
        let (_, token) = credential.as_pair();
        let bad = || RegistryFault::malformed("the address of the Packages API");
        let url = format!("{base}/{collection}/{owner}/packages/container/{package}{rest}");
        let request = api
            .request(method, "")
            .to(Url::parse(&url).map_err(|_| bad())?)
            .header(
                ACCEPT,
                HeaderValue::from_static("application/vnd.github+json"),
            )
            .header(
                HeaderName::from_static("x-github-api-version"),
                HeaderValue::from_static("2022-11-28"),
            );
        if token.is_empty() {
            return Ok(request);
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| bad())?;
        value.set_sensitive(true);
        Ok(request.header(AUTHORIZATION, value))
    }
}

/// Reads a page. A version whose name is not a digest is an error: nobody would know what it is.
fn parse(reply: &RegistryReply) -> Result<Vec<PackageVersion>, RegistryFault> {
    let malformed = || RegistryFault::malformed("not a valid list of versions");
    let answers: Vec<VersionAnswer> =
        serde_json::from_slice(&reply.body).map_err(|_| malformed())?;
    let versions = answers.into_iter().map(|answer| {
        let created: Timestamp = answer.created_at.parse().map_err(|_| malformed())?;
        let updated = answer.updated_at.and_then(|text| text.parse().ok());
        Ok(PackageVersion {
            digest: answer.name.parse().map_err(|_| malformed())?,
            updated: created.max(updated.unwrap_or(created)),
            id: answer.id,
        })
    });
    versions.collect()
}
