//! Tokens and passwords for the requests to one registry.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use tokio::time::Instant;

use super::challenge::Challenge;
use super::error::RegistryFault;
use crate::credential::{self, Provider, TokenRequest};
use crate::types::Secret;

/// A token is renewed so long before it expires.
const MARGIN: Duration = Duration::from_secs(10);

/// The longest time for which a token is kept, whatever the token server says.
const LONGEST_LIFE: i64 = 24 * 60 * 60;

/// The most scopes that are added because a registry asked for them.
const EXTRA_SCOPES: usize = 4;

/// What requests do with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RepositoryUse {
    Read,
    Write,
    /// Also needs the rights to write. If the registry wants a scope of its own for this, its challenge says so: some
    /// token servers refuse the unknown action `delete`.
    Delete,
}

/// The rights that a request needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestScope {
    /// The repository's path.
    pub(super) path: Arc<str>,
    pub(super) purpose: RepositoryUse,
    /// Another repository that is read as well.
    pub(super) reads: Option<Arc<str>>,
}

impl RequestScope {
    /// The scopes to ask for, as the distribution project's token specification writes them.
    fn texts(&self) -> impl Iterator<Item = String> {
        self.actions()
            .map(|(path, actions)| format!("repository:{path}:{}", actions.join(",")))
    }

    /// The actions in each repository.
    fn actions(&self) -> impl Iterator<Item = (&str, &'static [&'static str])> {
        let own: &[&str] = match self.purpose {
            RepositoryUse::Read => &["pull"],
            RepositoryUse::Write | RepositoryUse::Delete => &["pull", "push"],
        };
        let reads: &[&str] = &["pull"];
        let other = self.reads.as_deref().map(|path| (path, reads));
        [(&*self.path, own)].into_iter().chain(other)
    }

    /// The part of `wanted`, a scope in a challenge, for which this request does not ask yet. `None` if it is not about
    /// a repository of this request, or if there is no such part: registries name the actions in any order.
    fn missing(&self, wanted: &str) -> Option<String> {
        let is_action = |action: &&str| {
            *action == "*" || !action.is_empty() && action.bytes().all(|b| b.is_ascii_lowercase())
        };
        self.actions().find_map(|(path, known)| {
            let actions = wanted
                .strip_prefix("repository:")?
                .strip_prefix(path)?
                .strip_prefix(':')?;
            let actions: BTreeSet<&str> = actions.split(',').collect();
            if !actions.iter().all(is_action) {
                return None;
            }
            let missing = actions.into_iter().filter(|action| !known.contains(action));
            let missing: Vec<_> = missing.collect();
            (!missing.is_empty()).then(|| format!("repository:{path}:{}", missing.join(",")))
        })
    }
}

/// How a registry wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum AuthScheme {
    Basic,
    Bearer { realm: String, service: String },
}

impl AuthScheme {
    /// The scheme to use; tokens are preferred to passwords.
    fn choose(challenges: &[Challenge]) -> Option<(Self, &Challenge)> {
        let find = |scheme: &str| challenges.iter().find(|found| found.scheme == scheme);
        if let Some(bearer) = find("bearer") {
            let realm = bearer.parameter("realm").to_owned();
            let service = bearer.parameter("service").to_owned();
            return Some((Self::Bearer { realm, service }, bearer));
        }
        find("basic").map(|basic| (Self::Basic, basic))
    }
}

/// The value of an `Authorization` header.
pub(super) struct HeldAuthorization {
    header: HeaderValue,
    // To be removed from the registry's messages.
    secrets: Vec<Secret<String>>,
    expires: Option<Instant>,
}

impl fmt::Debug for HeldAuthorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldAuthorization(..)")
    }
}

impl HeldAuthorization {
    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    pub(super) fn secrets(&self) -> Vec<&str> {
        self.secrets.iter().map(|s| s.expose().as_str()).collect()
    }

