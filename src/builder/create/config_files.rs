//! The files of buildkitd's configuration that a container gets: the configuration, and the certificates and keys that
//! it names for registries.
//!
//! As in buildx (`util/confutil/container.go`), these are copied to `certs/REGISTRY/` below the folder of the
//! configuration in the container, and the configuration names them there. Start at [`ConfigFiles::read`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use toml_edit::{Array, DocumentMut, Item, TableLike, value};

use crate::builder::files;
use crate::types::Secret;

/// The folder of the configuration in the container.
pub(crate) const FOLDER: &str = "/etc/buildkit";
/// The name of the configuration there.
pub(crate) const CONFIG: &str = "buildkitd.toml";
/// The largest file, in bytes.
const LIMIT: u64 = 1 << 20;
/// The most certificates and keys.
const MOST: usize = 256;

/// A configuration of buildkitd cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigFileError {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The underlying error.
        #[source]
        source: io::Error,
    },
    /// There is no such file.
    #[error("`{}` does not exist", .0.display())]
    Missing(PathBuf),
    /// The configuration is not TOML.
    #[error("`{}` is not valid TOML: {why}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where and why.
        why: String,
    },
    /// A value of the configuration has another type than buildkitd needs.
    #[error("`{key}` in `{}` is not {wanted}", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// Two files of one registry have the same name, and only one could be copied.
    #[error("`{}` and another file for `{registry}` have the same name", path.display())]
    SameName {
        /// The file.
        path: PathBuf,
        /// The registry.
        registry: String,
    },
    /// The configuration names too many files.
    #[error("`{}` names more than {MOST} certificates and keys", .0.display())]
    TooMany(PathBuf),
}

/// The configuration and the files that it names.
#[derive(Debug)]
pub(super) struct ConfigFiles {
    /// Their paths below [`FOLDER`], and their contents in base64.
    pub(super) files: BTreeMap<String, Secret<String>>,
    /// Whether the configuration allows steps the host's network.
    pub(super) allows_host_network: bool,
}

struct Copier<'a> {
    config: &'a Path,
    current_dir: &'a Path,
    files: BTreeMap<String, Secret<String>>,
}

impl ConfigFiles {
    /// Reads the configuration `path` and what it names. Relative paths start at `current_dir`, as in buildx. Blocking.
    pub(super) fn read(path: &Path, current_dir: &Path) -> Result<Self, ConfigFileError> {
        let bytes = content(path)?;
        let form = |why: String| ConfigFileError::Form {
            path: path.to_owned(),
            why,
        };
        let text = String::from_utf8(bytes).map_err(|error| form(error.to_string()))?;
        let mut document: DocumentMut = text
            .parse()
            .map_err(|error: toml_edit::TomlError| form(error.message().to_owned()))?;
        let allows_host_network = document
            .get("insecure-entitlements")
            .and_then(Item::as_array)
            .is_some_and(|names| {
                names
                    .iter()
                    .any(|name| name.as_str() == Some("network.host"))
            });
        let mut copier = Copier {
            config: path,
            current_dir,
            files: BTreeMap::new(),
        };
        if let Some(registries) = document.get_mut("registry") {
            let registries = registries
                .as_table_like_mut()
                .ok_or_else(|| copier.wrong("registry", "a table"))?;
            for (host, registry) in registries.iter_mut() {
                let key = format!("registry.{}", host.get());
                let table = registry
                    .as_table_like_mut()
                    .ok_or_else(|| copier.wrong(&key, "a table"))?;
                copier.registry(host.get(), &key, table)?;
            }
        }
        let mut files = copier.files;
        files.insert(CONFIG.to_owned(), encoded(document.to_string().as_bytes()));
        Ok(Self {
            files,
            allows_host_network,
        })
    }
}

impl Copier<'_> {
    fn wrong(&self, key: &str, wanted: &'static str) -> ConfigFileError {
        ConfigFileError::Type {
            path: self.config.to_owned(),
            key: key.to_owned(),
            wanted,
        }
    }

    fn registry(
        &mut self,
        host: &str,
        key: &str,
        table: &mut dyn TableLike,
    ) -> Result<(), ConfigFileError> {
        if let Some(item) = table.get_mut("ca") {
            let at = format!("{key}.ca");
            // buildkitd also accepts a single text.
            let paths: Vec<String> = match (item.as_str(), item.as_array()) {
                (Some(one), _) => vec![one.to_owned()],
                (None, Some(list)) => {
                    let paths = list.iter().map(|path| path.as_str().map(str::to_owned));
                    let paths: Option<Vec<_>> = paths.collect();
                    paths.ok_or_else(|| self.wrong(&at, "a list of paths"))?
                }
                (None, None) => return Err(self.wrong(&at, "a list of paths")),
            };
            let copied: Result<Array, _> = paths.iter().map(|path| self.copy(host, path)).collect();
            *item = value(copied?);
        }
        let at = format!("{key}.keypair");
        match table.get_mut("keypair") {
            None => {}
            Some(Item::ArrayOfTables(pairs)) => {
                for pair in pairs.iter_mut() {
                    self.pair(host, &at, pair)?;
                }
            }
            Some(item) => {
                let pairs = item
                    .as_array_mut()
                    .ok_or_else(|| self.wrong(&at, "a list"))?;
                for pair in pairs.iter_mut() {
                    let pair = pair
                        .as_inline_table_mut()
                        .ok_or_else(|| self.wrong(&at, "a list of tables"))?;
                    self.pair(host, &at, pair)?;
                }
            }
        }
        Ok(())
    }

    fn pair(
        &mut self,
        host: &str,
        at: &str,
        pair: &mut dyn TableLike,
    ) -> Result<(), ConfigFileError> {
        for name in ["key", "cert"] {
            if let Some(item) = pair.get_mut(name) {
                let path = item.as_str().map(str::to_owned);
                let path = path.ok_or_else(|| self.wrong(&format!("{at}.{name}"), "a path"))?;
                if !path.is_empty() {
                    *item = value(self.copy(host, &path)?);
                }
            }
        }
        Ok(())
    }

    /// Reads the file `path` of the registry `host`. Returns its path in the container.
    fn copy(&mut self, host: &str, path: &str) -> Result<String, ConfigFileError> {
        let path = self.current_dir.join(path);
        let content = encoded(&content(&path)?);
        let Some(base) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(ConfigFileError::Missing(path));
        };
        let name = format!("certs/{}/{base}", folder_name(host));
        if self.files.get(&name).is_some_and(|known| *known != content) {
            return Err(ConfigFileError::SameName {
                path,
                registry: host.to_owned(),
            });
        }
        if self.files.len() >= MOST {
            return Err(ConfigFileError::TooMany(self.config.to_owned()));
        }
        let inside = format!("{FOLDER}/{name}");
        self.files.insert(name, content);
        Ok(inside)
    }
}

