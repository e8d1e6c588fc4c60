//! A snapshot of the process's environment. `cli` takes it once and passes it on.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The environment variables at the start of the program, and values derived from them.
///
/// Variables with names that are not UTF-8 are left out, as nothing can ask for them. Variables with values that
/// are not UTF-8 are kept separately, because paths and secrets may contain any bytes. If such a variable is
/// requested as text, that is recorded, so that it becomes an error instead of being ignored silently.
#[derive(Clone, Default)]
pub struct Environment {
    variables: Arc<BTreeMap<String, String>>,
    not_text: Arc<BTreeMap<String, OsString>>,
    asked_for: Arc<Mutex<BTreeSet<String>>>,
    current_dir: PathBuf,
}

impl Environment {
    /// An environment with these `variables`, in the directory `current_dir`.
    pub fn new(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        current_dir: PathBuf,
    ) -> Self {
        let mut text = BTreeMap::new();
        let mut not_text = BTreeMap::new();
        for (name, value) in variables {
            let Ok(name) = name.into_string() else {
                continue;
            };
            match value.into_string() {
                Ok(value) => drop(text.insert(name, value)),
                Err(value) => drop(not_text.insert(name, value)),
            }
        }
        Self {
            variables: Arc::new(text),
            not_text: Arc::new(not_text),
            asked_for: Arc::default(),
            current_dir,
        }
    }

    /// An environment for tests: only the given variables and directory.
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
            ..Self::default()
        }
    }

    /// Returns the same environment, with `name` set to `value`. `None` removes the variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: Option<&str>) -> Self {
        let variables = Arc::make_mut(&mut self.variables);
        Arc::make_mut(&mut self.not_text).remove(name);
        match value {
            Some(value) => drop(variables.insert(name.to_owned(), value.to_owned())),
            None => drop(variables.remove(name)),
        }
        self
    }

    /// The value of `name`, which may be empty. `None` if it is not set or not UTF-8; in the second case, see
    /// [`Environment::unusable`].
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name);
        if value.is_none() && self.not_text.contains_key(name) {
            let mut asked_for = self
                .asked_for
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            asked_for.insert(name.to_owned());
        }
        value.map(String::as_str)
    }

    /// The value of `name`, which may contain any bytes.
    pub(crate) fn get_os(&self, name: &str) -> Option<&OsStr> {
        let text = self.variables.get(name).map(OsStr::new);
        text.or_else(|| self.not_text.get(name).map(OsString::as_os_str))
    }

    /// The variables that were requested as text so far, but are not UTF-8.
    pub(crate) fn unusable(&self) -> Vec<String> {
        let asked_for = self
            .asked_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        asked_for.iter().cloned().collect()
    }

    /// The names of all variables whose values are not UTF-8, sorted.
    pub(crate) fn not_text(&self) -> impl Iterator<Item = &str> {
        self.not_text.keys().map(String::as_str)
    }

    /// The value of `name` as a path. `None` if it is not set or blank.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.get_os(name)?;
        let blank = value.to_str().is_some_and(|text| text.trim().is_empty());
        (!blank).then(|| PathBuf::from(value))
    }

    /// The value of `name`. `None` if it is not set or blank.
    pub(crate) fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.trim().is_empty())
    }

    /// All variables with their values, sorted by name. Leaves out values that are not UTF-8.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The directory in which the program was started.
    pub fn current_dir(&self) -> &std::path::Path {
        &self.current_dir
    }

    /// The user's home directory: `HOME`, or else `USERPROFILE`.
    pub fn home(&self) -> Option<PathBuf> {
        self.path("HOME").or_else(|| self.path("USERPROFILE"))
    }

    /// Docker's configuration directory: `DOCKER_CONFIG`, or else `~/.docker`. `None` if there is no home directory
    /// either.
    pub(crate) fn docker_config_dir(&self) -> Option<PathBuf> {
        self.path("DOCKER_CONFIG")
            .or_else(|| Some(self.home()?.join(".docker")))
    }

    /// buildx's configuration directory: `BUILDX_CONFIG`, or else `buildx` in Docker's.
    pub(crate) fn buildx_config_dir(&self) -> Option<PathBuf> {
        self.path("BUILDX_CONFIG")
            .or_else(|| Some(self.docker_config_dir()?.join("buildx")))
    }

    /// The directory for data that must survive: `RBAKE_DATA_DIR`, or else `$XDG_DATA_HOME/rbake`, or else
    /// `~/.local/share/rbake`.
    pub(crate) fn data_dir(&self) -> Option<PathBuf> {
        self.own_dir("RBAKE_DATA_DIR", "XDG_DATA_HOME", ".local/share")
    }

    /// The directory for data that can be created again: `RBAKE_CACHE_DIR`, or else `$XDG_CACHE_HOME/rbake`, or
    /// else `~/.cache/rbake`.
    pub(crate) fn cache_dir(&self) -> Option<PathBuf> {
        self.own_dir("RBAKE_CACHE_DIR", "XDG_CACHE_HOME", ".cache")
    }

    /// The directory of the user's settings: `RBAKE_CONFIG_DIR`, or else `$XDG_CONFIG_HOME/rbake`, or else
    /// `~/.config/rbake`.
    pub(crate) fn config_dir(&self) -> Option<PathBuf> {
        self.own_dir("RBAKE_CONFIG_DIR", "XDG_CONFIG_HOME", ".config")
    }

    /// Where rbake writes what tells of past runs: `RBAKE_STATE_DIR`, else `$XDG_STATE_HOME/rbake`, else `~/.local/state/rbake`.
    pub(crate) fn state_dir(&self) -> Option<PathBuf> {
        self.own_dir("RBAKE_STATE_DIR", "XDG_STATE_HOME", ".local/state")
    }

    fn own_dir(&self, own: &str, xdg: &str, below_home: &str) -> Option<PathBuf> {
        if let Some(dir) = self.path(own) {
            return Some(dir);
        }
        match self.path(xdg) {
            Some(dir) => Some(dir.join("rbake")),
            None => self.home().map(|home| home.join(below_home).join("rbake")),
        }
    }
}

impl fmt::Debug for Environment {
    // Prints only names: values of variables are often credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("names", &self.variables.keys().collect::<Vec<_>>())
            .field("not_text", &self.not_text.keys().collect::<Vec<_>>())
            .field("asked_for", &self.asked_for)
            .field("current_dir", &self.current_dir)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn values_that_are_not_utf8_are_valid_paths_and_are_recorded_if_read_as_text() {
        let bad = OsStr::from_bytes(b"/home/\xff");
        let variables = ["HOME", "TOKEN", "OTHER"].map(|name| (name.into(), bad.to_owned()));
        let environment = Environment::new(variables, "/".into());
        let home = PathBuf::from(bad);
        assert_eq!(environment.home(), Some(home.clone()));
        assert_eq!(environment.docker_config_dir(), Some(home.join(".docker")));
        assert_eq!(environment.get_os("TOKEN"), Some(bad));
        assert!(environment.unusable().is_empty());
        assert_eq!(environment.clone().get("TOKEN"), None);
        assert_eq!(environment.get("UNSET"), None);
        assert_eq!(environment.unusable(), ["TOKEN"]);
    }
}
