//! buildx's store of builders, as `docker buildx create` and docker/setup-buildx-action write it.
//!
//! Knows the files and their fields. How each builder is reached is decided in [`super::named`]. The layout and the
//! rules for the current builder are buildx's (`store/store.go` at v0.36.1). Start at [`Store::of`].

mod encode;
mod instance;
mod locked;
mod names;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use instance::{Instance, Node};
pub(crate) use locked::LockedStore;

use super::files::{self, LIMIT};
use crate::diag::{Class, Diagnostic};
use crate::golang::json::{GoText, GoValue, Reading, Trailing, is_field};
use crate::golang::time::Timestamp;
use crate::types::{Digest, Environment};

/// The most builders that are listed.
const MOST: usize = 4096;

/// The store could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file of the store exists but cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The underlying error.
        #[source]
        source: io::Error,
    },
    /// A file of the store does not have the form that buildx writes.
    #[error("`{}` is not a valid file of buildx's store: {problem}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong and where, without quoting the content: it names the keys of certificates.
        problem: String,
    },
    /// A file or folder of the store cannot be written or removed.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The underlying error.
        #[source]
        source: io::Error,
    },
    /// Another process holds the lock of the store.
    #[error("`{}` is still locked by another process after {} s", path.display(), after.as_secs())]
    Locked {
        /// The lock.
        path: PathBuf,
        /// How long we waited.
        after: Duration,
    },
    /// buildx does not allow this name.
    #[error(
        "`{0}` is not a valid name of a builder (it must begin with a letter, and consist of letters, digits and `._-`)"
    )]
    Name(String),
}

impl StoreError {
    /// The error as it is reported to the user, with notes and help.
    pub(crate) fn diagnostic(&self) -> Diagnostic {
        let (class, code) = match self {
            Self::Read { .. } | Self::Form { .. } => (Class::Engine, "builder::unreadable-store"),
            Self::Write { .. } => (Class::Engine, "builder::unwritable-store"),
            Self::Locked { .. } => (Class::Engine, "builder::store-busy"),
            Self::Name(_) => (Class::Usage, "builder::invalid-name"),
        };
        let told = Diagnostic::error(class, code, self.to_string()).caused_by(self);
        match self {
            Self::Locked { .. } => told
                .help("buildx and rbake hold this lock while they change builders: wait until they have ended"),
            _ => told,
        }
    }
}

/// Which builder is the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Current {
    /// No builder was chosen, so the builder of the Docker context is used.
    None,
    /// This builder is current.
    Instance(Instance),
    /// This builder was chosen and has been removed since. buildx then uses the builder of the Docker context.
    Gone(String),
}

/// The folder of buildx's store.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

#[derive(Debug, Default)]
struct CurrentFile {
    key: String,
    name: String,
    global: bool,
}

impl CurrentFile {
    fn field(&mut self, reading: &mut Reading, key: &str, value: GoValue<'_>) {
        if is_field(key, "Key") {
            reading.text(value, "Key", &mut self.key);
        } else if is_field(key, "Name") {
            reading.text(value, "Name", &mut self.name);
        } else if is_field(key, "Global") {
            reading.boolean(value, "Global", &mut self.global);
        }
    }
}

impl Store {
    /// The store in the folder `dir`, which need not exist.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The store in the folder that the environment names. `None` if the environment names no folder.
    pub fn of(environment: &Environment) -> Option<Self> {
        environment.buildx_config_dir().map(Self::at)
    }

    /// The store's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads the builder `name`. `None` if it does not exist, or if buildx does not allow the name.
    pub fn instance(&self, name: &str) -> Result<Option<Instance>, StoreError> {
        let Some(file) = file_name(name) else {
            return Ok(None);
        };
        let path = self.dir.join("instances").join(file);
        let mut instance = Instance::default();
        if !read_json(&path, |reading, key, value| {
            instance.field(reading, key, value);
        })? {
            return Ok(None);
        }
        if instance.name.is_empty() {
            name.clone_into(&mut instance.name);
        }
        Ok(Some(instance))
    }

