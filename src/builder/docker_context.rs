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
use crate::types::go_json::{GoText, GoValue, Reading, Trailing, is_field};
use crate::types::{Digest, Environment};

/// The name of the context that stands for `DOCKER_HOST` or the default socket.
pub const DEFAULT_CONTEXT: &str = "default";

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
    pub name: String,
    /// The Engine's address.
    pub host: DockerHost,
    /// What leads there, such as `` `DOCKER_HOST` `` or `the default socket`.
    pub from: String,
    /// Whether the user said so, by a variable or a context, so that it is an error if nothing answers.
    pub named: bool,
    /// Which settings say how it is reached.
    pub settings: Settings,
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
    pub fn current_name(&self) -> Result<String, ContextError> {
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
    pub fn current(&self) -> Result<DockerContext, ContextError> {
        self.context(&self.current_name()?)
            .map_err(|error| match error {
                ContextError::Unknown { name, known, .. } => ContextError::Unknown {
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
        let metadata = metadata(&dir.join("meta").join(id.hex()).join("meta.json"))?;
        let Some(metadata) = metadata else {
            return Err(ContextError::Unknown {
                name: name.to_owned(),
                from: None,
                known: self.names(),
            });
        };
        let endpoint = metadata
            .endpoints
            .get("docker")
            .filter(|endpoint| !endpoint.host.is_empty())
            .ok_or_else(|| ContextError::NoHost(name.to_owned()))?;
        if endpoint.skip_tls_verify && endpoint.host.starts_with("tcp://") {
            return Err(ContextError::Unchecked(name.to_owned()));
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
    pub fn context_or_host(&self, text: &str) -> Result<DockerContext, ContextError> {
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
    pub fn store_key(&self) -> Result<String, ContextError> {
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
    pub fn names(&self) -> Vec<String> {
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

    fn default_context(&self) -> Result<DockerContext, ContextError> {
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

    // The address that the variables name, and which of them does. One that is blank stands for the default address, and
    // asking for TLS without an address for a port of this machine, as for the `docker` command.
    fn address_of_variables(&self) -> Result<Option<(DockerHost, &'static str)>, ContextError> {
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
    fn with_variables_tls(&self, host: DockerHost) -> Result<DockerHost, ContextError> {
        let DockerHost::Tcp { address, .. } = host else {
            return Ok(host);
        };
        let set = |name| self.environment.get(name).is_some_and(|v| !v.is_empty());
        let tls = match (set("DOCKER_TLS_VERIFY"), set("DOCKER_TLS")) {
            (false, true) => return Err(ContextError::UncheckedVariable),
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
    pub fn warnings(&self, context: &DockerContext) -> Vec<Diagnostic> {
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

fn parse(text: &str, from: &str) -> Result<DockerHost, ContextError> {
    docker_address::complete(text)
        .parse()
        .map_err(|source| ContextError::Host {
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

fn metadata(path: &Path) -> Result<Option<Metadata>, ContextError> {
    let bytes = files::read(path, LIMIT).map_err(|source| ContextError::Read {
        path: path.to_owned(),
        source,
    })?;
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    let form = |problem: String| ContextError::Form {
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
    fn settings_are_read_as_go_reads_them_and_never_quoted() {
        let dir = config_dir();
        let environment = environment(dir.path(), &[]);
        let contexts = DockerContexts::new(&environment);
        let config = dir.path().join("config.json");
        for (text, name) in [
            (r#"{"CURRENTCONTEXT":"far"} trailing"#, "far"),
            (
                r#"{"currentContext":"far","currentcontext":null,"auths":[]}"#,
                "far",
            ),
            ("", "default"),
            ("null", "default"),
            ("{", "default"),
            ("\u{feff}{\"currentContext\":\"far\"}", "default"),
        ] {
            std::fs::write(&config, text).unwrap();
            assert_eq!(contexts.current_name().unwrap(), name, "{text}");
        }
        let id = Digest::sha256(b"far");
        let meta = dir
            .path()
            .join("contexts/meta")
            .join(id.hex())
            .join("meta.json");
        let lower = r#"{"name":"far","endpoints":{"docker":{"host":"unix:///s","SKIPTLSVERIFY":null},"x":5}}"#;
        std::fs::write(&meta, lower).unwrap();
        assert_eq!(
            contexts.context("far").unwrap().host.to_string(),
            "unix:///s"
        );
        std::fs::write(&meta, r#"{"Endpoints":{"docker":{"Host":["hunter2"]}}}"#).unwrap();
        let error = contexts.context("far").unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("`Endpoints.docker.Host` is an array, not a string"),
            "{error}"
        );
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
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
        std::fs::write(dir.path().join("ca.pem"), "x").unwrap();
        let contexts = DockerContexts::new(&environment);
        let context = contexts.current().unwrap();
        assert_eq!(context.host.to_string(), "tcp://h.example:2375");
        assert!(matches!(context.host, DockerHost::Tcp { tls: Some(_), .. }));
        assert!(context.named);
        assert_eq!(contexts.store_key().unwrap(), "tcp://h.example:2375");
    }

    // What `docker version` of these variables says it cannot connect to.
    #[test_case("127.0.0.1", "", "tcp://127.0.0.1:2375"; "no scheme")]
    #[test_case("127.0.0.1:1", "", "tcp://127.0.0.1:1"; "no scheme but a port")]
    #[test_case("tcp://", "", "tcp://localhost:2375"; "a scheme alone")]
    #[test_case(":99", "", "tcp://localhost:99"; "a port alone")]
    #[test_case("unix://", "", "unix:///var/run/docker.sock"; "a socket without a path")]
    #[test_case(" ", "", "unix:///var/run/docker.sock"; "blank")]
    #[test_case("", "1", "tcp://localhost:2376"; "tls without an address")]
    #[test_case("tcp://h", "1", "tcp://h:2375"; "tls has no port of its own")]
    fn addresses_are_completed_as_docker_does(host: &str, verify: &str, expected: &str) {
        let dir = config_dir();
        std::fs::write(dir.path().join("ca.pem"), "x").unwrap();
        let variables = [
            ("DOCKER_HOST", host),
            ("DOCKER_TLS_VERIFY", verify),
            ("DOCKER_CONTEXT", "default"),
        ];
        let environment = environment(dir.path(), &variables);
        let contexts = DockerContexts::new(&environment);
        let context = contexts.current().unwrap();
        assert_eq!(context.host.to_string(), expected);
        assert!(context.named);
        assert_eq!(contexts.store_key().unwrap(), expected);
    }

    #[test]
    fn what_is_set_to_nothing_is_not_set() {
        let dir = config_dir();
        let environment = environment(dir.path(), &[("DOCKER_HOST", ""), ("DOCKER_CONTEXT", "")]);
        assert_eq!(
            DockerContexts::new(&environment).current().unwrap().name,
            "far"
        );
    }

    #[test]
    fn certificates_that_were_asked_for_and_are_not_there_are_an_error() {
        let dir = config_dir();
        for (more, expected) in [
            (&[][..], "`DOCKER_TLS_VERIFY` asks for TLS"),
            (
                &[("DOCKER_CERT_PATH", "/nonexistent")],
                "`DOCKER_CERT_PATH` names `/nonexistent`",
            ),
        ] {
            let variables = [("DOCKER_HOST", "tcp://h"), ("DOCKER_TLS_VERIFY", "0")];
            let all: Vec<_> = variables.iter().chain(more).copied().collect();
            let environment = environment(dir.path(), &all);
            let error = DockerContexts::new(&environment).current().unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_context_whose_certificates_are_gone_is_no_plain_connection() {
        let dir = config_dir();
        let id = Digest::sha256(b"far");
        let tls = dir
            .path()
            .join("contexts/tls")
            .join(id.hex())
            .join("docker");
        let environment = environment(dir.path(), &[]);
        let current = || DockerContexts::new(&environment).current();
        std::fs::remove_file(tls.join("ca.pem")).unwrap();
        assert!(matches!(
            current(),
            Err(ContextError::Tls(TlsError::Nothing { .. }))
        ));
        std::fs::create_dir(tls.join("ca.pem")).unwrap();
        assert!(matches!(
            current(),
            Err(ContextError::Tls(TlsError::File { .. }))
        ));
        std::fs::remove_dir_all(&tls).unwrap();
        assert!(matches!(
            current().unwrap().host,
            DockerHost::Tcp { tls: None, .. }
        ));
    }

    #[test]
    fn certificates_that_are_not_used_are_told() {
        let dir = config_dir();
        let certs = dir.path().to_str().unwrap();
        let variables = [("DOCKER_HOST", "tcp://h"), ("DOCKER_CERT_PATH", certs)];
        let environment = environment(dir.path(), &variables);
        let contexts = DockerContexts::new(&environment);
        let warnings = contexts.warnings(&contexts.current().unwrap());
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].help[0].contains("DOCKER_TLS_VERIFY=1"));
        // A context says itself whether it has certificates.
        assert!(
            contexts
                .warnings(&contexts.context("far").unwrap())
                .is_empty()
        );
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
        assert_eq!(parse(text, "x").unwrap().to_string(), shown);
    }

    #[test]
    fn an_engine_behind_ssh_is_named_with_where_it_stands() {
        let error = parse("ssh://me@h", "`DOCKER_HOST`").unwrap_err();
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
