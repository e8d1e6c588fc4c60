//! The source of credentials for a bake.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ed25519_dalek::SigningKey;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::authority::{self, Seeds};
use super::clients::{Clients, RegistryClientSpec};
use super::config::{CredentialPlace, HUB_KEY, VARIABLE};
use super::helper::HelperCall;
use super::helpers::Helpers;
use super::host::{RegistryHost, shown};
use super::patience::ANSWER;
use super::scoped::{self, Scoped, Scopes};
use super::token::TokenTries;
use super::{
    BearerToken, Credential, DockerConfig, Error, Origin, Origins, TokenRequest, tls, token,
};
use crate::diag::Notices;
use crate::golang::strconv;
use crate::types::blocking::unblock;
use crate::types::causes::in_one_line;
use crate::types::retry::{Pauses, Tries};
use crate::types::secret::redact_urls;
use crate::types::{Clock, Environment};

/// Hosts that get Docker Hub's credential if they have none themselves.
const HUB_GUESTS: [&str; 2] = ["dhi.io", "registry.scout.docker.com"];

/// How often a token server is asked for one token for the daemon.
const TOKEN_TRIES: u32 = 4;

/// The host of Docker Hub, as the daemon names it.
const HUB: &str = "registry-1.docker.io";

/// Prefixes of the variables with which helpers log in. A helper gets them even if a build also uses such a
/// variable as a secret, because it needs them.
const READ_BY_HELPERS: [&str; 14] = [
    "ACR_",
    "AWS_",
    "AZURE_",
    "CI_",
    "CLOUDSDK_",
    "DIGITALOCEAN_",
    "DOCKER_",
    "GH_",
    "GITHUB_",
    "GITLAB_",
    "GOOGLE_",
    "OCI_",
    "OP_",
    "VAULT_",
];

/// The inputs of a [`Provider`].
pub(crate) struct ProviderOptions<'a> {
    /// The environment. It says where the configuration is.
    pub(crate) environment: &'a Environment,
    /// The clock that decides when credentials are too old.
    pub(crate) clock: Clock,
    /// Names of variables that hold secrets of the run. Credential helpers do not get them.
    pub(crate) withheld: BTreeSet<String>,
    /// Gets messages that the user should see at once, for example that a helper is slow.
    pub(crate) notices: Notices,
}

#[cfg(test)]
impl<'a> ProviderOptions<'a> {
    /// Options with this `environment`, and defaults for the rest.
    pub(crate) fn new(environment: &'a Environment) -> Self {
        Self {
            environment,
            clock: Clock::system(),
            withheld: BTreeSet::new(),
            notices: Notices::default(),
        }
    }
}

/// Answers the questions of all sessions of a bake: for a credential, a token, or a key.
///
/// Cheap to clone. Clones share what they remember.
#[derive(Debug, Clone)]
pub(crate) struct Provider(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    docker: Arc<DockerConfig>,
    // `DOCKER_AUTH_CONFIG`, which takes precedence over the file.
    overlay: Option<DockerConfig>,
    buildx_dir: Option<PathBuf>,
    scoped: OnceCell<Vec<Scoped>>,
    tokens_disabled: bool,
    clock: Clock,
    helpers: Helpers,
    seeds: Seeds,
    clients: Clients,
    notices: Notices,
    origins: Mutex<Origins>,
}

impl Provider {
    /// Reads the user's configuration, so it blocks. Problems in it are not errors; see
    /// [`Provider::configurations`].
    pub(crate) fn new(options: ProviderOptions<'_>) -> Self {
        let ProviderOptions {
            environment,
            clock,
            mut withheld,
            notices,
        } = options;
        let overlay = environment.non_empty(VARIABLE);
        let overlay = overlay.map(DockerConfig::parse_variable);
        let is_read = |name: &String| {
            let mut starts = READ_BY_HELPERS.iter();
            starts.any(|start| name.starts_with(start))
        };
        withheld.retain(|name| !is_read(name));
        // This variable holds the credentials of all registries. docker reads it itself, and does not need a helper
        // for it.
        withheld.insert(VARIABLE.to_owned());
        Self(Arc::new(Shared {
            docker: Arc::new(DockerConfig::load(environment)),
            overlay,
            buildx_dir: environment.buildx_config_dir(),
            scoped: OnceCell::new(),
            tokens_disabled: environment
                .get("BUILDKIT_NO_CLIENT_TOKEN")
                .and_then(strconv::parse_bool)
                == Some(true),
            clock: clock.clone(),
            helpers: Helpers::new(clock, withheld, notices.clone()),
            seeds: Seeds::new(environment.docker_config_dir()),
            clients: Clients::new(tls::folders(environment)),
            notices,
            origins: Mutex::default(),
        }))
    }

