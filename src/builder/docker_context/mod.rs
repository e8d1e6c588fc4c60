//! Finds the Docker Engine that the user means: `DOCKER_HOST`, `DOCKER_CONTEXT`, the current context, or the
//! default sockets.
//!
//! Knows Docker's settings files, not the Engine. The order is the `docker` command's, without its flags. Start at
//! [`DockerContexts::current`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::candidate::Settings;
use super::docker_address::{self, SYSTEM_SOCKET};
use super::files::{self, LIMIT};
use super::tls::{self, TlsError};
use crate::diag::Diagnostic;
use crate::engine::endpoint::{DockerHost, InvalidEndpoint, TlsMaterial};
use crate::golang::json::{GoText, GoValue, Reading, Trailing, is_field};
use crate::types::{Digest, Environment};

/// The context that docker has without a file: `DOCKER_HOST`, or else the default socket.
pub(crate) const DEFAULT_CONTEXT: &str = "default";

/// The user's settings do not lead to a usable Docker Engine.
#[derive(Debug, thiserror::Error)]
pub enum DockerContextError {
    /// A settings file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The underlying error.
        #[source]
        source: io::Error,
    },
    /// A settings file does not have the form that Docker writes.
    #[error("`{}` is not a valid settings file of Docker: {problem}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong and where, without quoting the content, which may be secret.
        problem: String,
    },
    /// No context has this name.
    #[error("there is no Docker context `{name}`{}", .from.as_ref().map(|from| format!(", which {from} names")).unwrap_or_default())]
    Unknown {
        /// The name.
        name: String,
        /// The setting that names it. `None` if the caller asked for this name and so can say where it comes from.
        from: Option<String>,
        /// The names of all contexts.
        known: Vec<String>,
    },
    /// The context has no endpoint for a Docker Engine. (It may be for Kubernetes only.)
    #[error("the Docker context `{0}` has no address of a Docker Engine")]
    NoHost(String),
    /// The certificates or keys that a setting names cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The context says `SkipTLSVerify`, so docker would not check the Engine's certificate.
    #[error(
        "the Docker context `{0}` skips the check of the Engine's certificate, which rbake does not support"
    )]
    Unchecked(String),
    /// `DOCKER_TLS` is set without `DOCKER_TLS_VERIFY`: docker would use TLS without a check of the certificate.
    #[error(
        "`DOCKER_TLS` asks for TLS without a check of the Engine's certificate, which rbake does not support"
    )]
    UncheckedVariable,
    /// The address cannot be used.
    #[error("{from} names an address that cannot be used")]
    Host {
        /// The setting that holds the address.
        from: String,
        /// The underlying error.
        #[source]
        source: InvalidEndpoint,
    },
}

/// The Docker Engine that a context or the variables lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerContext {
    /// The context's name. [`DEFAULT_CONTEXT`] if the Engine comes from the variables or the default socket.
    pub(crate) name: String,
    /// The Engine's address.
    pub host: DockerHost,
    /// What led to it, for messages, such as `` `DOCKER_HOST` `` or `the default socket`.
    pub(crate) from: String,
    /// Whether the user named it by a variable or a context. If so, it is an error if nothing answers.
    pub(crate) named: bool,
    /// The settings that led to it.
    pub(crate) settings: Settings,
}

/// Docker's contexts, in the configuration folder that the environment names.
#[derive(Debug, Clone)]
pub struct DockerContexts<'a> {
    environment: &'a Environment,
}

#[derive(Debug, Default)]
struct Metadata {
    name: String,
    endpoints: BTreeMap<String, Endpoint>,
}

#[derive(Debug, Default)]
struct Endpoint {
    host: String,
    skip_tls_verify: bool,
}

impl Metadata {
    fn field(&mut self, reading: &mut Reading, key: &str, value: GoValue<'_>) {
        if is_field(key, "Name") {
            reading.text(value, "Name", &mut self.name);
        } else if is_field(key, "Endpoints") {
            reading.map(value, "Endpoints", &mut self.endpoints, Endpoint::read);
        }
    }
}

