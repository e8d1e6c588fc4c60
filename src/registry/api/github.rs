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
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::ListedVersion;
use super::server::{ApiAddress, ApiServer};
use crate::registry::error::RegistryFault;
use crate::registry::exchange::{RegistryReply, RegistryRequest};
use crate::registry::manifests::Deletion;
use crate::registry::words::cleaned;
use crate::registry::{Registries, RemoteRepository};
use crate::types::{Digest, Secret};

/// The versions of a page, and the most pages.
const PAGE: usize = 100;
const PAGES: usize = 2_000;
/// The largest page, in bytes.
const LARGEST_PAGE: usize = 16 << 20;
/// The owner of a package is an organization or a user.
const COLLECTIONS: [&str; 2] = ["orgs", "users"];
/// The header with the scopes of a personal access token (classic), with commas between them (docs.github.com, "Scopes for OAuth
/// apps"). Other tokens have no scopes.
const SCOPES: HeaderName = HeaderName::from_static("x-oauth-scopes");
/// The scope without which nothing is deleted.
const DELETION: &str = "delete:packages";

/// A version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PackageVersion {
    listed: ListedVersion,
    id: u64,
}

/// The package of a repository. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::registry) struct PackageVersions(Arc<PackageParts>);

#[derive(Debug)]
struct PackageParts {
    server: ApiServer,
    /// The host whose credential is sent.
    registry: String,
    owner: String,
    /// The name of the package, encoded for a path.
    package: String,
    place: OnceCell<PackagePlace>,
    ids: Mutex<BTreeMap<Digest, u64>>,
}

#[derive(Deserialize)]
struct VersionAnswer {
    id: u64,
    name: String,
    created_at: String,
    updated_at: Option<String>,
}

/// What GitHub says of the package and of the token.
#[derive(Debug, Clone)]
struct PackagePlace {
    /// Whether the owner is an organization or a user.
    collection: &'static str,
    /// The scopes of the token. `None` if it has none; then the roles of its user or its workflow decide.
    scopes: Option<String>,
}

/// Which versions are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VersionState {
    Active,
    Deleted,
}

impl PackageVersions {
    /// The package of `repository`.
    ///
    /// # Errors
    /// The repository has no owner.
    pub(super) fn new(
        registries: &Registries,
        repository: &RemoteRepository,
        address: &ApiAddress,
    ) -> Result<Self, RegistryFault> {
        let name = repository.name();
        let (owner, package) = name
            .path()
            .split_once('/')
            .ok_or_else(|| RegistryFault::malformed("the name of a package without its owner"))?;
        Ok(Self(Arc::new(PackageParts {
            server: ApiServer::new(registries, repository, address),
            registry: name.domain().to_owned(),
            owner: owner.to_owned(),
            package: utf8_percent_encode(package, NON_ALPHANUMERIC).to_string(),
            place: OnceCell::new(),
            ids: Mutex::default(),
        })))
    }

    /// All versions.
    pub(super) async fn all(&self) -> Result<Vec<ListedVersion>, RegistryFault> {
        let found = self.list(VersionState::Active, None).await?;
        Ok(found.into_iter().map(|version| version.listed).collect())
    }

    /// The versions that were deleted and can be restored.
    pub(super) async fn deleted(&self) -> Result<Vec<ListedVersion>, RegistryFault> {
        let found = self.list(VersionState::Deleted, None).await?;
        Ok(found.into_iter().map(|version| version.listed).collect())
    }

    /// Deletes the version of `digest`, with all its tags.
    pub(super) async fn delete(
        &self,
        digest: &Digest,
        finishes: bool,
    ) -> Result<Deletion, RegistryFault> {
        let known = self.known(digest);
        let id = match known {
            Some(id) => Some(id),
            None => self.find(VersionState::Active, digest).await?,
        };
        let Some(id) = id else {
            return Ok(Deletion::NotFound);
        };
        let mut request = self.request(Method::DELETE, &format!("/{id}")).await?;
        request.finishes = finishes;
        let reply = self.0.server.perform(&request).await?;
        match reply.status {
            status if status.is_success() => Ok(Deletion::Deleted),
            StatusCode::NOT_FOUND => Ok(Deletion::NotFound),
            _ => Err(reply.fault()),
        }
    }

