//! Docker's `config.json` and `DOCKER_AUTH_CONFIG`: where credentials are, and which proxies a build gets.
//!
//! Both are read as docker/cli reads them (`cli/config/configfile`), except that an error in one place does not
//! discard the rest. Reading never fails: [`DockerConfig::problems`] lists what is wrong.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use super::entry::{AuthEntry, host_of, path_of};
use super::{Credential, Origin};
use crate::golang::json::{GoText, GoValue, Reading, Trailing, is_field, shown_key};
use crate::types::Environment;
use crate::types::regular::read_regular;

/// The key of the entry for Docker Hub.
pub(super) const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The variable with a configuration that contains only entries for registries.
pub(super) const VARIABLE: &str = "DOCKER_AUTH_CONFIG";

/// The largest configuration that is read, in bytes.
const FILE_LIMIT: u64 = 4 << 20;

// Other fields that Docker reads. rbake does not use them, but reports a wrong type, as Docker does.
const TEXTS: [&str; 15] = [
    "psFormat",
    "imagesFormat",
    "networksFormat",
    "pluginsFormat",
    "volumesFormat",
    "statsFormat",
    "detachKeys",
    "serviceInspectFormat",
    "servicesFormat",
    "tasksFormat",
    "secretFormat",
    "configFormat",
    "nodesFormat",
    "currentContext",
    "credsStore",
];
const TEXT_MAPS: [&str; 4] = ["HttpHeaders", "credHelpers", "aliases", "features"];
const TEXT_LISTS: [&str; 2] = ["pruneFilters", "cliPluginsExtraDirs"];

/// One configuration: the fields that rbake uses.
#[derive(Debug, Clone, Default)]
pub(crate) struct DockerConfig {
    // The file or variable, as messages name it.
    source: String,
    // In the variable, Docker finds entries only by their exact keys, without other spellings of the registry.
    is_variable: bool,
    auths: BTreeMap<String, AuthEntry>,
    store: String,
    helpers: BTreeMap<String, String>,
    proxies: BTreeMap<String, Proxies>,
    problems: Vec<String>,
    is_unread: bool,
}

/// Proxy settings, which become build arguments. An empty text means not set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Proxies {
    http: String,
    https: String,
    none: String,
    ftp: String,
}

/// The place of a host's credential, according to the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CredentialPlace {
    /// In the file itself.
    Here(Credential),
    /// In this credential helper, which may turn out not to have it. The file's registry token is used in addition
    /// to its answer.
    Helper {
        program: String,
        key: String,
        registry_token: String,
    },
    /// The configuration has no credential for the host.
    Nowhere,
}

impl DockerConfig {
    /// Reads `config.json` in Docker's configuration directory. A missing file counts as empty.
    ///
    /// As in Docker, if the file says nothing about credentials, the system's default helper is used if it is in
    /// `PATH`.
    pub(crate) fn load(environment: &Environment) -> Self {
        let mut config = match environment.docker_config_dir() {
            Some(dir) => Self::read(&dir.join("config.json")),
            None => Self::default(),
        };
        if config.auths.is_empty() && config.store.is_empty() && config.helpers.is_empty() {
            usual_helper(environment)
                .unwrap_or_default()
                .clone_into(&mut config.store);
        }
        config
    }

    /// Reads one file. A missing file counts as an empty configuration.
    pub(super) fn read(path: &Path) -> Self {
        let source = format!("`{}`", path.display());
        match read_regular(path, FILE_LIMIT) {
            Ok(text) => Self::parse(&text, source),
            // Some users disable the file by a link to /dev/null.
            Err(error) if error.kind() == ErrorKind::NotFound || is_null(path) => Self {
                source,
                ..Self::default()
            },
            Err(error) => Self {
                source,
                problems: vec![format!("it cannot be read: {error}")],
                is_unread: true,
                ..Self::default()
            },
        }
    }

    /// Parses the text of a file. Messages call the file `source`.
    pub(super) fn parse(text: &[u8], source: String) -> Self {
        let mut config = Self {
            source,
            ..Self::default()
        };
        let text = GoText::new(text);
        let mut reading = Reading::default();
        match text.value(Trailing::Ignored) {
            Ok(None) => {}
            Ok(Some(document)) => reading.object(document, "", |reading, key, value| {
                config.member(reading, key, value);
            }),
            Err(error) => {
                config.problems.push(error.to_string());
                config.is_unread = true;
            }
        }
        config.note_wrong(&reading);
        config.note_malformed();
        config
    }