impl Endpoint {
    fn read(reading: &mut Reading, value: GoValue<'_>, at: &str, into: &mut Self) {
        // Endpoints of other kinds (such as Kubernetes) have other fields, which are not needed here.
        if at != "Endpoints.docker" {
            return;
        }
        reading.object(value, at, |reading, key, value| {
            if is_field(key, "Host") {
                reading.text(value, &format!("{at}.Host"), &mut into.host);
            } else if is_field(key, "SkipTLSVerify") {
                let at = format!("{at}.SkipTLSVerify");
                reading.boolean(value, &at, &mut into.skip_tls_verify);
            }
        });
    }
}

impl<'a> DockerContexts<'a> {
    /// The contexts of the configuration folder that `environment` names. Reads nothing yet.
    pub fn new(environment: &'a Environment) -> Self {
        Self { environment }
    }

    /// The name of the current context. Does not check that the context exists.
    pub fn current_name(&self) -> Result<String, DockerContextError> {
        // DOCKER_HOST takes precedence over every context, even if it is blank. An empty variable counts as unset
        // (docker/cli `resolveContextName`).
        let set = |name| self.environment.get(name).filter(|value| !value.is_empty());
        if set("DOCKER_HOST").is_some() {
            return Ok(DEFAULT_CONTEXT.to_owned());
        }
        if let Some(name) = set("DOCKER_CONTEXT") {
            return Ok(name.to_owned());
        }
        let Some(dir) = self.environment.docker_config_dir() else {
            return Ok(DEFAULT_CONTEXT.to_owned());
        };
        let name = current_context(&dir.join("config.json"));
        Ok(Some(name)
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| DEFAULT_CONTEXT.to_owned()))
    }

    /// The Engine of the current context. Warnings about its settings are in [`Self::warnings`].
    pub(crate) fn current(&self) -> Result<DockerContext, DockerContextError> {
        self.context(&self.current_name()?)
            .map_err(|error| match error {
                DockerContextError::Unknown { name, known, .. } => DockerContextError::Unknown {
                    name,
                    from: Some(self.current_from()),
                    known,
                },
                other => other,
            })
    }

    /// The setting that names the current context, for messages.
    fn current_from(&self) -> String {
        let set = |name| self.environment.get(name).is_some_and(|v| !v.is_empty());
        if set("DOCKER_CONTEXT") {
            return "`DOCKER_CONTEXT`".to_owned();
        }
        let dir = self.environment.docker_config_dir().unwrap_or_default();
        format!(
            "`currentContext` in `{}`",
            dir.join("config.json").display()
        )
    }

    /// The Engine of the context `name`, whether or not it is the current one.
    pub fn context(&self, name: &str) -> Result<DockerContext, DockerContextError> {
        if name == DEFAULT_CONTEXT {
            return self.default_context();
        }
        let dir = self
            .environment
            .docker_config_dir()
            .unwrap_or_default()
            .join("contexts");
        let id = Digest::sha256(name.as_bytes());
        let metadata = metadata(&dir.join("meta").join(id.hex()).join("meta.json"))?;
        let Some(metadata) = metadata else {
            return Err(DockerContextError::Unknown {
                name: name.to_owned(),
                from: None,
                known: self.names(),
            });
        };
        let endpoint = metadata
            .endpoints
            .get("docker")
            .filter(|endpoint| !endpoint.host.is_empty())
            .ok_or_else(|| DockerContextError::NoHost(name.to_owned()))?;
        if endpoint.skip_tls_verify && endpoint.host.starts_with("tcp://") {
            return Err(DockerContextError::Unchecked(name.to_owned()));
        }
        let from = format!("the Docker context `{name}`");
        let mut host = parse(&endpoint.host, &from)?;
        if let DockerHost::Tcp { tls, .. } = &mut host {
            *tls = context_tls(&dir.join("tls").join(id.hex()).join("docker"), &from)?;
        }
        Ok(DockerContext {
            name: name.to_owned(),
            host,
            from,
            named: true,
            settings: Settings::DockerContext(name.to_owned()),
        })
    }

    /// The Engine that a node in buildx's store names. `text` is a context, or an address if it contains `://`.
    /// Empty means the default context.
    pub(crate) fn context_or_host(&self, text: &str) -> Result<DockerContext, DockerContextError> {
        if text.is_empty() {
            return self.default_context();
        }
        if !text.contains("://") {
            return self.context(text);
        }
        // For the default context buildx stores its address. Its certificates come from the variables.
        let from = format!("the address `{}`", crate::types::secret::redact_url(text));
        let host = self.with_variables_tls(parse(text, &from)?)?;
        Ok(DockerContext {
            name: DEFAULT_CONTEXT.to_owned(),
            host,
            from,
            named: true,
            settings: Settings::DockerVariables,
        })
    }

    /// The key under which buildx's store keeps the current builder for the current Docker endpoint: the name of
    /// the context, or the address of the default context.
    pub(crate) fn store_key(&self) -> Result<String, DockerContextError> {
        let name = self.current_name()?;
        if name != DEFAULT_CONTEXT {
            return Ok(name);
        }
        // buildx uses the address as the `docker` command completes it, even one that rbake cannot use.
        let text = self.environment.get("DOCKER_HOST").unwrap_or_default();
        if !text.trim().is_empty() {
            return Ok(docker_address::complete(text.trim()));
        }
        Ok(match self.address_of_variables()? {
            Some((host, _)) => host.to_string(),
            None => format!("unix://{SYSTEM_SOCKET}"),
        })
    }

    /// The address of the current Engine as docker's client knows it, for example as a key in Docker's configuration. It is the
    /// default address if the settings do not lead to an Engine.
    pub(crate) fn daemon_host(&self) -> String {
        let by_variables = || self.address_of_variables().ok().flatten();
        let host = match self.current_name() {
            Ok(name) if name == DEFAULT_CONTEXT => by_variables().map(|(host, _)| host),
            Ok(name) => self.context(&name).ok().map(|context| context.host),
            Err(_) => None,
        };
        match host {
            // A placeholder, because the client does not know of ssh (docker/cli `cli/connhelper`).
            Some(DockerHost::Ssh(_)) => "http://docker.example.com".to_owned(),
            Some(host) => host.to_string(),
            None => format!("unix://{SYSTEM_SOCKET}"),
        }
    }

    /// The names of all contexts, sorted, including the default one. Contexts that cannot be read are left out.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = vec![DEFAULT_CONTEXT.to_owned()];
        if let Some(dir) = self.environment.docker_config_dir() {
            let folders = std::fs::read_dir(dir.join("contexts/meta"));
            for folder in folders.into_iter().flatten().flatten() {
                let metadata = metadata(&folder.path().join("meta.json"));
                if let Ok(Some(metadata)) = metadata {
                    names.push(metadata.name);
                }
            }
        }
        names.sort();
        names
    }

    fn default_context(&self) -> Result<DockerContext, DockerContextError> {
        if let Some((host, from)) = self.address_of_variables()? {
            let host = self.with_variables_tls(host)?;
            return Ok(DockerContext {
                name: DEFAULT_CONTEXT.to_owned(),
                host,
                from: from.to_owned(),
                named: true,
                settings: Settings::DockerVariables,
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
            settings: Settings::Default,
        })
    }

    /// The sockets at which an Engine listens by default: the system's, Docker Desktop's, and the rootless
    /// Engine's.
    pub(crate) fn default_sockets(&self) -> Vec<PathBuf> {
        let mut sockets = vec![PathBuf::from(SYSTEM_SOCKET)];
        if let Some(home) = self.environment.home() {
            sockets.push(home.join(".docker/run/docker.sock"));
        }
        if let Some(dir) = self.environment.non_empty("XDG_RUNTIME_DIR") {
            sockets.push(Path::new(dir).join("docker.sock"));
        }
        sockets
    }

    /// The address that the variables name, and the variable that names it; `None` if they name none.
    ///
    /// As in the `docker` command, a blank `DOCKER_HOST` means the default address, and a request for TLS without
    /// an address means the TLS port of this machine.
    fn address_of_variables(
        &self,
    ) -> Result<Option<(DockerHost, &'static str)>, DockerContextError> {
        const FROM: &str = "`DOCKER_HOST`";
        let text = self.environment.get("DOCKER_HOST").unwrap_or_default();
        if !text.trim().is_empty() {
            return Ok(Some((parse(text.trim(), FROM)?, FROM)));
        }
        let asks = |name| !self.environment.get(name).unwrap_or_default().is_empty();
        let from = match (asks("DOCKER_TLS_VERIFY"), asks("DOCKER_TLS")) {
            (true, _) => "`DOCKER_TLS_VERIFY`",
            (false, true) => "`DOCKER_TLS`",
            (false, false) if text.is_empty() => return Ok(None),
            (false, false) => return Ok(Some((DockerHost::default(), FROM))),
        };
        Ok(Some((docker_address::default_of_tls(), from)))
    }

    /// Adds the certificates of the variables to `host`. A socket needs no TLS. `DOCKER_TLS_VERIFY` counts if it is
    /// set to anything, even to `0` (docker/cli flags.go).
    fn with_variables_tls(&self, host: DockerHost) -> Result<DockerHost, DockerContextError> {
        let DockerHost::Tcp { address, .. } = host else {
            return Ok(host);
        };
        let set = |name| self.environment.get(name).is_some_and(|v| !v.is_empty());
        let tls = match (set("DOCKER_TLS_VERIFY"), set("DOCKER_TLS")) {
            (false, true) => return Err(DockerContextError::UncheckedVariable),
            (false, false) => None,
            (true, _) => {
                let (dir, from) = match self.environment.non_empty("DOCKER_CERT_PATH") {
                    Some(dir) => (
                        self.environment.current_dir().join(dir),
                        "`DOCKER_CERT_PATH`",
                    ),
                    None => (
                        self.environment.docker_config_dir().unwrap_or_default(),
                        "`DOCKER_TLS_VERIFY`",
                    ),
                };
                Some(tls::in_folder_with_ca(&dir, from)?)
            }
        };
        Ok(DockerHost::Tcp { address, tls })
    }

    /// Warnings about the settings that led to `context`: certificates are named, but the connection is not
    /// encrypted.
    pub(crate) fn warnings(&self, context: &DockerContext) -> Vec<Diagnostic> {
        let is_plain = matches!(context.host, DockerHost::Tcp { tls: None, .. });
        let by_variables = context.settings == Settings::DockerVariables;
        let has_certificates = self.environment.non_empty("DOCKER_CERT_PATH").is_some();
        if !is_plain || !by_variables || !has_certificates {
            return Vec::new();
        }
        let message = format!(
            "the connection to `{}` is not encrypted, although `DOCKER_CERT_PATH` is set",
            context.host
        );
        vec![
            Diagnostic::warning("builder::plain-text", message)
                .help("set `DOCKER_TLS_VERIFY=1` for TLS, or unset `DOCKER_CERT_PATH`"),
        ]
    }
}

