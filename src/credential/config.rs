//! Docker's `config.json`: where credentials are found, and the proxies a build is told of.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Credential, Error};
use crate::types::{Environment, Secret};

/// The key of Docker Hub's entry.
pub(super) const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The parts of `config.json` that rbake reads; all else in the file is left alone.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DockerConfig {
    auths: BTreeMap<String, Option<AuthEntry>>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    proxies: BTreeMap<String, Proxies>,
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

/// Proxy settings that become build arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Proxies {
    #[serde(rename = "httpProxy")]
    http: Option<String>,
    #[serde(rename = "httpsProxy")]
    https: Option<String>,
    #[serde(rename = "noProxy")]
    none: Option<String>,
    #[serde(rename = "ftpProxy")]
    ftp: Option<String>,
    #[serde(rename = "allProxy")]
    all: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

// The fields are credentials.
impl std::fmt::Debug for AuthEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthEntry(..)")
    }
}

/// Where the configuration says that a host's credential is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In the file.
    Here(Credential),
    /// With this helper program, which may know nothing; the file's own entry counts then.
    Helper { program: String, key: String },
    /// Nowhere.
    Nowhere,
}

impl DockerConfig {
    /// Reads `config.json` of Docker's configuration directory; a missing file is an empty configuration.
    pub fn load(environment: &Environment) -> Result<Self, Error> {
        match environment.docker_config_dir() {
            Some(dir) => Self::read(&dir.join("config.json")),
            None => Ok(Self::default()),
        }
    }

    /// Reads one file; a missing one is an empty configuration.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        match std::fs::read(path) {
            Ok(text) => Self::parse(&text, &path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(Error::ReadConfig {
                path: path.display().to_string(),
                source,
            }),
        }
    }

    /// Parses the text of a configuration that is called `name` in messages.
    pub(super) fn parse(text: &[u8], name: &str) -> Result<Self, Error> {
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        serde_json::from_slice(text).map_err(|source| Error::ParseConfig {
            path: name.to_owned(),
            source,
        })
    }

    /// The Docker context that is in use by configuration.
    pub fn current_context(&self) -> Option<&str> {
        self.current_context.as_deref()
    }

    /// Build arguments for the proxies configured for the Docker host `host`, else for `default`.
    ///
    /// Both spellings of each, as the Docker CLI sends them (`cli/config/configfile`, `ParseProxyConfig`).
    pub fn proxy_arguments(&self, host: Option<&str>) -> Vec<(String, String)> {
        let configured = host
            .and_then(|host| self.proxies.get(host))
            .or_else(|| self.proxies.get("default"));
        let Some(proxies) = configured else {
            return Vec::new();
        };
        [
            ("HTTP_PROXY", &proxies.http),
            ("HTTPS_PROXY", &proxies.https),
            ("NO_PROXY", &proxies.none),
            ("FTP_PROXY", &proxies.ftp),
            ("ALL_PROXY", &proxies.all),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref().filter(|value| !value.is_empty())?)))
        .flat_map(|(name, value)| {
            [
                (name.to_owned(), value.clone()),
                (name.to_ascii_lowercase(), value.clone()),
            ]
        })
        .collect()
    }

    /// Where the credential for `key` is: a helper for that host, the general helper, an entry of the file.
    pub(super) fn find(&self, key: &str) -> Result<Place, Error> {
        let helper = self
            .helpers
            .get(key)
            .or(self.store.as_ref())
            .filter(|name| !name.is_empty());
        match helper {
            Some(name) => Ok(Place::Helper {
                program: format!("docker-credential-{name}"),
                key: key.to_owned(),
            }),
            None => self.entry(key),
        }
    }

    /// The file's own entry for `key`, helpers left aside.
    pub(super) fn entry(&self, key: &str) -> Result<Place, Error> {
        let exact = self.auths.get(key);
        let same_host = || {
            self.auths
                .iter()
                .find(|(stored, _)| host_part(stored) == host_part(key))
                .map(|(_, e)| e)
        };
        match exact.or_else(same_host) {
            Some(Some(entry)) => Ok(match entry.credential(key)? {
                Credential::Anonymous => Place::Nowhere,
                credential => Place::Here(credential),
            }),
            Some(None) | None => Ok(Place::Nowhere),
        }
    }
}

