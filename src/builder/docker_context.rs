//! Which Docker Engine the user means: `DOCKER_HOST`, `DOCKER_CONTEXT`, the current context, the default sockets.
//!
//! Knows Docker's files of settings, not the Engine. The order is that of the `docker` command, which has no flags here.
//! Start at [`DockerContexts::current`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::files::{self, LIMIT};
use crate::engine::endpoint::{DockerHost, InvalidEndpoint, TlsMaterial};
use crate::types::{Digest, Environment};

/// The name of the context that stands for `DOCKER_HOST` or the default socket.
pub const DEFAULT_CONTEXT: &str = "default";

const SYSTEM_SOCKET: &str = "/var/run/docker.sock";

/// The user's settings do not lead to a Docker Engine.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A file of settings cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of settings is not what Docker writes.
    #[error("`{}` is not a file of Docker's settings", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// No context has this name.
    #[error("there is no Docker context `{name}`")]
    Unknown {
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The context says nothing about a Docker Engine.
    #[error("the Docker context `{0}` has no address of a Docker Engine")]
    NoHost(String),
    /// The context asks not to check the Engine's certificate.
    #[error(
        "the Docker context `{0}` skips the check of the Engine's certificate, which rbake does not do"
    )]
    Unchecked(String),
    /// `DOCKER_TLS` without `DOCKER_TLS_VERIFY`.
    #[error(
        "`DOCKER_TLS` asks for TLS without a check of the Engine's certificate, which rbake does not do"
    )]
    UncheckedVariable,
    /// The address cannot be used.
    #[error("{from} names an address that cannot be used")]
    Host {
        /// Where the address stands.
        from: String,
        /// Why.
        #[source]
        source: InvalidEndpoint,
    },
}

/// A Docker Engine that the settings lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerContext {
    /// The context's name; [`DEFAULT_CONTEXT`] for what has none.
    pub name: String,
    /// The Engine's address.
    pub host: DockerHost,
    /// What leads there, such as `` `DOCKER_HOST` `` or `the default socket`.
    pub from: String,
    /// Whether the user said so, by a variable or a context, so that it is an error if nothing answers.
    pub named: bool,
}

/// Docker's contexts, as the environment leads to them.
#[derive(Debug, Clone)]
pub struct DockerContexts<'a> {
    environment: &'a Environment,
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(rename = "currentContext", default)]
    current_context: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    endpoints: BTreeMap<String, Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

impl<'a> DockerContexts<'a> {
    /// The contexts that `environment` leads to.
    pub fn new(environment: &'a Environment) -> Self {
        Self { environment }
    }