    /// The names of all builders, sorted. A folder that cannot be read counts as empty.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.dir.join("instances"))
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| file_name(name).is_some())
            .take(MOST)
            .collect();
        names.sort();
        names
    }

    /// When the builder `name` was last changed or used, as buildx notes it. `None` if that is not noted, or not as a
    /// time.
    pub(crate) fn last_activity(&self, name: &str) -> Option<Timestamp> {
        // Unlike the file of the builder, this one has the name as it was typed.
        file_name(name)?;
        let path = self.dir.join("activity").join(name);
        let text = read(&path).ok()??;
        Timestamp::parse(text.trim()).ok()
    }

    /// The current builder for the Docker endpoint `key`: the name of a context, or the address of the default
    /// context.
    pub(crate) fn current(&self, key: &str) -> Result<Current, StoreError> {
        let path = self.dir.join("current");
        let mut current = CurrentFile::default();
        let is_there = read_json(&path, |reading, key, value| {
            current.field(reading, key, value);
        })?;
        if is_there && !current.name.is_empty() && (current.global || current.key == key) {
            return match self.instance(&current.name)? {
                Some(instance) => Ok(Current::Instance(instance)),
                // If a global choice was removed, the default of this endpoint still counts.
                None if current.key != key => self.default_of(key),
                None => Ok(Current::Gone(current.name)),
            };
        }
        self.default_of(key)
    }

    fn default_of(&self, key: &str) -> Result<Current, StoreError> {
        let digest = Digest::sha256(key.as_bytes());
        let Some(name) = read(&self.dir.join("defaults").join(&digest.hex()[..20]))? else {
            return Ok(Current::None);
        };
        let name = name.trim();
        if name.is_empty() {
            return Ok(Current::None);
        }
        Ok(match self.instance(name)? {
            Some(instance) => Current::Instance(instance),
            None => Current::Gone(name.to_owned()),
        })
    }
}

/// `name` as buildx stores it, in lower case. `None` if buildx refuses it as the name of a builder or node.
pub(crate) fn valid_name(name: &str) -> Option<String> {
    file_name(name)
}

/// The file name of a builder: its name in lower case. `None` for names that buildx refuses; this keeps `../` out
/// of paths.
fn file_name(name: &str) -> Option<String> {
    let mut bytes = name.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_alphabetic());
    let goes_on = bytes.all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
    (starts && goes_on && name.len() <= 255).then(|| name.to_ascii_lowercase())
}

