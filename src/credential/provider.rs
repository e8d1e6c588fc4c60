//! The one source of credentials of a bake.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use tokio::sync::Mutex;

use super::config::{self, HUB_KEY, Place};
use super::{Credential, DockerConfig, Error, Token, TokenRequest, authority, helper, tls, token};
use crate::types::{Clock, Environment, go};

/// How long a credential is kept: somewhat less than the shortest life of one from a cloud's helper.
const KEPT: Duration = Duration::from_secs(4 * 60 + 50);

/// Hosts that take Docker Hub's credential where they have none of their own.
const HUB_GUESTS: [&str; 2] = ["dhi.io", "registry.scout.docker.com"];

/// Answers for every session of a bake: which credential, which token, which key.
///
/// Cheap to clone; clones share what they have learnt.
#[derive(Debug, Clone)]
pub struct Provider(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    docker: Arc<DockerConfig>,
    // `DOCKER_AUTH_CONFIG`, which goes before the file.
    overlay: Option<DockerConfig>,
    docker_dir: Option<PathBuf>,
    buildx_dir: Option<PathBuf>,
    certificates: Vec<PathBuf>,
    tokens_disabled: bool,
    clock: Clock,
    // Keychains misbehave when they are asked in parallel: one lock around every look-up.
    known: Mutex<HashMap<Question, (Duration, Credential)>>,
    clients: Mutex<HashMap<String, reqwest::Client>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    host: String,
    scopes: Vec<String>,
}

impl Provider {
    /// A provider over the user's configuration.
    ///
    /// # Errors
    /// Where the configuration exists but cannot be read.
    pub fn new(environment: &Environment, clock: Clock) -> Result<Self, Error> {
        let overlay = environment.non_empty("DOCKER_AUTH_CONFIG");
        let overlay = overlay
            .map(|text| DockerConfig::parse(text.as_bytes(), "DOCKER_AUTH_CONFIG"))
            .transpose()?;
        Ok(Self(Arc::new(Shared {
            docker: Arc::new(DockerConfig::load(environment)?),
            overlay,
            docker_dir: environment.docker_config_dir(),
            buildx_dir: environment.buildx_config_dir(),
            certificates: tls::folders(environment),
            tokens_disabled: environment
                .get("BUILDKIT_NO_CLIENT_TOKEN")
                .and_then(go::parse_bool)
                == Some(true),
            clock,
            known: Mutex::default(),
            clients: Mutex::default(),
        })))
    }

    /// Docker's configuration, which this provider reads.
    pub fn docker_config(&self) -> &DockerConfig {
        &self.0.docker
    }

    /// The credential for `host`, as BuildKit names it, and for `scopes` where those are known.
    pub async fn credential(&self, host: &str, scopes: &[String]) -> Result<Credential, Error> {
        let question = Question {
            host: host.to_owned(),
            scopes: scopes.to_vec(),
        };
        let mut known = self.0.known.lock().await;
        let now = self.0.clock.elapsed();
        if let Some((since, credential)) = known.get(&question)
            && now.saturating_sub(*since) < KEPT
        {
            return Ok(credential.clone());
        }
        let credential = self.look_up(host, scopes).await?;
        known.insert(question, (now, credential.clone()));
        Ok(credential)
    }

    async fn look_up(&self, host: &str, scopes: &[String]) -> Result<Credential, Error> {
        let key = config_key(host);
        if let Some(dir) = &self.0.buildx_dir {
            for path in config::scoped_files(dir, host, scopes) {
                let found = ask(&DockerConfig::read(&path)?, key).await?;
                if found != Credential::Anonymous {
                    return Ok(found);
                }
            }
        }
        let guest = HUB_GUESTS.contains(&host).then_some(HUB_KEY);
        for key in [Some(key), guest].into_iter().flatten() {
            for config in self.0.overlay.iter().chain([&*self.0.docker]) {
                let found = ask(config, key).await?;
                if found != Credential::Anonymous {
                    return Ok(found);
                }
            }
        }
        Ok(Credential::Anonymous)
    }

    /// A token for `request`, exchanged for the host's credential.
    pub async fn token(&self, request: &TokenRequest) -> Result<Token, Error> {
        let credential = self.credential(&request.host, &request.scopes).await?;
        token::fetch(&self.client(&request.host).await?, request, &credential).await
    }

