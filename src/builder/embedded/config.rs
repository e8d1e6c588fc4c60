//! The configuration of the embedded buildkitd: the user's file, with rbake's own decisions written over it.
//!
//! rbake always decides where the daemon keeps its data, where it listens, and that it uses its own worker with the
//! runc that was found. If the user's file says nothing about them, rbake adds a limit on storage, and allows host
//! networking, as `docker buildx create` does. Everything else is the user's, above all mirrors, insecure
//! registries and certificates. The keys are those of `buildkitd.toml` (moby/buildkit docs/buildkitd.toml.md).
//! Start at [`merge`].

use std::io;
use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, TomlError, Value, value};

use super::super::files::{self, LIMIT};
use super::super::trust::{self, TrustError};
use super::named_files::{NamedFile, named_files};
use crate::types::{Digest, Environment};

/// The most storage that the builder uses, unless the user's file sets a limit.
pub(crate) const MAX_USED_SPACE: &str = "40GB";
/// The storage that is never reclaimed, unless the user's file sets a limit.
pub(super) const RESERVED_SPACE: &str = "10GB";
/// The free space that the builder leaves on the disk, unless the user's file sets a limit.
pub(super) const MIN_FREE_SPACE: &str = "10%";

/// The variable that names the user's configuration file.
pub(crate) const VARIABLE: &str = "RBAKE_BUILDKITD_CONFIG";

// Each of these keys limits the storage. If the user has set any of them, rbake adds no limit of its own.
const STORAGE_KEYS: [&str; 6] = [
    "gc",
    "gckeepstorage",
    "reservedSpace",
    "maxUsedSpace",
    "minFreeSpace",
    "gcpolicy",
];

/// The user's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The variable names a file that does not exist.
    #[error("`{VARIABLE}` names `{}`, which does not exist", .0.display())]
    Missing(PathBuf),
    /// Users other than root and this one can change the file, which says what programs buildkitd runs.
    #[error("the builder's configuration `{}` is not safe to use", path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// The underlying error.
        #[source]
        source: TrustError,
    },
    /// Users other than root and this one can change a file that the configuration names: a certificate, key or
    /// program.
    #[error("in the builder's configuration `{}`, `{key}` names a path that is not safe to use", path.display())]
    NamesUntrusted {
        /// The file.
        path: PathBuf,
        /// The key that names it, with its parents.
        key: String,
        /// The underlying error.
        #[source]
        source: TrustError,
    },
    /// The file cannot be read.
    #[error("cannot read the builder's configuration `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The underlying error.
        #[source]
        source: io::Error,
    },
    /// The file is not valid TOML.
    #[error("the builder's configuration `{}` is not valid TOML", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong, without the line that the parser's message quotes: addresses of mirrors and proxies may
        /// contain passwords.
        why: String,
    },
    /// The value of a key is not a table, but must be one.
    #[error("in the builder's configuration `{}`, `{key}` must be a table", path.display())]
    NotATable {
        /// The file.
        path: PathBuf,
        /// The key, with its parents.
        key: String,
    },
}

/// The user's configuration of BuildKit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UserConfig {
    /// Where it was found.
    pub(crate) path: PathBuf,
    /// Its text, not yet parsed.
    pub(crate) text: String,
}

impl UserConfig {
    /// Finds and reads the first of: the file that [`VARIABLE`] names, `buildkitd.toml` in rbake's settings folder,
    /// `buildkitd.default.toml` in buildx's. `None` if there is none.
    pub(super) fn find(environment: &Environment) -> Result<Option<Self>, ConfigError> {
        if let Some(named) = environment.non_empty(VARIABLE) {
            let path = environment.current_dir().join(named);
            return match Self::read(&path)? {
                Some(config) => Ok(Some(config)),
                None => Err(ConfigError::Missing(path)),
            };
        }
        let own = environment
            .config_dir()
            .map(|dir| dir.join("buildkitd.toml"));
        let buildx = environment
            .buildx_config_dir()
            .map(|dir| dir.join("buildkitd.default.toml"));
        for path in own.into_iter().chain(buildx) {
            let path = environment.current_dir().join(path);
            if let Some(config) = Self::read(&path)? {
                return Ok(Some(config));
            }
        }
        Ok(None)
    }

