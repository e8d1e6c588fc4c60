//! A snapshot of the process environment, taken once by `cli` and handed down.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Environment variables as they were when the program started, plus the facts derived from them.
///
/// Names and values that are not UTF-8 are left out: no variable that rbake reads can hold such a value.
#[derive(Clone, Default)]
pub struct Environment {
    variables: Arc<BTreeMap<String, String>>,
    current_dir: PathBuf,
}

impl Environment {
    /// The environment made of `variables`, in the directory `current_dir`.
    pub fn new(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        current_dir: PathBuf,
    ) -> Self {
        let variables = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            variables: Arc::new(variables),
            current_dir,
        }
    }

    /// An environment for tests: the given variables and directory, nothing else.
    pub fn of<const N: usize>(
        variables: [(&str, &str); N],
        current_dir: impl Into<PathBuf>,
    ) -> Self {
        let variables = variables
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        Self {
            variables: Arc::new(variables),
            current_dir: current_dir.into(),
        }
    }

    /// The same environment with `name` set to `value`, or not set.
    #[must_use]
    pub fn with(mut self, name: &str, value: Option<&str>) -> Self {
        let variables = Arc::make_mut(&mut self.variables);
        match value {
            Some(value) => drop(variables.insert(name.to_owned(), value.to_owned())),
            None => drop(variables.remove(name)),
        }
        self
    }

    /// The value of `name`; an empty value is a value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The value of `name` where it is set and not blank.
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.trim().is_empty())
    }

    /// All variables, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The directory the program was started in.
    pub fn current_dir(&self) -> &std::path::Path {
        &self.current_dir
    }

    /// The user's home directory.
    pub fn home(&self) -> Option<PathBuf> {
        self.non_empty("HOME")
            .or_else(|| self.non_empty("USERPROFILE"))
            .map(PathBuf::from)
    }

    /// Docker's configuration directory: `DOCKER_CONFIG`, else `~/.docker`.
    pub fn docker_config_dir(&self) -> Option<PathBuf> {
        match self.non_empty("DOCKER_CONFIG") {
            Some(dir) => Some(PathBuf::from(dir)),
            None => self.home().map(|home| home.join(".docker")),
        }
    }

    /// buildx's configuration directory: `BUILDX_CONFIG`, else `buildx` below Docker's.
    pub fn buildx_config_dir(&self) -> Option<PathBuf> {
        match self.non_empty("BUILDX_CONFIG") {
            Some(dir) => Some(PathBuf::from(dir)),
            None => self.docker_config_dir().map(|dir| dir.join("buildx")),
        }
    }

    /// Where rbake keeps data that must survive: `RBAKE_DATA_DIR`, else `$XDG_DATA_HOME/rbake`, else `~/.local/share/rbake`.
    pub fn data_dir(&self) -> Option<PathBuf> {
        self.own_dir("RBAKE_DATA_DIR", "XDG_DATA_HOME", ".local/share")
    }

    /// Where rbake keeps what it can make again: `RBAKE_CACHE_DIR`, else `$XDG_CACHE_HOME/rbake`, else `~/.cache/rbake`.
    pub fn cache_dir(&self) -> Option<PathBuf> {
        self.own_dir("RBAKE_CACHE_DIR", "XDG_CACHE_HOME", ".cache")
    }

    /// Where rbake looks for the user's settings: `RBAKE_CONFIG_DIR`, else `$XDG_CONFIG_HOME/rbake`, else `~/.config/rbake`.
    pub fn config_dir(&self) -> Option<PathBuf> {
        self.own_dir("RBAKE_CONFIG_DIR", "XDG_CONFIG_HOME", ".config")
    }

    fn own_dir(&self, own: &str, xdg: &str, below_home: &str) -> Option<PathBuf> {
        if let Some(dir) = self.non_empty(own) {
            return Some(PathBuf::from(dir));
        }
        match self.non_empty(xdg) {
            Some(dir) => Some(PathBuf::from(dir).join("rbake")),
            None => self.home().map(|home| home.join(below_home).join("rbake")),
        }
    }
}

impl fmt::Debug for Environment {
    // Values of variables are often credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("names", &self.variables.keys().collect::<Vec<_>>())
            .field("current_dir", &self.current_dir)
            .finish()
    }
}
