//! Which Docker Engine the user means: `DOCKER_HOST`, `DOCKER_CONTEXT`, the current context, the default sockets.
//!
//! Knows Docker's files of settings, not the Engine. The order is that of the `docker` command, which has no flags here.
//! Start at [`DockerContexts::current`].

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

/// The name of the context that stands for `DOCKER_HOST` or the default socket.
pub(crate) const DEFAULT_CONTEXT: &str = "default";

/// The user's settings do not lead to a Docker Engine.
#[derive(Debug, thiserror::Error)]
pub enum DockerContextError {
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
    #[error("`{}` is not a file of Docker's settings: {problem}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where it is wrong, without its content.
        problem: String,
    },
    /// No context has this name.
    #[error("there is no Docker context `{name}`{}", .from.as_ref().map(|from| format!(", which {from} names")).unwrap_or_default())]
    Unknown {
        /// The name.
        name: String,
        /// What names it, where it is not said by who asks.
        from: Option<String>,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The context says nothing about a Docker Engine.
    #[error("the Docker context `{0}` has no address of a Docker Engine")]
    NoHost(String),
    /// Certificates or keys that were named cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
    pub(crate) name: String,
    /// The Engine's address.
    pub host: DockerHost,
    /// What leads there, such as `` `DOCKER_HOST` `` or `the default socket`.
    pub(crate) from: String,
    /// Whether the user said so, by a variable or a context, so that it is an error if nothing answers.
    pub(crate) named: bool,
    /// Which settings say how it is reached.
    pub(crate) settings: Settings,
}

/// Docker's contexts, as the environment leads to them.
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
        // Other kinds of endpoints have other fields, which nobody needs here.
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
    /// The contexts that `environment` leads to.
    pub fn new(environment: &'a Environment) -> Self {
        Self { environment }
    }

    /// The name of the current context.
    pub fn current_name(&self) -> Result<String, DockerContextError> {
        // DOCKER_HOST wins over every context, blank or not; what is set to nothing is not set (docker/cli
        // `resolveContextName`).
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

    /// The Engine of the current context.
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

    // What names the current context.
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

    /// The Engine of the context `name`.
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

    /// What a node of buildx's store names: a context, or else an address.
    pub(crate) fn context_or_host(&self, text: &str) -> Result<DockerContext, DockerContextError> {
        if text.is_empty() {
            return self.default_context();
        }
        if !text.contains("://") {
            return self.context(text);
        }
        // The address of the default context is stored as such; the certificates are those of the variables.
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

    /// The key under which buildx's store keeps the choice for the current endpoint.
    pub(crate) fn store_key(&self) -> Result<String, DockerContextError> {
        let name = self.current_name()?;
        if name != DEFAULT_CONTEXT {
            return Ok(name);
        }
        // buildx takes the address as the `docker` command completes it, also one that rbake cannot use.
        let text = self.environment.get("DOCKER_HOST").unwrap_or_default();
        if !text.trim().is_empty() {
            return Ok(docker_address::complete(text.trim()));
        }
        Ok(match self.address_of_variables()? {
            Some((host, _)) => host.to_string(),
            None => format!("unix://{SYSTEM_SOCKET}"),
        })
    }

    /// The names of all contexts, sorted, with the default one. Unreadable ones are left out.
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

    /// The sockets where an Engine listens by default: the system's, Docker Desktop's, the rootless one's.
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

    // The address that the variables name, and which of them does. One that is blank stands for the default address, and
    // asking for TLS without an address for a port of this machine, as for the `docker` command.
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

    // A socket needs no TLS. DOCKER_TLS_VERIFY counts when it is set at all, whatever it says (docker/cli flags.go).
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

    /// What the user should know of the settings by which `context` was found.
    pub(crate) fn warnings(&self, context: &DockerContext) -> Vec<Diagnostic> {
        let is_plain = matches!(context.host, DockerHost::Tcp { tls: None, .. });
        let by_variables = context.settings == Settings::DockerVariables;
        let has_certificates = self.environment.non_empty("DOCKER_CERT_PATH").is_some();
        if !is_plain || !by_variables || !has_certificates {
            return Vec::new();
        }
        let message = format!(
            "the connection with `{}` is not encrypted, although `DOCKER_CERT_PATH` is set",
            context.host
        );
        vec![
            Diagnostic::warning("builder::plain-text", message)
                .help("set `DOCKER_TLS_VERIFY=1` for TLS, or unset `DOCKER_CERT_PATH`"),
        ]
    }
}

// The certificates of a context: none where it has no folder for them, which is how Docker stores a plain connection.
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

// Read as docker/cli reads it: a file that cannot be read has no current context. The run warns of it where it looks for
// credentials in the same file.
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