    /// The name of the current context.
    pub fn current_name(&self) -> Result<String, ContextError> {
        // DOCKER_HOST wins over every context (docker/cli `resolveContextName`).
        if self.environment.non_empty("DOCKER_HOST").is_some() {
            return Ok(DEFAULT_CONTEXT.to_owned());
        }
        if let Some(name) = self.environment.non_empty("DOCKER_CONTEXT") {
            return Ok(name.to_owned());
        }
        let Some(dir) = self.environment.docker_config_dir() else {
            return Ok(DEFAULT_CONTEXT.to_owned());
        };
        let config: Option<ConfigFile> = read_json(&dir.join("config.json"))?;
        Ok(config
            .and_then(|config| config.current_context)
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| DEFAULT_CONTEXT.to_owned()))
    }

    /// The Engine of the current context.
    pub fn current(&self) -> Result<DockerContext, ContextError> {
        self.context(&self.current_name()?)
    }

    /// The Engine of the context `name`.
    pub fn context(&self, name: &str) -> Result<DockerContext, ContextError> {
        if name == DEFAULT_CONTEXT {
            return self.default_context();
        }
        let dir = self
            .environment
            .docker_config_dir()
            .unwrap_or_default()
            .join("contexts");
        let id = Digest::sha256(name.as_bytes());
        let metadata: Option<Metadata> =
            read_json(&dir.join("meta").join(id.hex()).join("meta.json"))?;
        let Some(metadata) = metadata else {
            return Err(ContextError::Unknown {
                name: name.to_owned(),
                known: self.names(),
            });
        };
        let endpoint = metadata
            .endpoints
            .get("docker")
            .filter(|endpoint| !endpoint.host.is_empty())
            .ok_or_else(|| ContextError::NoHost(name.to_owned()))?;
        let tls = tls_in(&dir.join("tls").join(id.hex()).join("docker"));
        let tls = Some(tls).filter(|tls| !tls.is_empty());
        if endpoint.skip_tls_verify && endpoint.host.starts_with("tcp://") {
            return Err(ContextError::Unchecked(name.to_owned()));
        }
        let from = format!("the Docker context `{name}`");
        let host = parse(&endpoint.host, tls, &from)?;
        Ok(DockerContext {
            name: name.to_owned(),
            host,
            from,
            named: true,
        })
    }

    /// What a node of buildx's store names: a context, or else an address.
    pub fn context_or_host(&self, text: &str) -> Result<DockerContext, ContextError> {
        if text.is_empty() {
            return self.default_context();
        }
        if !text.contains("://") {
            return self.context(text);
        }
        // The address of the default context is stored as such; the certificates are those of the variables.
        let from = format!("the address `{}`", crate::types::secret::redact_url(text));
        let host = parse(text, self.variables_tls()?, &from)?;
        Ok(DockerContext {
            name: DEFAULT_CONTEXT.to_owned(),
            host,
            from,
            named: true,
        })
    }

    /// The key under which buildx's store keeps the choice for the current endpoint.
    pub fn store_key(&self) -> Result<String, ContextError> {
        let name = self.current_name()?;
        if name != DEFAULT_CONTEXT {
            return Ok(name);
        }
        Ok(self
            .environment
            .non_empty("DOCKER_HOST")
            .map_or_else(|| format!("unix://{SYSTEM_SOCKET}"), str::to_owned))
    }

    /// The names of all contexts, sorted, with the default one. Unreadable ones are left out.
    pub fn names(&self) -> Vec<String> {
        let mut names = vec![DEFAULT_CONTEXT.to_owned()];
        if let Some(dir) = self.environment.docker_config_dir() {
            let folders = std::fs::read_dir(dir.join("contexts/meta"));
            for folder in folders.into_iter().flatten().flatten() {
                let metadata = read_json::<Metadata>(&folder.path().join("meta.json"));
                if let Ok(Some(metadata)) = metadata {
                    names.push(metadata.name);
                }
            }
        }
        names.sort();
        names
    }

    fn default_context(&self) -> Result<DockerContext, ContextError> {
        if let Some(text) = self.environment.non_empty("DOCKER_HOST") {
            let from = "`DOCKER_HOST`".to_owned();
            let host = parse(text.trim(), self.variables_tls()?, &from)?;
            return Ok(DockerContext {
                name: DEFAULT_CONTEXT.to_owned(),
                host,
                from,
                named: true,
            });
        }
        let socket = self
            .default_sockets()
            .into_iter()
            .find(|path| path.exists())
            .unwrap_or_else(|| PathBuf::from(SYSTEM_SOCKET));
        Ok(DockerContext {
            name: DEFAULT_CONTEXT.to_owned(),
            host: DockerHost::Unix(socket),
            from: "the default socket".to_owned(),
            named: false,
        })
    }

    /// The sockets where an Engine listens by default: the system's, Docker Desktop's, the rootless one's.
    pub fn default_sockets(&self) -> Vec<PathBuf> {
        let mut sockets = vec![PathBuf::from(SYSTEM_SOCKET)];
        if let Some(home) = self.environment.home() {
            sockets.push(home.join(".docker/run/docker.sock"));
        }
        if let Some(dir) = self.environment.non_empty("XDG_RUNTIME_DIR") {
            sockets.push(Path::new(dir).join("docker.sock"));
        }
        sockets
    }

    // DOCKER_TLS_VERIFY counts when it is set at all, whatever it says (docker/cli flags.go).
    fn variables_tls(&self) -> Result<Option<TlsMaterial>, ContextError> {
        let set = |name| self.environment.get(name).is_some_and(|v| !v.is_empty());
        if !set("DOCKER_TLS_VERIFY") {
            return if set("DOCKER_TLS") {
                Err(ContextError::UncheckedVariable)
            } else {
                Ok(None)
            };
        }
        let dir = match self.environment.non_empty("DOCKER_CERT_PATH") {
            Some(dir) => Some(self.environment.current_dir().join(dir)),
            None => self.environment.docker_config_dir(),
        };
        Ok(Some(dir.map(|dir| tls_in(&dir)).unwrap_or_default()))
    }
}

// `ca.pem`, `cert.pem` and `key.pem` of `dir`, those of them that are there.
fn tls_in(dir: &Path) -> TlsMaterial {
    let file = |name: &str| Some(dir.join(name)).filter(|path| path.is_file());
    TlsMaterial {
        ca: file("ca.pem"),
        cert: file("cert.pem"),
        key: file("key.pem"),
        servername: None,
    }
}