fn read(path: &Path) -> Result<Option<String>, StoreError> {
    files::read_text(path, LIMIT).map_err(|source| StoreError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Reads the JSON object in `path` field by field, with buildx's (Go's) rules. Returns whether the file exists.
fn read_json(
    path: &Path,
    field: impl FnMut(&mut Reading, &str, GoValue<'_>),
) -> Result<bool, StoreError> {
    let bytes = files::read(path, LIMIT).map_err(|source| StoreError::Read {
        path: path.to_owned(),
        source,
    })?;
    let Some(bytes) = bytes else {
        return Ok(false);
    };
    let form = |problem: String| StoreError::Form {
        path: path.to_owned(),
        problem,
    };
    let text = GoText::new(&bytes);
    let mut reading = Reading::default();
    let value = text
        .value(Trailing::Refused)
        .map_err(|error| form(error.to_string()))?;
    if let Some(value) = value {
        reading.object(value, "", field);
    }
    match reading.wrong.first() {
        Some(wrong) => Err(form(wrong.to_string())),
        None => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // As `docker buildx create --driver remote` at v0.36.1 writes it.
    const REMOTE: &str = r#"{"Name":"far","Driver":"remote","Nodes":[{"Name":"far0","Endpoint":"tcp://b.example:1234","Platforms":null,"DriverOpts":{"cacert":"/c/ca.pem","cert":"/c/cert.pem","key":"/c/key.pem","servername":"b"},"Flags":null,"Files":null}],"Dynamic":false}"#;
    const CONTAINER: &str = r#"{"Name":"ci","Driver":"docker-container","Nodes":[{"Name":"ci0","Endpoint":"unix:///var/run/docker.sock","Platforms":[{"architecture":"amd64","os":"linux"}],"DriverOpts":null,"Flags":["--allow-insecure-entitlement=network.host"],"Files":null}],"Dynamic":false}"#;

    fn store(files: &[(&str, &str)]) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let store = Store::at(dir.path());
        (dir, store)
    }

    #[test]
    fn instances_are_read_as_buildx_writes_them() {
        let (_dir, store) = store(&[("instances/far", REMOTE), ("instances/ci", CONTAINER)]);
        let far = store.instance("FAR").unwrap().unwrap();
        assert_eq!(far.driver, "remote");
        assert_eq!(far.nodes[0].endpoint, "tcp://b.example:1234");
        assert_eq!(far.nodes[0].option("servername"), Some("b"));
        let ci = store.instance("ci").unwrap().unwrap();
        assert_eq!(ci.nodes[0].name, "ci0");
        assert_eq!(ci.nodes[0].option("image"), None);
        assert_eq!(store.names(), ["ci", "far"]);
    }

    #[test]
    fn names_that_leave_the_folder_find_no_builder() {
        let (_dir, store) = store(&[("secret", "{}")]);
        for name in ["../secret", "", ".", "1st", "a/b"] {
            assert_eq!(store.instance(name).unwrap(), None, "{name}");
        }
    }

    #[test]
    fn the_current_builder_is_used_for_its_endpoint_only_unless_it_is_global() {
        let (dir, store) = store(&[
            ("instances/far", REMOTE),
            ("current", r#"{"Key":"prod","Name":"far","Global":false}"#),
        ]);
        assert!(matches!(store.current("prod").unwrap(), Current::Instance(i) if i.name == "far"));
        assert_eq!(
            store.current("unix:///var/run/docker.sock").unwrap(),
            Current::None
        );
        std::fs::write(
            dir.path().join("current"),
            r#"{"Key":"prod","Name":"far","Global":true}"#,
        )
        .unwrap();
        assert!(matches!(
            store.current("other").unwrap(),
            Current::Instance(_)
        ));
    }

    #[test]
    fn a_removed_builder_is_distinguished_from_none() {
        let (_dir, store) = store(&[("current", r#"{"Key":"k","Name":"gone","Global":false}"#)]);
        assert_eq!(
            store.current("k").unwrap(),
            Current::Gone("gone".to_owned())
        );
    }

    #[test]
    fn default_builders_are_found_by_the_hash_of_the_endpoint() {
        let key = "unix:///var/run/docker.sock";
        let hash = Digest::sha256(key.as_bytes()).hex()[..20].to_owned();
        let (_dir, store) = store(&[
            ("instances/ci", CONTAINER),
            (&format!("defaults/{hash}"), "ci"),
        ]);
        assert!(matches!(store.current(key).unwrap(), Current::Instance(i) if i.name == "ci"));
        assert_eq!(store.current("elsewhere").unwrap(), Current::None);
    }

    #[test]
    fn a_missing_store_is_empty_and_a_broken_file_is_an_error() {
        let store = Store::at("/nonexistent/rbake-test");
        assert_eq!(store.current("k").unwrap(), Current::None);
        let (_dir, store) = self::store(&[("current", "{")]);
        let error = store.current("k").unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("a valid file of buildx's store: it ends in the middle of a value"),
            "{error}"
        );
    }

    #[test]
    fn files_are_read_as_go_reads_them_and_never_quoted() {
        let (_dir, store) = store(&[
            (
                "instances/ci",
                r#"{"name":"ci","DRIVER":"remote","driver":null,"Nodes":[{"NAME":"ci0","endpoint":"e","driveropts":{"a":null}}],"nodes":[{"Endpoint":"f"}]}"#,
            ),
            (
                "instances/bad",
                r#"{"Name":"bad","Nodes":[{"DriverOpts":{"key":["hunter2"]}}]}"#,
            ),
            ("instances/worse", r#"{"Name":hunter2"#),
            ("instances/null", "null"),
        ]);
        let ci = store.instance("ci").unwrap().unwrap();
        assert_eq!((ci.name.as_str(), ci.driver.as_str()), ("ci", "remote"));
        let node = &ci.nodes[0];
        assert_eq!((node.name.as_str(), node.endpoint.as_str()), ("ci0", "f"));
        assert_eq!(store.instance("null").unwrap().unwrap().name, "null");
        for (name, expected) in [
            ("bad", "`Nodes[0].DriverOpts.key` is an array, not a string"),
            ("worse", "it is not valid JSON at line 1, column 9"),
        ] {
            let error = store.instance(name).unwrap_err();
            assert!(error.to_string().ends_with(expected), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