    /// The public key by which the daemon tells this user's sessions apart for `host`.
    pub async fn token_authority(&self, host: &str, salt: &[u8]) -> Result<[u8; 32], Error> {
        Ok(self
            .authority_key(host, salt)
            .await?
            .verifying_key()
            .to_bytes())
    }

    /// `payload`, signed with that key.
    pub async fn verify_token_authority(
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
        let has_secret = self.credential(host, &[]).await?.has_secret();
        authority::key(self.0.docker_dir.as_deref(), host, salt, has_secret)
    }

    async fn client(&self, host: &str) -> Result<reqwest::Client, Error> {
        let mut clients = self.0.clients.lock().await;
        if let Some(client) = clients.get(host) {
            return Ok(client.clone());
        }
        let config = tls::client_config(host, &self.0.certificates)?;
        // A form with a password must not follow a redirect to somebody else.
        let redirects = reqwest::redirect::Policy::custom(|attempt| {
            let same_host = attempt
                .previous()
                .first()
                .is_some_and(|first| first.host() == attempt.url().host());
            if same_host && attempt.previous().len() < 5 {
                attempt.follow()
            } else {
                attempt.stop()
            }
        });
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .user_agent(concat!("rbake/", env!("CARGO_PKG_VERSION")))
            .redirect(redirects)
            .timeout(token::PATIENCE)
            .build()
            .map_err(|error| Error::Exchange {
                realm: host.to_owned(),
                source: Box::new(error),
            })?;
        clients.insert(host.to_owned(), client.clone());
        Ok(client)
    }
}

async fn ask(config: &DockerConfig, key: &str) -> Result<Credential, Error> {
    let place = match config.find(key)? {
        Place::Helper { program, key } => match helper::get(&program, &key).await? {
            Credential::Anonymous => config.entry(&key)?,
            found => return Ok(found),
        },
        place => place,
    };
    Ok(match place {
        Place::Here(credential) => credential,
        Place::Helper { .. } | Place::Nowhere => Credential::Anonymous,
    })
}

// Docker Hub goes by several names; its credential by one.
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
        (Provider::new(&environment, Clock::system()).unwrap(), dir)
    }

    fn user(credential: &Credential) -> &str {
        credential.as_pair().0
    }

    #[tokio::test]
    async fn the_hub_has_many_names_and_guests() {
        let (provider, _dir) = provider(
            r#"{"auths":{"https://index.docker.io/v1/":{"username":"hub","password":"p"}}}"#,
            "",
        );
        for host in ["registry-1.docker.io", "docker.io", "dhi.io"] {
            assert_eq!(
                user(&provider.credential(host, &[]).await.unwrap()),
                "hub",
                "{host}"
            );
        }
        assert_eq!(
            provider.credential("ghcr.io", &[]).await.unwrap(),
            Credential::Anonymous
        );
    }

    #[tokio::test]
    async fn special_configurations_go_before_general_ones() {
        let file = r#"{"auths":{"r.example":{"username":"file","password":"p"}}}"#;
        let (provider, dir) = provider(
            file,
            r#"{"auths":{"r.example":{"username":"variable","password":"p"}}}"#,
        );
        assert_eq!(
            user(&provider.credential("r.example", &[]).await.unwrap()),
            "variable"
        );
        let scoped = dir.path().join("buildx/config/r.example/a/b");
        std::fs::create_dir_all(&scoped).unwrap();
        std::fs::write(scoped.join("config.json"), file.replace("file", "scoped")).unwrap();
        let scopes = ["repository:a/b:pull".to_owned()];
        assert_eq!(
            user(&provider.credential("r.example", &scopes).await.unwrap()),
            "scoped"
        );
    }

    #[tokio::test]
    async fn a_registry_token_is_handed_on_unasked() {
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
    async fn the_users_wish_to_exchange_no_tokens_is_kept() {
        let environment = Environment::of([("BUILDKIT_NO_CLIENT_TOKEN", "1")], "/");
        let provider = Provider::new(&environment, Clock::system()).unwrap();
        assert!(matches!(
            provider.token_authority("h", b"s").await,
            Err(Error::TokensDisabled)
        ));
    }
}