impl AuthEntry {
    fn credential(&self, host: &str) -> Result<Credential, Error> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Credential::Registry(Secret::new(token)));
        }
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Credential::Identity(Secret::new(token)));
        }
        let (username, password) = match given(&self.auth) {
            Some(auth) => decode_auth(&auth).ok_or_else(|| Error::MalformedAuth {
                host: host.to_owned(),
            })?,
            None => (
                given(&self.username).unwrap_or_default(),
                given(&self.password).unwrap_or_default(),
            ),
        };
        if username.is_empty() && password.is_empty() {
            return Ok(Credential::Anonymous);
        }
        Ok(Credential::Basic {
            username,
            password: Secret::new(password),
        })
    }
}

fn decode_auth(auth: &str) -> Option<(String, String)> {
    let bytes = STANDARD.decode(auth.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    // Docker pads passwords with NUL bytes in some old files.
    Some((user.to_owned(), password.trim_matches('\0').to_owned()))
}

// `https://host/v1/` and `host` name the same registry.
fn host_part(key: &str) -> &str {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    key.split('/').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> DockerConfig {
        DockerConfig::parse(text.as_bytes(), "config.json").unwrap()
    }

    fn basic(username: &str, password: &str) -> Place {
        Place::Here(Credential::Basic {
            username: username.into(),
            password: Secret::new(password.into()),
        })
    }

    #[test]
    fn entries_are_found_by_host_whatever_their_form() {
        let config = config(
            r#"{"auths":{"https://r.example/v1/":{"auth":"dTpwOnE="},"x.example":{}},"other":[1]}"#,
        );
        assert_eq!(config.find("r.example").unwrap(), basic("u", "p:q"));
        assert_eq!(config.find("x.example").unwrap(), Place::Nowhere);
        assert_eq!(config.find("y.example").unwrap(), Place::Nowhere);
    }

    #[test]
    fn tokens_go_before_passwords() {
        let config = config(
            r#"{"auths":{"a":{"auth":"dTpw","identitytoken":"i"},"b":{"identitytoken":"i","registrytoken":"r"}}}"#,
        );
        assert_eq!(
            config.find("a").unwrap(),
            Place::Here(Credential::Identity(Secret::new("i".into())))
        );
        assert_eq!(
            config.find("b").unwrap(),
            Place::Here(Credential::Registry(Secret::new("r".into())))
        );
    }

    #[test]
    fn a_hosts_helper_goes_before_the_general_one() {
        let config = config(
            r#"{"credsStore":"pass","credHelpers":{"a":"ecr-login"},"auths":{"b":{"auth":"dTpw"}}}"#,
        );
        let helper = |program: &str, key: &str| Place::Helper {
            program: program.into(),
            key: key.into(),
        };
        assert_eq!(
            config.find("a").unwrap(),
            helper("docker-credential-ecr-login", "a")
        );
        assert_eq!(
            config.find("b").unwrap(),
            helper("docker-credential-pass", "b")
        );
        assert_eq!(config.entry("b").unwrap(), basic("u", "p"));
    }

    #[test]
    fn broken_entries_name_the_host_and_not_the_secret() {
        let error = config(r#"{"auths":{"a":{"auth":"aHVudGVyMg=="}}}"#)
            .find("a")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the credentials for `a` in Docker's configuration are malformed"
        );
        assert!(DockerConfig::parse(b"{", "c").is_err());
        assert!(DockerConfig::parse(b" \n", "c").is_ok());
    }

    #[test]
    fn proxies_come_in_both_spellings() {
        let config = config(
            r#"{"proxies":{"default":{"httpProxy":"http://p","noProxy":""},"tcp://h":{"httpsProxy":"s"}}}"#,
        );
        let names = |host| {
            config
                .proxy_arguments(host)
                .into_iter()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["HTTP_PROXY", "http_proxy"]);
        assert_eq!(names(Some("tcp://h")), ["HTTPS_PROXY", "https_proxy"]);
    }
}