// Without a port, TCP means 2376 with TLS and 2375 without, as for the `docker` command.
fn parse(text: &str, tls: Option<TlsMaterial>, from: &str) -> Result<DockerHost, ContextError> {
    let tcp = text
        .strip_prefix("tcp://")
        .map(|rest| rest.trim_end_matches('/'));
    let without_port = tcp.filter(|rest| match rest.rsplit_once(']') {
        Some((_, after)) => after.is_empty(),
        None => !rest.is_empty() && !rest.contains(':'),
    });
    let host = match without_port {
        Some(rest) => format!("tcp://{rest}:{}", if tls.is_some() { 2376 } else { 2375 }).parse(),
        None => text.parse(),
    };
    match host {
        Ok(DockerHost::Tcp { address, .. }) if !text.starts_with("http://") => {
            Ok(DockerHost::Tcp { address, tls })
        }
        Ok(host) => Ok(host),
        Err(source) => Err(ContextError::Host {
            from: from.to_owned(),
            source,
        }),
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, ContextError> {
    let text = files::read_text(path, LIMIT).map_err(|source| ContextError::Read {
        path: path.to_owned(),
        source,
    })?;
    text.map(|text| {
        serde_json::from_str(&text).map_err(|source| ContextError::Form {
            path: path.to_owned(),
            source,
        })
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    // A context as `docker context create far --docker host=tcp://far.example:2376,ca=…` stores it.
    fn config_dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let id = Digest::sha256(b"far");
        let meta = dir.path().join("contexts/meta").join(id.hex());
        let tls = dir
            .path()
            .join("contexts/tls")
            .join(id.hex())
            .join("docker");
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::create_dir_all(&tls).unwrap();
        std::fs::write(
            meta.join("meta.json"),
            r#"{"Name":"far","Metadata":{"Description":"x"},"Endpoints":{"docker":{"Host":"tcp://far.example:2376","SkipTLSVerify":false}}}"#,
        )
        .unwrap();
        std::fs::write(tls.join("ca.pem"), "x").unwrap();
        std::fs::write(
            dir.path().join("config.json"),
            r#"{"auths":{},"currentContext":"far"}"#,
        )
        .unwrap();
        dir
    }

    fn environment(dir: &Path, more: &[(&str, &str)]) -> Environment {
        let variables = [("DOCKER_CONFIG", dir.to_str().unwrap())];
        let all = variables.iter().chain(more);
        Environment::new(
            all.map(|(name, value)| ((*name).into(), (*value).into())),
            "/".into(),
        )
    }

    #[test]
    fn the_current_context_has_host_and_certificates() {
        let dir = config_dir();
        let environment = environment(dir.path(), &[]);
        let contexts = DockerContexts::new(&environment);
        let context = contexts.current().unwrap();
        assert_eq!(context.name, "far");
        assert_eq!(context.host.to_string(), "tcp://far.example:2376");
        let DockerHost::Tcp { tls, .. } = context.host else {
            panic!("not tcp")
        };
        assert!(tls.unwrap().ca.unwrap().ends_with("docker/ca.pem"));
        assert_eq!(contexts.names(), ["default", "far"]);
        assert_eq!(contexts.store_key().unwrap(), "far");
    }

    #[test]
    fn docker_host_wins_over_contexts_and_takes_tls_from_variables() {
        let dir = config_dir();
        let environment = environment(
            dir.path(),
            &[
                ("DOCKER_HOST", "tcp://h.example"),
                ("DOCKER_TLS_VERIFY", "1"),
                ("DOCKER_CONTEXT", "far"),
            ],
        );
        let contexts = DockerContexts::new(&environment);
        let context = contexts.current().unwrap();
        assert_eq!(context.host.to_string(), "tcp://h.example:2376");
        assert!(context.named);
        assert_eq!(contexts.store_key().unwrap(), "tcp://h.example");
    }

    #[test]
    fn an_unknown_context_is_an_error_that_lists_the_known() {
        let dir = config_dir();
        let environment = environment(dir.path(), &[("DOCKER_CONTEXT", "fra")]);
        let error = DockerContexts::new(&environment).current().unwrap_err();
        assert!(
            matches!(error, ContextError::Unknown { known, .. } if known == ["default", "far"])
        );
    }

    #[test]
    fn nothing_said_means_a_default_socket_that_may_be_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("docker.sock"), "").unwrap();
        let environment = environment(
            dir.path(),
            &[("XDG_RUNTIME_DIR", dir.path().to_str().unwrap())],
        );
        let context = DockerContexts::new(&environment).current().unwrap();
        assert!(!context.named);
        assert_eq!(context.name, DEFAULT_CONTEXT);
    }

    #[test_case("tcp://h.example", "tcp://h.example:2375")]
    #[test_case("tcp://[::1]/", "tcp://[::1]:2375")]
    #[test_case("tcp://h:99", "tcp://h:99")]
    #[test_case("unix:///run/d.sock", "unix:///run/d.sock")]
    fn the_port_may_be_left_out(text: &str, shown: &str) {
        assert_eq!(parse(text, None, "x").unwrap().to_string(), shown);
    }

    #[test]
    fn an_engine_behind_ssh_is_named_with_where_it_stands() {
        let error = parse("ssh://me@h", None, "`DOCKER_HOST`").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`DOCKER_HOST` names an address that cannot be used"
        );
    }

    #[test]
    fn unchecked_tls_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let environment = environment(
            dir.path(),
            &[("DOCKER_HOST", "tcp://h:1"), ("DOCKER_TLS", "1")],
        );
        let error = DockerContexts::new(&environment).current().unwrap_err();
        assert!(matches!(error, ContextError::UncheckedVariable));
    }
}