    fn read(path: &Path) -> Result<Option<Self>, ConfigError> {
        // If the file does not exist, it does not matter who could create one: this run does not use it.
        match std::fs::metadata(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
            Err(source) => {
                return Err(ConfigError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        }
        trust::check(path).map_err(|source| ConfigError::Untrusted {
            path: path.to_owned(),
            source,
        })?;
        let text = files::read_text(path, LIMIT).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(text.map(|text| Self {
            path: path.to_owned(),
            text,
        }))
    }
}

/// The values that rbake sets, whatever the user's file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decided {
    /// The folder of the daemon's data.
    pub(crate) root: PathBuf,
    /// The Unix socket on which it listens.
    pub(crate) socket: PathBuf,
    /// The Unix socket for its traces. The default is the system daemon's socket.
    pub(crate) trace_socket: PathBuf,
    /// The runc that runs its containers.
    pub(crate) runc: PathBuf,
    /// Whether it runs without root.
    pub(crate) rootless: bool,
}

/// Returns the text of the configuration with which the daemon is started.
pub(super) fn merge(user: Option<&UserConfig>, decided: &Decided) -> Result<String, ConfigError> {
    let path = user.map_or_else(PathBuf::new, |user| user.path.clone());
    let mut document: DocumentMut = match user {
        None => DocumentMut::new(),
        Some(user) => user.text.parse().map_err(|source| ConfigError::Form {
            path: path.clone(),
            why: told(&source, &user.text),
        })?,
    };
    if let Some(dir) = path.parent().filter(|_| user.is_some()) {
        make_paths_absolute(document.as_table_mut(), dir);
        for file in named_files(&document) {
            file.check().map_err(|source| ConfigError::NamesUntrusted {
                path: path.clone(),
                key: file.key.clone(),
                source,
            })?;
        }
    }
    let root = document.as_table_mut();
    root["root"] = path_value(&decided.root);
    if !root.contains_key("insecure-entitlements") {
        root["insecure-entitlements"] = value(Array::from_iter(["network.host"]));
    }

    let grpc = table(root, "grpc", &path, "grpc")?;
    // The address, owner and certificates in the user's file are for a daemon that other users connect to.
    grpc.clear();
    let address = format!("unix://{}", decided.socket.display());
    grpc["address"] = value(Array::from_iter([address]));

    table(root, "otel", &path, "otel")?["socketPath"] = path_value(&decided.trace_socket);

    let worker = table(root, "worker", &path, "worker")?;
    let containerd = table(worker, "containerd", &path, "worker.containerd")?;
    // Without this, buildkitd adds a containerd that happens to run on the machine as a second worker.
    if !containerd.contains_key("enabled") {
        containerd["enabled"] = value(false);
    }
    let oci = table(worker, "oci", &path, "worker.oci")?;
    if !oci.contains_key("enabled") {
        oci["enabled"] = value(true);
    }
    if !oci.contains_key("binary") {
        oci["binary"] = path_value(&decided.runc);
    }
    if decided.rootless {
        oci["rootless"] = value(true);
    }
    if !STORAGE_KEYS.iter().any(|key| oci.contains_key(key)) {
        oci["gc"] = value(true);
        oci["reservedSpace"] = value(RESERVED_SPACE);
        oci["maxUsedSpace"] = value(MAX_USED_SPACE);
        oci["minFreeSpace"] = value(MIN_FREE_SPACE);
    }
    Ok(document.to_string())
}

/// The program that runs containers, according to the configuration `text`, a result of [`merge`].
pub(super) fn oci_binary(text: &str) -> Option<String> {
    let document: DocumentMut = text.parse().ok()?;
    let oci = document.get("worker")?.get("oci")?;
    oci.get("binary")?.as_str().map(str::to_owned)
}

/// The files that the configuration `text` names, a result of [`merge`].
pub(super) fn named_by(text: &str) -> Vec<NamedFile> {
    let document = text.parse().ok();
    document.as_ref().map(named_files).unwrap_or_default()
}

/// Returns the line and what the parser expected there, without quoting the file.
fn told(error: &TomlError, text: &str) -> String {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
    let message = error.message().lines().next().unwrap_or_default();
    format!("line {line}: {message}")
}

/// Identifies a configuration: a hash that differs if any byte differs.
pub(super) fn fingerprint(text: &str) -> String {
    Digest::sha256(text.as_bytes()).hex()[..16].to_owned()
}

fn table<'a>(
    parent: &'a mut Table,
    name: &str,
    path: &Path,
    full: &str,
) -> Result<&'a mut Table, ConfigError> {
    let item = parent.entry(name).or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    // TOML also writes a table inline: `worker = { oci = { … } }`.
    if let Item::Value(Value::InlineTable(inline)) = item {
        *item = Item::Table(std::mem::take(inline).into_table());
    }
    item.as_table_mut().ok_or_else(|| ConfigError::NotATable {
        path: path.to_owned(),
        key: full.to_owned(),
    })
}