/// The certificates of a context. `None` if the context has no folder for them: Docker stores a plain connection
/// that way.
fn context_tls(dir: &Path, from: &str) -> Result<Option<TlsMaterial>, TlsError> {
    if std::fs::symlink_metadata(dir).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    tls::whole(tls::in_folder(dir, from)?, dir, from).map(Some)
}

fn parse(text: &str, from: &str) -> Result<DockerHost, DockerContextError> {
    docker_address::complete(text)
        .parse()
        .map_err(|source| DockerContextError::Host {
            from: from.to_owned(),
            source,
        })
}

/// The current context in Docker's configuration file. As in docker/cli, a file that cannot be read has no current
/// context. The run warns about such a file when it looks for credentials in it.
fn current_context(path: &Path) -> String {
    let mut name = String::new();
    let bytes = files::read(path, LIMIT).ok().flatten().unwrap_or_default();
    if let Ok(Some(document)) = GoText::new(&bytes).value(Trailing::Ignored) {
        Reading::default().object(document, "", |reading, key, value| {
            if is_field(key, "currentContext") {
                reading.text(value, "currentContext", &mut name);
            }
        });
    }
    name
}

fn metadata(path: &Path) -> Result<Option<Metadata>, DockerContextError> {
    let bytes = files::read(path, LIMIT).map_err(|source| DockerContextError::Read {
        path: path.to_owned(),
        source,
    })?;
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    let form = |problem: String| DockerContextError::Form {
        path: path.to_owned(),
        problem,
    };
    let text = GoText::new(&bytes);
    let value = text
        .value(Trailing::Refused)
        .map_err(|error| form(error.to_string()))?;
    let (mut metadata, mut reading) = (Metadata::default(), Reading::default());
    if let Some(value) = value {
        reading.object(value, "", |reading, key, value| {
            metadata.field(reading, key, value);
        });
    }
    match reading.wrong.first() {
        Some(wrong) => Err(form(wrong.to_string())),
        None => Ok(Some(metadata)),
    }
}

#[cfg(test)]
mod tests;