    /// Docker's `config.json`, as this provider has read it.
    pub(crate) fn docker_config(&self) -> &DockerConfig {
        &self.0.docker
    }

    /// The configurations in which credentials are looked up: `DOCKER_AUTH_CONFIG`, if it is set, and the file.
    pub(crate) fn configurations(&self) -> impl Iterator<Item = &DockerConfig> {
        self.0.overlay.iter().chain([&*self.0.docker])
    }

    /// The origins of the credentials that were asked for so far.
    pub(crate) fn origins(&self) -> Origins {
        let origins = self.0.origins.lock();
        origins.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the credential for `host`, named as BuildKit names it, and for `scopes`, if they are known.
    ///
    /// `repositories` are the repositories of the host that the caller works with. They are used if `scopes` names
    /// none. If no entry matches a repository of the first list, the next list is tried.
    pub(crate) async fn credential(
        &self,
        host: &str,
        scopes: &[String],
        repositories: &[Vec<String>],
    ) -> Result<Credential, Error> {
        self.shown(&parse(host)?, scopes, repositories).await
    }

    /// The same as [`Self::credential`] for a parsed host. Remembers the origin, because the credential will be
    /// sent.
    async fn shown(
        &self,
        host: &RegistryHost,
        scopes: &[String],
        repositories: &[Vec<String>],
    ) -> Result<Credential, Error> {
        let found = self.look_up(host, scopes, repositories).await;
        log_found(host, &found);
        let (credential, origin) = found?;
        let origin = origin.with_account_of(&credential);
        let origins = self.0.origins.lock();
        let mut origins = origins.unwrap_or_else(PoisonError::into_inner);
        origins.entry(host.to_string()).or_default().insert(origin);
        Ok(credential)
    }

    /// Finds the credential for `host`. Some hosts get Docker Hub's credential if they have none themselves.
    async fn look_up(
        &self,
        host: &RegistryHost,
        scopes: &[String],
        repositories: &[Vec<String>],
    ) -> Result<(Credential, Origin), Error> {
        let mut found = self.find(host, scopes, repositories).await?;
        if found.0 == Credential::Anonymous
            && HUB_GUESTS.contains(&host.as_str())
            && let Some(hub) = RegistryHost::parse(HUB)
            // An error with Docker Hub's credential is not an error for this host.
            && let Ok(of_hub) = self.find(&hub, scopes, repositories).await
            && of_hub.0 != Credential::Anonymous
        {
            found = of_hub;
        }
        Ok(found)
    }

    /// Finds the credential. If there is none, the origin says why.
    async fn find(
        &self,
        host: &RegistryHost,
        scopes: &[String],
        repositories: &[Vec<String>],
    ) -> Result<(Credential, Origin), Error> {
        let key = config_key(host.as_str());
        let named = [Scopes::parse(scopes).repositories()];
        let repositories = if named[0].is_empty() {
            repositories
        } else {
            &named
        };
        let scoped = self.scoped(host, scopes).await;
        let config = scoped.as_ref().unwrap_or(&self.0.docker);
        let mut obstacle = Origin::Nowhere;
        // `DOCKER_AUTH_CONFIG` comes first; it supplements buildx's own configurations, too.
        for config in self.0.overlay.iter().chain([config]) {
            let (found, origin) = self.ask(config, key, repositories).await?;
            if found != Credential::Anonymous {
                return Ok((found, origin));
            }
            obstacle = obstacle.min(origin);
        }
        Ok((Credential::Anonymous, obstacle))
    }

    /// Looks up `key` in `config`. A helper runs only once for all callers. As in docker/cli's `nativeStore`, if
    /// the helper has no credential, the registry token of the file's entry is still used.
    async fn ask(
        &self,
        config: &DockerConfig,
        key: &str,
        repositories: &[Vec<String>],
    ) -> Result<(Credential, Origin), Error> {
        let (place, mut origin) = config.find(key, repositories);
        let credential = match place {
            CredentialPlace::Here(credential) => credential,
            CredentialPlace::Nowhere => Credential::Anonymous,
            CredentialPlace::Helper {
                program,
                key,
                registry_token,
            } => {
                let call = HelperCall {
                    program: program.clone(),
                    key,
                };
                let told = self.0.helpers.ask(call).await?;
                if told == Credential::Anonymous {
                    let source = config.source().to_owned();
                    origin = Origin::Silent { source, program };
                }
                told.with_registry_token(&registry_token)
            }
        };
        Ok((credential, origin))
    }

    /// buildx's configuration for this host and these scopes, which replaces Docker's. `None` if there is none or
    /// it cannot be read.
    async fn scoped(&self, host: &RegistryHost, scopes: &[String]) -> Option<DockerConfig> {
        let dir = self.0.buildx_dir.clone()?;
        let find = || unblock(move || scoped::find(&dir));
        let all = self.0.scoped.get_or_init(find).await;
        let scoped = scoped::choose(all, host, &Scopes::parse(scopes))?.clone();
        let config = unblock(move || scoped.read()).await;
        (!config.is_unread()).then_some(config)
    }

    /// Exchanges the host's credential for a token. Asks the token server once: the client of registries repeats the whole request if it
    /// fails.
    pub(crate) async fn token(&self, request: &TokenRequest) -> Result<BearerToken, Error> {
        self.token_in(1, request).await
    }

    /// Does the same for the daemon, which does not ask again. An overloaded token server is asked several times.
    pub(crate) async fn token_for_daemon(
        &self,
        request: &TokenRequest,
    ) -> Result<BearerToken, Error> {
        self.token_in(TOKEN_TRIES, request).await
    }

    async fn token_in(&self, most: u32, request: &TokenRequest) -> Result<BearerToken, Error> {
        let end = Instant::now() + ANSWER;
        let host = parse(&request.host)?;
        let (scopes, repositories) = (&request.scopes, &request.repositories);
        let credential = self.shown(&host, scopes, repositories).await?;
        let client = self.0.clients.of(&host).await?;
        let realm = token::shown_realm(request);
        let what = format!("the token server `{realm}` for `{host}`");
        let tries = TokenTries {
            tries: Tries::new(most, Some(end)),
            pauses: Pauses::Slept,
            clock: self.0.clock.clone(),
        };
        let exchange = Box::pin(token::fetch(&client, request, &credential, tries));
        let exchange = self.0.notices.watch("credential::waiting", &what, exchange);
        let token = match tokio::time::timeout_at(end, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Error::NoAnswer {
                realm,
                host: host.to_string(),
                seconds: ANSWER.as_secs(),
            }),
        };
        match &token {
            Ok(token) => tracing::debug!(%host, expires_in = token.expires_in, "token fetched"),
            Err(error) => {
                tracing::warn!(%host, cause = %redact_urls(&in_one_line(error)), "no token");
            }
        }
        token
    }