    /// Parses `DOCKER_AUTH_CONFIG`, in which each entry may only have `auth`.
    pub(super) fn parse_variable(text: &str) -> Self {
        let mut config = Self {
            source: format!("`{VARIABLE}`"),
            is_variable: true,
            ..Self::default()
        };
        let text = GoText::new(text.as_bytes());
        let mut reading = Reading::default();
        let mut more = Vec::new();
        match text.value(Trailing::Ignored) {
            Ok(None) => {}
            Ok(Some(document)) => reading.object(document, "", |reading, key, value| {
                if is_field(key, "auths") {
                    reading.map(
                        value,
                        "auths",
                        &mut config.auths,
                        |reading, value, at, into| {
                            more.extend(into.read_auth(reading, value, at).then(|| at.to_owned()));
                        },
                    );
                } else {
                    more.push(String::new());
                }
            }),
            Err(error) => {
                config.problems.push(error.to_string());
                config.is_unread = true;
            }
        }
        config.note_wrong(&reading);
        for at in more {
            config.problems.push(match at.as_str() {
                "" => "it has keys other than `auths`".to_owned(),
                at => format!("`{at}` has keys other than `auth`"),
            });
        }
        if text.has_more() {
            config
                .problems
                .push("it contains text after its first value".to_owned());
        }
        config.note_malformed();
        config
    }

    /// Records the fields whose types are wrong for Go. If the document itself has the wrong type, nothing was
    /// read.
    fn note_wrong(&mut self, reading: &Reading) {
        self.is_unread |= reading.wrong.iter().any(|wrong| wrong.at.is_empty());
        let wrong = reading.wrong.iter().map(ToString::to_string);
        self.problems.extend(wrong);
    }

    fn member(&mut self, reading: &mut Reading, key: &str, value: GoValue<'_>) {
        let text = |reading: &mut Reading, value: GoValue<'_>, at: &str, into: &mut String| {
            reading.text(value, at, into);
        };
        if is_field(key, "auths") {
            reading.map(value, "auths", &mut self.auths, AuthEntry::read);
        } else if is_field(key, "credsStore") {
            reading.text(value, "credsStore", &mut self.store);
        } else if is_field(key, "credHelpers") {
            reading.map(value, "credHelpers", &mut self.helpers, text);
        } else if is_field(key, "proxies") {
            reading.map(value, "proxies", &mut self.proxies, Proxies::read);
        } else if is_field(key, "plugins") {
            let mut plugins = BTreeMap::<String, BTreeMap<String, String>>::new();
            reading.map(
                value,
                "plugins",
                &mut plugins,
                |reading, value, at, into| {
                    reading.map(value, at, into, text);
                },
            );
        } else if let Some(field) = TEXTS.iter().find(|field| is_field(key, field)) {
            reading.text(value, field, &mut String::new());
        } else if let Some(field) = TEXT_MAPS.iter().find(|field| is_field(key, field)) {
            reading.map(value, field, &mut BTreeMap::new(), text);
        } else if let Some(field) = TEXT_LISTS.iter().find(|field| is_field(key, field)) {
            reading.list(value, field, &mut Vec::new(), text);
        }
    }

    fn note_malformed(&mut self) {
        for (key, entry) in &self.auths {
            let key = shown_key(key);
            if entry.credential().is_err() {
                self.problems.push(format!(
                    "`auths.{key}.auth` is not `user:password` in base64"
                ));
            } else if self.is_variable && entry.auth.is_empty() && !entry.wrong {
                self.problems.push(format!("`auths.{key}` has no `auth`"));
            }
        }
    }

    /// The file or variable, as messages name it.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Whether nothing could be read, so that it is unknown what the configuration says.
    pub(crate) fn is_unread(&self) -> bool {
        self.is_unread
    }

    /// What is wrong with it, one problem per line. Contains none of its values, which may be secret.
    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Build arguments for the proxies that are configured for the Docker host `host`, or else for `default`.
    ///
    /// They are those of buildx (`store/storeutil`, `GetProxyConfig`): the `docker` command gives more, also in lower case, which the
    /// frontend would pass on to every step.
    pub(crate) fn proxy_arguments(&self, host: &str) -> Vec<(String, String)> {
        let configured = self.proxies.get(host);
        let configured = configured.or_else(|| self.proxies.get("default"));
        let Some(proxies) = configured else {
            return Vec::new();
        };
        [
            ("HTTP_PROXY", &proxies.http),
            ("HTTPS_PROXY", &proxies.https),
            ("NO_PROXY", &proxies.none),
            ("FTP_PROXY", &proxies.ftp),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect()
    }

    /// Finds the credential for `key`: in the helper for that registry, in the general helper, or in an entry.
    ///
    /// `repositories` are the repositories that the credential is for, if known. An earlier list takes precedence
    /// over a later one.
    pub(super) fn find(
        &self,
        key: &str,
        repositories: &[Vec<String>],
    ) -> (CredentialPlace, Origin) {
        let helper = self.helpers.get(key).unwrap_or(&self.store);
        let (credential, origin) = self.entry(key, repositories);
        if helper.is_empty() {
            return match credential {
                Credential::Anonymous => (CredentialPlace::Nowhere, origin),
                credential => (CredentialPlace::Here(credential), origin),
            };
        }
        let program = format!("docker-credential-{helper}");
        let origin = Origin::Helper {
            source: self.source.clone(),
            program: program.clone(),
            account: None,
        };
        let place = CredentialPlace::Helper {
            program,
            key: key.to_owned(),
            registry_token: credential.registry_token().to_owned(),
        };
        (place, origin)
    }

    /// The best entry that holds a credential. An entry that is empty or malformed does not hide others.
    fn entry(&self, key: &str, repositories: &[Vec<String>]) -> (Credential, Origin) {
        let mut malformed = None;
        let is_known = repositories.iter().any(|list| !list.is_empty());
        for (rank, key, entry) in self.candidates(key, repositories) {
            let astray = is_known && rank == Rank::Astray;
            let source = self.source.clone();
            match entry.credential() {
                Ok(Credential::Anonymous) if !entry.wrong => {}
                Ok(Credential::Anonymous) | Err(_) => {
                    let key = key.to_owned();
                    malformed = malformed.or(Some(Origin::Malformed { source, key }));
                }
                Ok(credential) => {
                    let key = key.to_owned();
                    return (
                        credential,
                        Origin::Entry {
                            source,
                            key,
                            astray,
                            account: None,
                        },
                    );
                }
            }
        }
        let unread = || Origin::Unread {
            source: self.source.clone(),
        };
        let nothing = malformed.or_else(|| self.is_unread.then(unread));
        (Credential::Anonymous, nothing.unwrap_or(Origin::Nowhere))
    }

    /// The entries for the registry `wanted`, best first. If no path matches, Docker picks any entry of the
    /// registry (in Go's random order); here it is the first by name.
    fn candidates(
        &self,
        wanted: &str,
        repositories: &[Vec<String>],
    ) -> Vec<(Rank, &str, &AuthEntry)> {
        let rank = |key: &str| {
            if key == wanted {
                return Some(Rank::Registry);
            }
            if host_of(key) != wanted {
                return None;
            }
            let path = path_of(key);
            let list = path.and_then(|path| {
                let leads = |list: &Vec<String>| list.iter().any(|name| is_below(name, path));
                repositories.iter().position(leads)
            });
            match (path, list) {
                (Some(path), Some(list)) => Some(Rank::Path(list, Reverse(path.len()))),
                _ if self.is_variable => None,
                (None, _) => Some(Rank::Spelling),
                (Some(_), None) => Some(Rank::Astray),
            }
        };
        let mut ranked: Vec<_> = self
            .auths
            .iter()
            .filter_map(|(key, entry)| Some((rank(key)?, key.as_str(), entry)))
            .collect();
        ranked.sort_by_key(|(rank, key, _)| (*rank, *key));
        ranked
    }
}