    /// Restores a version that was deleted, with its tags. Returns false if it cannot be restored.
    pub(super) async fn restore(&self, digest: &Digest) -> Result<bool, RegistryFault> {
        let Some(id) = self.find(VersionState::Deleted, digest).await? else {
            return Ok(false);
        };
        let request = self
            .request(Method::POST, &format!("/{id}/restore"))
            .await?;
        let reply = self.0.server.perform(&request).await?;
        if reply.status.is_success() {
            Ok(true)
        } else {
            Err(reply.fault())
        }
    }

    /// Checks that the API accepts the token, and that no scope for deletions is missing.
    ///
    /// GitHub has no request that tells whether a role allows deletions.
    pub(super) async fn check_login(&self) -> Result<(), RegistryFault> {
        let place = self.place().await?;
        let Some(scopes) = &place.scopes else {
            return Ok(());
        };
        if scopes.split(',').any(|scope| scope.trim() == DELETION) {
            return Ok(());
        }
        Err(RegistryFault::Denied {
            status: StatusCode::FORBIDDEN.as_u16(),
            words: format!(
                "the token has the scopes {}, but not {DELETION}",
                cleaned(scopes, &[])
            ),
        })
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
        let found = found
            .into_iter()
            .find(|version| version.listed.digest == *digest);
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
            let reply = self.0.server.perform(&request).await?;
            if !reply.status.is_success() {
                return Err(reply.fault());
            }
            let page = parse(&reply)?;
            let is_last =
                until.is_some_and(|until| page.iter().any(|one| one.listed.digest == *until));
            if state == VersionState::Active {
                let mut ids = self.0.ids.lock().unwrap_or_else(PoisonError::into_inner);
                ids.extend(page.iter().map(|one| (one.listed.digest.clone(), one.id)));
            }
            found.extend(page);
            match self.0.server.connection.next_page(&reply)? {
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
        let place = self.place().await?;
        self.request_in(place.collection, method, &format!("/versions{rest}"))
            .await
    }

    async fn place(&self) -> Result<&PackagePlace, RegistryFault> {
        let find = || async {
            let mut last = RegistryFault::NotFound {
                words: String::new(),
            };
            for collection in COLLECTIONS {
                let request = self.request_in(collection, Method::GET, "").await?;
                let request = request.limit(LARGEST_PAGE);
                let reply = self.0.server.perform(&request).await?;
                if reply.status.is_success() {
                    let scopes = reply.header(&SCOPES).map(str::trim);
                    let scopes = scopes.filter(|scopes| !scopes.is_empty());
                    return Ok(PackagePlace {
                        collection,
                        scopes: scopes.map(str::to_owned),
                    });
                }
                last = reply.fault();
                if reply.status != StatusCode::NOT_FOUND {
                    break;
                }
            }
            Err(last)
        };
        self.0.place.get_or_try_init(find).await
    }

    async fn request_in(
        &self,
        collection: &str,
        method: Method,
        rest: &str,
    ) -> Result<RegistryRequest, RegistryFault> {
        let PackageParts {
            server,
            registry,
            owner,
            package,
            ..
        } = &*self.0;
        let provider = &server.connection.parts.provider;
        let credential = provider.credential(registry, &[], &[]).await;
        let credential = credential.map_err(|error| RegistryFault::Credential(Arc::new(error)))?;
        let (_, token) = credential.as_pair();
        let path = format!("/{collection}/{owner}/packages/container/{package}{rest}");
        let mut request = server
            .request(method, &path)?
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
        request.secrets.push(Secret::new(token.to_owned()));
        let bad = || RegistryFault::malformed("a token with control characters");
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
            listed: ListedVersion {
                digest: answer.name.parse().map_err(|_| malformed())?,
                updated: created.max(updated.unwrap_or(created)),
            },
            id: answer.id,
        })
    });
    versions.collect()
}