    /// Makes an HTTP client for the registry `host`, named as BuildKit names it, with the certificates that the user
    /// configured for it. It follows no redirects.
    pub(crate) async fn registry_client(
        &self,
        host: &str,
        spec: RegistryClientSpec,
    ) -> Result<reqwest::Client, Error> {
        self.0.clients.for_registry(&parse(host)?, spec).await
    }

    /// The public key by which the daemon recognises this user's sessions for `host`.
    pub(crate) async fn token_authority(&self, host: &str, salt: &[u8]) -> Result<[u8; 32], Error> {
        Ok(self
            .authority_key(host, salt)
            .await?
            .verifying_key()
            .to_bytes())
    }

    /// Returns `payload`, signed with that key.
    pub(crate) async fn verify_token_authority(
        &self,
        host: &str,
        salt: &[u8],
        payload: &[u8],
    ) -> Result<Vec<u8>, Error> {
        Ok(authority::sign(
            &self.authority_key(host, salt).await?,
            payload,
        ))
    }

    async fn authority_key(&self, host: &str, salt: &[u8]) -> Result<SigningKey, Error> {
        if self.0.tokens_disabled {
            return Err(Error::TokensDisabled);
        }
        let host = parse(host)?;
        let has_secret = self.look_up(&host, &[], &[]).await?.0.has_secret();
        self.0.seeds.key(&host, salt, has_secret).await
    }