fn path_value(path: &Path) -> Item {
    value(path.to_string_lossy().into_owned())
}

/// Makes relative paths of certificates absolute, starting from the folder of the user's file: the daemon runs in
/// another directory.
fn make_paths_absolute(root: &mut Table, dir: &Path) {
    let Some(registries) = root.get_mut("registry").and_then(Item::as_table_like_mut) else {
        return;
    };
    for (_, registry) in registries.iter_mut() {
        let Some(registry) = registry.as_table_like_mut() else {
            continue;
        };
        for key in ["ca", "tlsconfigdir"] {
            let files = registry.get_mut(key).and_then(Item::as_array_mut);
            for file in files.into_iter().flat_map(Array::iter_mut) {
                absolute(file, dir);
            }
        }
        match registry.get_mut("keypair") {
            Some(Item::ArrayOfTables(pairs)) => {
                for pair in pairs.iter_mut() {
                    absolute_pair(pair, dir);
                }
            }
            Some(Item::Value(Value::Array(pairs))) => {
                for pair in pairs.iter_mut() {
                    if let Value::InlineTable(pair) = pair {
                        absolute_pair(pair, dir);
                    }
                }
            }
            _ => {}
        }
    }
}

fn absolute_pair(pair: &mut dyn TableLike, dir: &Path) {
    for name in ["key", "cert"] {
        if let Some(file) = pair.get_mut(name).and_then(Item::as_value_mut) {
            absolute(file, dir);
        }
    }
}