/// How an entry matches a registry, the best match first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Its path contains a repository of the list with this index; the longest path first.
    Path(usize, Reverse<usize>),
    /// Its key is exactly the registry's.
    Registry,
    /// Its key is the registry in another spelling, such as a URL.
    Spelling,
    /// It is for other repositories of the registry than those that are known.
    Astray,
}

impl Proxies {
    fn read(reading: &mut Reading, value: GoValue<'_>, at: &str, into: &mut Self) {
        // Not used by buildx, but a wrong value makes the whole file unreadable.
        let mut all = String::new();
        reading.object(value, at, |reading, key, value| {
            let fields = [
                ("httpProxy", &mut into.http),
                ("httpsProxy", &mut into.https),
                ("noProxy", &mut into.none),
                ("ftpProxy", &mut into.ftp),
                ("allProxy", &mut all),
            ];
            for (field, into) in fields {
                if is_field(key, field) {
                    reading.text(value, &format!("{at}.{field}"), into);
                }
            }
        });
    }
}

fn is_null(path: &Path) -> bool {
    path.canonicalize()
        .is_ok_and(|path| path == Path::new("/dev/null"))
}

fn is_below(repository: &str, path: &str) -> bool {
    let rest = repository.strip_prefix(path);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The default helper of the system, if it is in `PATH` (docker/cli's `DetectDefaultStore`).
fn usual_helper(environment: &Environment) -> Option<&'static str> {
    let path = environment.get("PATH")?;
    let is_there = |program: &str| {
        std::env::split_paths(path)
            .any(|dir| is_program(&environment.current_dir().join(dir).join(program)))
    };
    let helper = if cfg!(target_os = "macos") {
        "osxkeychain"
    } else if cfg!(windows) {
        "wincred"
    } else if is_there("pass") {
        "pass"
    } else {
        "secretservice"
    };
    is_there(&format!("docker-credential-{helper}")).then_some(helper)
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.with_extension("exe").is_file()
}

#[cfg(test)]
mod tests;