    /// Ends all credential helpers that are still running, with everything they started. Must be called before the
    /// process ends.
    pub(crate) fn end_helpers(&self) {
        self.0.helpers.end_all();
    }
}

/// Logs which kind of credential answers for `host`, and where it came from.
fn log_found(host: &RegistryHost, found: &Result<(Credential, Origin), Error>) {
    match found {
        Ok((credential, origin)) => tracing::debug!(
            %host,
            kind = credential.kind(),
            origin = %redact_urls(&origin.to_string()),
            "credential"
        ),
        Err(error) => {
            tracing::warn!(%host, cause = %redact_urls(&in_one_line(error)), "no credential");
        }
    }
}

fn parse(host: &str) -> Result<RegistryHost, Error> {
    RegistryHost::parse(host).ok_or_else(|| Error::Host { host: shown(host) })
}

/// The key in Docker's configuration. Docker Hub has several host names, but only one key.
fn config_key(host: &str) -> &str {
    match host {
        "registry-1.docker.io" | "docker.io" | "index.docker.io" => HUB_KEY,
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Secret;

    fn provider(config: &str, overlay: &str) -> (Provider, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        let environment = Environment::of(
            [
                ("DOCKER_CONFIG", dir.path().to_str().unwrap()),
                ("DOCKER_AUTH_CONFIG", overlay),
            ],
            "/",
        );
        (Provider::new(ProviderOptions::new(&environment)), dir)
    }

    fn user(credential: &Credential) -> &str {
        credential.as_pair().0
    }

    #[tokio::test]
    async fn docker_hubs_credential_is_used_for_all_its_host_names() {
        let (provider, _dir) = provider(
            r#"{"auths":{"https://index.docker.io/v1/":{"username":"hub","password":"p"}}}"#,
            "",
        );
        for host in ["registry-1.docker.io", "docker.io", "dhi.io"] {
            assert_eq!(
                user(&provider.credential(host, &[], &[]).await.unwrap()),
                "hub",
                "{host}"
            );
        }
        assert_eq!(
            provider.credential("ghcr.io", &[], &[]).await.unwrap(),
            Credential::Anonymous
        );
    }

    #[tokio::test]
    async fn the_variable_then_the_scoped_then_the_general_configuration_is_used() {
        let file = r#"{"auths":{"r.example":{"username":"file","password":"p"}}}"#;
        let scopes = ["repository:a/b:pull".to_owned()];
        for (variable, expected) in [
            (
                r#"{"auths":{"r.example":{"auth":"dmFyaWFibGU6cA=="}}}"#.to_owned(),
                "variable",
            ),
            (String::new(), "scoped"),
        ] {
            let (provider, dir) = provider(file, &variable);
            let scoped = dir.path().join("buildx/config/r.example/a/b");
            std::fs::create_dir_all(&scoped).unwrap();
            std::fs::write(scoped.join("config.json"), file.replace("file", "scoped")).unwrap();
            let found = provider
                .credential("r.example", &scopes, &[])
                .await
                .unwrap();
            assert_eq!(user(&found), expected);
            let general = provider.credential("r.example", &[], &[]).await.unwrap();
            assert_ne!(user(&general), "scoped");
        }
    }

    #[tokio::test]
    async fn entries_with_paths_are_chosen_by_the_scope_or_else_by_the_repositories() {
        let (provider, _dir) = provider(
            r#"{"auths":{"h/proj-a":{"username":"a","password":"p"},"h/proj-b":{"username":"b","password":"p"}}}"#,
            "",
        );
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        for (scopes, own, expected) in [
            (
                names(&["repository:proj-b/x:pull,push"]),
                names(&["proj-a/y"]),
                "b",
            ),
            (
                names(&["repository:proj-a/x:pull"]),
                names(&["proj-b/y"]),
                "a",
            ),
            (names(&[]), names(&["proj-b/y"]), "b"),
            (names(&[]), names(&["proj-a/y"]), "a"),
        ] {
            let found = provider
                .credential("h", &scopes, std::slice::from_ref(&own))
                .await
                .unwrap();
            assert_eq!(user(&found), expected, "{scopes:?} {own:?}");
        }
        let origins = provider.origins();
        assert_eq!(origins["h"].len(), 2, "{origins:?}");
        // A token authority's key is not a credential that is sent, so it has no origin.
        provider.token_authority("k", b"s").await.unwrap();
        assert!(!provider.origins().contains_key("k"));
    }

    #[tokio::test]
    async fn a_broken_configuration_does_not_hide_entries_of_the_variable() {
        let (provider, dir) = provider("{", r#"{"auths":{"h":{"auth":"dTpw"},"g":{"auth":"!"}}}"#);
        for (host, expected) in [("h", "u"), ("g", ""), ("k", "")] {
            let found = provider.credential(host, &[], &[]).await.unwrap();
            assert_eq!(user(&found), expected, "{host}");
        }
        let told = provider.origins();
        let told = |host: &str| told[host].first().unwrap().to_string();
        let file = dir.path().join("config.json");
        assert_eq!(
            told("h"),
            "rbake used the credential in the entry `h` of `DOCKER_AUTH_CONFIG`"
        );
        assert_eq!(
            told("g"),
            "rbake sent no credential: the entry `g` of `DOCKER_AUTH_CONFIG` is malformed"
        );
        assert_eq!(
            told("k"),
            format!(
                "rbake sent no credential: `{}` could not be read",
                file.display()
            )
        );
    }

    #[tokio::test]
    async fn a_registry_token_is_returned_without_asking_the_token_server() {
        let (provider, _dir) = provider(r#"{"auths":{"r.example":{"registrytoken":"rt"}}}"#, "");
        let request = TokenRequest {
            host: "r.example".into(),
            realm: "https://unreachable.invalid/".into(),
            ..TokenRequest::default()
        };
        assert_eq!(
            provider.token(&request).await.unwrap().value,
            Secret::new("rt".into())
        );
    }

    #[tokio::test]
    async fn no_token_authority_if_client_tokens_are_disabled() {
        let environment = Environment::of([("BUILDKIT_NO_CLIENT_TOKEN", "1")], "/");
        let provider = Provider::new(ProviderOptions::new(&environment));
        assert!(matches!(
            provider.token_authority("h", b"s").await,
            Err(Error::TokensDisabled)
        ));
    }

    #[tokio::test]
    async fn a_path_in_place_of_a_host_is_refused_everywhere() {
        let (provider, _dir) = provider("{}", "");
        for host in ["../..", "/etc", "r.example/../..", "", "a\u{1b}[2J"] {
            let request = TokenRequest {
                host: host.to_owned(),
                realm: "http://127.0.0.1:9/".to_owned(),
                ..TokenRequest::default()
            };
            let errors = [
                provider.credential(host, &[], &[]).await.unwrap_err(),
                provider.token(&request).await.unwrap_err(),
                provider.token_authority(host, b"s").await.unwrap_err(),
                provider
                    .verify_token_authority(host, b"s", b"p")
                    .await
                    .unwrap_err(),
            ];
            for error in errors {
                assert!(matches!(error, Error::Host { .. }), "{host:?}: {error}");
                assert!(!error.to_string().contains('\u{1b}'));
            }
        }
    }
}