fn absolute(file: &mut Value, dir: &Path) {
    if let Some(name) = file.as_str() {
        *file = Value::from(dir.join(name).to_string_lossy().into_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided() -> Decided {
        Decided {
            root: "/d/root".into(),
            socket: "/d/run/buildkitd.sock".into(),
            trace_socket: "/d/run/otel.sock".into(),
            runc: "/bin/runc".into(),
            rootless: false,
        }
    }

    #[test]
    fn invalid_toml_is_reported_by_its_line_and_not_quoted() {
        for text in [
            "debug = true\n[registry.\"h\"]\nmirrors = [\"http://u:hunter2@m\"\n",
            "debug = true\n\nhunter2 hunter2\n",
            "debug = true\n\nx = hunter2\n",
            "debug = true\n\nx = \"\\q hunter2\"\n",
            "hunter2 = 1\n\nhunter2 = 2\n",
        ] {
            let user = UserConfig {
                path: "/x.toml".into(),
                text: text.to_owned(),
            };
            let Err(ConfigError::Form { why, .. }) = merge(Some(&user), &decided()) else {
                panic!("{text}");
            };
            assert!(why.starts_with("line "), "{why}");
            assert!(!why.contains("hunter2"), "{why}");
        }
    }

    fn merged(text: &str) -> DocumentMut {
        let user = UserConfig {
            path: "/etc/x/buildkitd.toml".into(),
            text: text.to_owned(),
        };
        merge(Some(&user), &decided()).unwrap().parse().unwrap()
    }

    #[test]
    fn without_a_file_storage_is_limited_and_paths_are_in_our_folder() {
        insta::assert_snapshot!(merge(None, &decided()).unwrap(), @r#"
        root = "/d/root"
        insecure-entitlements = ["network.host"]

        [grpc]
        address = ["unix:///d/run/buildkitd.sock"]

        [otel]
        socketPath = "/d/run/otel.sock"

        [worker.containerd]
        enabled = false

        [worker.oci]
        enabled = true
        binary = "/bin/runc"
        gc = true
        reservedSpace = "10GB"
        maxUsedSpace = "40GB"
        minFreeSpace = "10%"
        "#);
    }

    #[test]
    fn mirrors_certificates_and_comments_are_kept() {
        let text = r#"
# ours
debug = true
[registry."docker.io"]
  mirrors = ["localhost:5000"]
[registry."localhost:5000"]
  http = true
  insecure = true
[registry."r.example"]
  ca = ["certs/ca.pem", "/abs/ca.pem"]
  [[registry."r.example".keypair]]
    key = "k.pem"
    cert = "c.pem"
"#;
        let document = merged(text);
        assert!(document.to_string().contains("# ours"));
        let registry = &document["registry"];
        assert_eq!(
            registry["docker.io"]["mirrors"][0].as_str(),
            Some("localhost:5000")
        );
        assert_eq!(registry["localhost:5000"]["http"].as_bool(), Some(true));
        assert_eq!(
            registry["r.example"]["ca"][0].as_str(),
            Some("/etc/x/certs/ca.pem")
        );
        assert_eq!(registry["r.example"]["ca"][1].as_str(), Some("/abs/ca.pem"));
        let pair = &registry["r.example"]["keypair"][0];
        assert_eq!(pair["key"].as_str(), Some("/etc/x/k.pem"));
    }

    #[test]
    fn a_storage_limit_of_the_user_replaces_the_defaults() {
        let document = merged("[worker.oci]\nmaxUsedSpace = \"1GB\"\n");
        let oci = &document["worker"]["oci"];
        assert_eq!(oci["maxUsedSpace"].as_str(), Some("1GB"));
        assert!(oci.get("reservedSpace").is_none());
        let document = merged("[worker.oci]\ngc = false\n");
        assert!(document["worker"]["oci"].get("maxUsedSpace").is_none());
    }

    #[test]
    fn addresses_and_certificates_of_a_shared_daemon_are_dropped() {
        let document = merged(
            "root = \"/var/lib/buildkit\"\n[grpc]\naddress = [\"tcp://0.0.0.0:1234\"]\ndebugAddress = \"0.0.0.0:6060\"\n[grpc.tls]\ncert = \"/c\"\n",
        );
        assert_eq!(document["root"].as_str(), Some("/d/root"));
        assert!(document["grpc"].get("tls").is_none());
        assert!(document["grpc"].get("debugAddress").is_none());
        assert_eq!(document["grpc"]["address"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn inline_tables_are_merged_and_scalars_are_refused() {
        let document = merged("worker = { oci = { snapshotter = \"native\" } }\n");
        let oci = &document["worker"]["oci"];
        assert_eq!(oci["snapshotter"].as_str(), Some("native"));
        assert_eq!(oci["gc"].as_bool(), Some(true));
        let user = UserConfig {
            path: "/x.toml".into(),
            text: "worker = 1\n".into(),
        };
        let error = merge(Some(&user), &decided()).unwrap_err();
        assert!(matches!(error, ConfigError::NotATable { key, .. } if key == "worker"));
    }

    #[test]
    fn the_error_names_a_file_that_is_not_toml() {
        let user = UserConfig {
            path: "/x.toml".into(),
            text: "= 1".into(),
        };
        let error = merge(Some(&user), &decided()).unwrap_err().to_string();
        assert_eq!(
            error,
            "the builder's configuration `/x.toml` is not valid TOML"
        );
    }

    #[test]
    fn the_configuration_file_is_searched_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        let write = |name: &str| {
            let path = base.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "debug = true").unwrap();
            path
        };
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let config = text(&base.join("config"));
        let buildx = text(&base.join("buildx"));
        let environment = Environment::of(
            [("RBAKE_CONFIG_DIR", &config), ("BUILDX_CONFIG", &buildx)],
            base,
        );
        assert_eq!(UserConfig::find(&environment).unwrap(), None);
        let path = write("buildx/buildkitd.default.toml");
        assert_eq!(UserConfig::find(&environment).unwrap().unwrap().path, path);
        let path = write("config/buildkitd.toml");
        assert_eq!(UserConfig::find(&environment).unwrap().unwrap().path, path);
        let environment = Environment::of([(VARIABLE, "gone.toml")], base);
        let error = UserConfig::find(&environment).unwrap_err();
        assert!(matches!(error, ConfigError::Missing(_)));
    }

    #[test]
    fn a_file_that_others_can_change_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("buildkitd.toml");
        std::fs::write(&path, "debug = true").unwrap();
        let variables = [(VARIABLE, path.to_str().unwrap())];
        let environment = Environment::of(variables, dir.path());
        assert!(UserConfig::find(&environment).unwrap().is_some());
        for (open, mode) in [(&path, 0o646), (&dir.path().to_owned(), 0o777)] {
            let before = open.metadata().unwrap().permissions();
            std::fs::set_permissions(open, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = UserConfig::find(&environment).unwrap_err();
            assert!(matches!(error, ConfigError::Untrusted { .. }), "{error}");
            std::fs::set_permissions(open, before).unwrap();
        }
    }

    #[test]
    fn the_program_for_containers_is_found() {
        let text = merge(None, &decided()).unwrap();
        assert_eq!(oci_binary(&text).as_deref(), Some("/bin/runc"));
        let text = merged("worker.oci.binary = \"crun\"\n").to_string();
        assert_eq!(oci_binary(&text).as_deref(), Some("crun"));
    }

    #[test]
    fn different_texts_have_different_fingerprints() {
        assert_ne!(fingerprint("a"), fingerprint("b"));
    }
}