    fn new(
        scheme: &str,
        value: String,
        other: Option<Secret<String>>,
        expires: Option<Instant>,
    ) -> Result<Self, RegistryFault> {
        let mut header = HeaderValue::from_str(&format!("{scheme} {value}"))
            .map_err(|_| RegistryFault::malformed("a token with control characters"))?;
        header.set_sensitive(true);
        Ok(Self {
            header,
            secrets: [Secret::new(value)].into_iter().chain(other).collect(),
            expires,
        })
    }

    fn is_fresh(&self) -> bool {
        self.expires
            .is_none_or(|expires| Instant::now() + MARGIN < expires)
    }
}

/// The authorizations for one registry, by scope.
///
/// Before the first challenge, requests have none. After it, all requests ask for theirs in advance.
#[derive(Debug, Default)]
pub(super) struct Authorizations {
    scheme: Mutex<Option<AuthScheme>>,
    slots: Mutex<BTreeMap<RequestScope, Arc<ScopeSlot>>>,
}

/// The authorization for one scope. Its lock is held while a token is fetched, so that it is fetched once for all
/// requests that need it.
#[derive(Debug, Default)]
struct ScopeSlot {
    state: tokio::sync::Mutex<ScopeState>,
    // Counts the fetches that ended, so that a request that waited for one knows that it failed.
    fetches: AtomicU64,
}

#[derive(Debug, Default)]
struct ScopeState {
    held: Option<Arc<HeldAuthorization>>,
    // Scopes that the registry asked for in addition.
    extra: BTreeSet<String>,
    failed: Option<Arc<credential::Error>>,
}

impl Authorizations {
    /// The authorization for a request, or `None` if it should be sent without. Fetches a token if necessary.
    pub(super) async fn current(
        &self,
        provider: &Provider,
        host: &str,
        scope: &RequestScope,
    ) -> Result<Option<Arc<HeldAuthorization>>, RegistryFault> {
        let scheme = self.scheme.lock();
        let scheme = scheme.unwrap_or_else(PoisonError::into_inner).clone();
        match scheme {
            Some(scheme) => {
                let fetch = Fetch {
                    provider,
                    host,
                    scope,
                    scheme: &scheme,
                };
                self.slot(scope).get(&fetch, None, None).await
            }
            None => Ok(None),
        }
    }

    /// The authorization for a request that was answered with these challenges. `used` was sent with it. `None` if
    /// there is no other authorization.
    pub(super) async fn answer(
        &self,
        provider: &Provider,
        host: &str,
        scope: &RequestScope,
        challenges: &[Challenge],
        used: Option<&HeldAuthorization>,
    ) -> Result<Option<Arc<HeldAuthorization>>, RegistryFault> {
        let Some((scheme, challenge)) = AuthScheme::choose(challenges) else {
            return Ok(None);
        };
        let known = self.scheme.lock();
        *known.unwrap_or_else(PoisonError::into_inner) = Some(scheme.clone());
        let fetch = Fetch {
            provider,
            host,
            scope,
            scheme: &scheme,
        };
        let wanted = challenge.parameter("scope");
        self.slot(scope).get(&fetch, used, Some(wanted)).await
    }

    fn slot(&self, scope: &RequestScope) -> Arc<ScopeSlot> {
        let slots = self.slots.lock();
        let mut slots = slots.unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(scope.clone()).or_default())
    }
}