fn content(path: &Path) -> Result<Vec<u8>, ConfigFileError> {
    let read = files::read(path, LIMIT).map_err(|source| ConfigFileError::Read {
        path: path.to_owned(),
        source,
    })?;
    read.ok_or_else(|| ConfigFileError::Missing(path.to_owned()))
}

fn encoded(content: &[u8]) -> Secret<String> {
    Secret::new(base64::prelude::BASE64_STANDARD.encode(content))
}

/// The name of a registry's folder: each run of other characters than letters, digits, `.` and `-` becomes one `_`.
fn folder_name(host: &str) -> String {
    let mut name = String::new();
    let mut in_run = false;
    for c in host.chars() {
        let is_plain = c.is_ascii_alphanumeric() || ".-".contains(c);
        if is_plain {
            name.push(c);
        } else if !in_run {
            name.push('_');
        }
        in_run = !is_plain;
    }
    // buildx would use the folder above here.
    if name.chars().all(|c| c == '.') {
        format!("_{name}")
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str, others: &[(&str, &str)]) -> Result<ConfigFiles, ConfigFileError> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in others {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let path = dir.path().join("my.toml");
        std::fs::write(&path, config).unwrap();
        ConfigFiles::read(&path, dir.path())
    }

    fn text(files: &ConfigFiles, name: &str) -> String {
        let bytes = base64::prelude::BASE64_STANDARD.decode(files.files[name].expose());
        String::from_utf8(bytes.unwrap()).unwrap()
    }

    #[test]
    fn certificates_and_keys_are_copied_and_named_at_their_place_in_the_container() {
        let config = "# mine\ndebug = true\ninsecure-entitlements = [\"network.host\"]\n[registry.\"h.example:5000\"]\n  http = false\n  ca = [\"a/ca.pem\"]\n  [[registry.\"h.example:5000\".keypair]]\n    key = \"key.pem\"\n    cert = \"cert.pem\"\n[registry.b]\n  keypair = [{ key = \"key.pem\", cert = \"cert.pem\" }]\n  mirrors = [\"m\"]\n";
        let files = read(
            config,
            &[("a/ca.pem", "ca"), ("key.pem", "key"), ("cert.pem", "cert")],
        )
        .unwrap();
        assert!(files.allows_host_network);
        let names: Vec<_> = files.files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "buildkitd.toml",
                "certs/b/cert.pem",
                "certs/b/key.pem",
                "certs/h.example_5000/ca.pem",
                "certs/h.example_5000/cert.pem",
                "certs/h.example_5000/key.pem"
            ]
        );
        assert_eq!(text(&files, "certs/b/key.pem"), "key");
        let config = text(&files, "buildkitd.toml");
        for expected in [
            "# mine\ndebug = true\n",
            "ca = [\"/etc/buildkit/certs/h.example_5000/ca.pem\"]",
            "key = \"/etc/buildkit/certs/h.example_5000/key.pem\"",
            "cert = \"/etc/buildkit/certs/b/cert.pem\"",
            "mirrors = [\"m\"]",
        ] {
            assert!(config.contains(expected), "{config}");
        }
        assert!(!format!("{files:?}").contains("a2V5"), "{files:?}");
    }

    #[test]
    fn wrong_configurations_are_refused() {
        let refusal =
            |config: &str, files: &[(&str, &str)]| read(config, files).unwrap_err().to_string();
        assert!(refusal("debug = ", &[]).contains("is not valid TOML"));
        assert!(refusal("registry = 1", &[]).contains("`registry` in"));
        assert!(refusal("[registry.h]\nca = 1", &[]).contains("is not a list of paths"));
        assert!(
            refusal("[registry.h]\nca = [\"none.pem\"]", &[]).contains("none.pem` does not exist")
        );
        let twice = "[registry.h]\nca = [\"a/ca.pem\", \"b/ca.pem\"]";
        let error = refusal(twice, &[("a/ca.pem", "1"), ("b/ca.pem", "2")]);
        assert!(error.contains("have the same name"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let error = ConfigFiles::read(&dir.path().join("none"), dir.path()).unwrap_err();
        assert!(matches!(error, ConfigFileError::Missing(_)));
    }

    #[test]
    fn names_of_registries_are_safe_names_of_folders() {
        assert_eq!(folder_name("h:5000/a//b"), "h_5000_a_b");
        assert_eq!(folder_name("[::1]:5000"), "_1_5000");
        assert_eq!(folder_name(".."), "_..");
        assert_eq!(folder_name("é"), "_");
    }
}