impl ScopeSlot {
    /// Returns an authorization other than `refused`, with the scopes that are `wanted` in addition.
    async fn get(
        &self,
        fetch: &Fetch<'_>,
        refused: Option<&HeldAuthorization>,
        wanted: Option<&str>,
    ) -> Result<Option<Arc<HeldAuthorization>>, RegistryFault> {
        let fetches = self.fetches.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        let is_refused =
            |held: &HeldAuthorization| refused.is_some_and(|refused| refused.header == held.header);
        if let Some(held) = &state.held
            && held.is_fresh()
            && !is_refused(held)
        {
            return Ok(Some(Arc::clone(held)));
        }
        let others_fetched = self.fetches.load(Ordering::Acquire) != fetches;
        if others_fetched && let Some(error) = &state.failed {
            return Err(RegistryFault::Credential(Arc::clone(error)));
        }
        let wanted = wanted.unwrap_or_default().split(' ');
        for missing in wanted.filter_map(|wanted| fetch.scope.missing(wanted)) {
            if state.extra.len() < EXTRA_SCOPES {
                state.extra.insert(missing);
            }
        }
        let scopes = fetch.scope.texts().chain(state.extra.iter().cloned());
        let fetched = fetch.fetch(scopes.collect()).await;
        self.fetches.fetch_add(1, Ordering::Release);
        (state.held, state.failed) = (None, None);
        match fetched {
            Ok(held) => {
                state.held = held.map(Arc::new);
                Ok(state.held.clone())
            }
            Err(RegistryFault::Credential(error)) => {
                state.failed = Some(Arc::clone(&error));
                Err(RegistryFault::Credential(error))
            }
            Err(fault) => Err(fault),
        }
    }
}

/// One fetch of a token, or one look-up of a password.
struct Fetch<'a> {
    provider: &'a Provider,
    host: &'a str,
    scope: &'a RequestScope,
    scheme: &'a AuthScheme,
}

impl Fetch<'_> {
    async fn fetch(&self, scopes: Vec<String>) -> Result<Option<HeldAuthorization>, RegistryFault> {
        match self.scheme {
            AuthScheme::Bearer { realm, service } => {
                let request = TokenRequest {
                    host: self.host.to_owned(),
                    realm: realm.clone(),
                    service: service.clone(),
                    scopes,
                    repositories: Vec::new(),
                    client_id: "rbake".to_owned(),
                };
                // The lifetime counts from here: the clocks of the two machines may differ, so the time at which the
                // server says that it issued the token is not used.
                let asked = Instant::now();
                let token = self.provider.token(&request).await?;
                let seconds = token.expires_in.clamp(0, LONGEST_LIFE).unsigned_abs();
                let expires = asked + Duration::from_secs(seconds);
                let token = token.value.expose().clone();
                HeldAuthorization::new("Bearer", token, None, Some(expires)).map(Some)
            }
            AuthScheme::Basic => {
                let credential = self.provider.credential(self.host, &scopes, &[]).await?;
                let (user, password) = credential.as_pair();
                // As in containerd's authorizer, an identity token is not a password.
                if user.is_empty() || password.is_empty() {
                    return Ok(None);
                }
                let value = BASE64_STANDARD.encode(format!("{user}:{password}"));
                let password = Secret::new(password.to_owned());
                HeldAuthorization::new("Basic", value, Some(password), None).map(Some)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_adds_only_actions_in_repositories_of_the_request() {
        let scope = RequestScope {
            path: "a/b".into(),
            purpose: RepositoryUse::Delete,
            reads: Some("c".into()),
        };
        for (wanted, missing) in [
            ("repository:a/b:delete", Some("repository:a/b:delete")),
            ("repository:a/b:*", Some("repository:a/b:*")),
            (
                "repository:a/b:push,delete,pull",
                Some("repository:a/b:delete"),
            ),
            ("repository:a/b:push,pull", None),
            ("repository:c:push,pull", Some("repository:c:push")),
            ("repository:c:pull", None),
            ("", None),
            ("repository:a/bc:delete", None),
            ("repository:x:pull", None),
            ("registry:catalog:*", None),
            ("repository:a/b:", None),
            ("repository:a/b:delete:x", None),
            ("repository:a/b:delete,", None),
        ] {
            assert_eq!(scope.missing(wanted).as_deref(), missing, "{wanted}");
        }
    }

    #[test]
    fn authorizations_are_not_printed() {
        let held = HeldAuthorization::new(
            "Basic",
            "dTpwYXNz".to_owned(),
            Some(Secret::new("pass".to_owned())),
            None,
        );
        let held = held.unwrap();
        let text = format!("{held:?} {:?} {:?}", held.header(), held.secrets);
        assert!(!text.contains("dTpw") && !text.contains("pass"), "{text}");
        assert!(HeldAuthorization::new("Bearer", "a\nb".to_owned(), None, None).is_err());
    }
}
