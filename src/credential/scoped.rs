//! buildx's own configurations, each for one registry, repository or set of actions.
//!
//! They are in `<buildx>/config/<host>[/<repository>][@<actions>]/config.json`. All folders are listed and their
//! names compared with what the daemon asks for (buildx, `util/dockerutil/dockerconfig/configprovider.go`), so that
//! a text from the daemon never becomes a path.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::DockerConfig;
use super::host::RegistryHost;

/// The most folders that are listed, and the greatest depth.
const FOLDERS: usize = 10_000;
const DEPTH: usize = 32;

/// One of these configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scoped {
    host: String,
    repository: String,
    actions: BTreeSet<String>,
    file: PathBuf,
}

/// The scopes of a token: actions by resource, such as `repository:a/b`.
#[derive(Debug)]
pub(super) struct Scopes<'a>(BTreeMap<String, BTreeSet<&'a str>>);

impl<'a> Scopes<'a> {
    /// The names of the repositories in the scopes.
    pub(super) fn repositories(&self) -> Vec<String> {
        let names = self
            .0
            .keys()
            .filter_map(|name| name.strip_prefix("repository:"));
        names.map(str::to_owned).collect()
    }

    /// Parses scopes such as `repository:a/b:pull,push`. One text may contain several, separated by blanks.
    pub(super) fn parse(scopes: &'a [String]) -> Self {
        let mut by_resource: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        if scopes.iter().any(String::is_empty) {
            return Self(by_resource);
        }
        for scope in scopes.iter().flat_map(|text| text.split(' ')) {
            let mut parts = scope.splitn(3, ':');
            let kind = parts.next().unwrap_or_default();
            let resource = parts
                .next()
                .map_or_else(|| kind.to_owned(), |name| format!("{kind}:{name}"));
            let actions = parts.next().into_iter().flat_map(|text| text.split(','));
            by_resource.entry(resource).or_default().extend(actions);
        }
        Self(by_resource)
    }
}

/// Finds the configurations in `dir`, buildx's folder. Blocking.
pub(super) fn find(dir: &Path) -> Vec<Scoped> {
    let root = dir.join("config");
    let mut found = Vec::new();
    let mut folders = vec![(root.clone(), 0)];
    let mut looked_at = 0;
    while let Some((folder, depth)) = folders.pop() {
        looked_at += 1;
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        for entry in entries.take(FOLDERS) {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && depth < DEPTH && looked_at + folders.len() < FOLDERS {
                folders.push((entry.path(), depth + 1));
            } else if entry.file_name() == "config.json" {
                let name = folder.strip_prefix(&root).ok().and_then(Path::to_str);
                found.extend(name.and_then(|name| Scoped::named(name, entry.path())));
            }
        }
    }
    found.sort_by(|a, b| a.file.cmp(&b.file));
    found
}

/// Chooses the configuration for `host` and `scopes`. `None` if Docker's own configuration is to be used.
///
/// As in buildx, a configuration with a repository takes precedence over one without, and then one with more
/// actions. If several repositories are requested at once, none is used.
pub(super) fn choose<'a>(
    all: &'a [Scoped],
    host: &RegistryHost,
    scopes: &Scopes<'_>,
) -> Option<&'a Scoped> {
    if scopes.0.len() != 1 {
        return None;
    }
    all.iter()
        .filter(|scoped| scoped.host == host.as_str() && scoped.covers(scopes))
        .min_by(|a, b| {
            let repositories = b.repository.cmp(&a.repository);
            repositories.then(b.actions.len().cmp(&a.actions.len()))
        })
}

impl Scoped {
    /// Parses the name of a folder, `<host>[/<repository>][@<actions>]`. `None` if it has no host.
    fn named(name: &str, file: PathBuf) -> Option<Self> {
        let (main, actions) = name.split_once('@').unwrap_or((name, ""));
        let (host, repository) = main.split_once('/').unwrap_or((main, ""));
        let actions = actions.split(',').map(str::trim);
        (!host.is_empty()).then(|| Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            actions: actions
                .filter(|action| !action.is_empty())
                .map(str::to_owned)
                .collect(),
            file,
        })
    }

    /// Whether this configuration applies to `scopes`: they must include its repository, with all of its actions.
    fn covers(&self, scopes: &Scopes<'_>) -> bool {
        let has_all = |offered: &BTreeSet<&str>| {
            let mut wanted = self.actions.iter();
            wanted.all(|action| offered.contains(action.as_str()))
        };
        if self.repository.is_empty() {
            return self.actions.is_empty() || scopes.0.values().any(has_all);
        }
        let resource = format!("repository:{}", self.repository);
        scopes.0.get(&resource).is_some_and(has_all)
    }

    /// Reads the file. Blocking.
    pub(super) fn read(&self) -> DockerConfig {
        DockerConfig::read(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn host(text: &str) -> RegistryHost {
        RegistryHost::parse(text).unwrap()
    }

    // The folder name of the chosen configuration.
    fn chosen(folders: &[&str], scopes: &[&str]) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        for folder in folders {
            let folder = dir.path().join("config").join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("config.json"), "{}").unwrap();
        }
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let all = find(dir.path());
        assert_eq!(all.len(), folders.len());
        let scoped = choose(&all, &host("r.example"), &Scopes::parse(&scopes))?;
        let folder = scoped
            .file
            .parent()?
            .strip_prefix(dir.path().join("config"));
        folder.ok()?.to_str().map(str::to_owned)
    }

    // These include buildx's own cases (configprovider_test.go).
    #[test_case("r.example/foo/bar@a,b", &["repository:foo/bar:pull"] => false; "other actions")]
    #[test_case("r.example/foo/bar@push", &["repository:foo/bar:pull,push"] => true; "one of the actions")]
    #[test_case("r.example/foo/bar@push", &["repository:foo/bar:pull"] => false; "pull is not push")]
    #[test_case("r.example/foo/bar@push", &["repository:foo/bar2:pull,push"] => false; "another repository")]
    #[test_case("r.example/foo/bar@push,pull", &["repository:foo/bar:pull,push"] => true; "both actions")]
    #[test_case("r.example/foo/bar@pull", &["repository:foo/bar:"] => false; "no actions asked for")]
    #[test_case("r.example/foo/bar", &["repository:foo/bar:pull"] => true; "any action")]
    #[test_case("r.example/foo/bar@", &["repository:foo/bar:pull"] => true; "an empty list of actions")]
    #[test_case("r.example@push", &["repository:a:pull"] => false; "an action of the host")]
    #[test_case("r.example@push", &["repository:a:push"] => true; "the action of the host")]
    #[test_case("r.example", &["repository:a:pull"] => true; "the host")]
    #[test_case("r.example", &["repository:a:pull repository:b:pull"] => false; "several repositories in one text")]
    #[test_case("r.example", &["repository:a:pull", "repository:b:pull"] => false; "several repositories")]
    #[test_case("r.example", &[] => false; "no scope")]
    #[test_case("r.example:5000", &["repository:a:pull"] => false; "another port")]
    fn a_folder_applies_to(folder: &str, scopes: &[&str]) -> bool {
        chosen(&[folder], scopes).is_some()
    }

    #[test]
    fn the_most_specific_folder_is_used() {
        let folders = [
            "r.example",
            "r.example@push",
            "r.example/a/b",
            "r.example/a/b@push",
        ];
        let of = |scope| chosen(&folders, &[scope]).unwrap();
        assert_eq!(of("repository:a/b:pull,push"), "r.example/a/b@push");
        assert_eq!(of("repository:a/b:pull"), "r.example/a/b");
        assert_eq!(of("repository:c:push"), "r.example@push");
        assert_eq!(of("repository:c:pull"), "r.example");
    }

    #[test]
    fn scopes_from_the_daemon_cannot_open_other_files() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("config/r.example");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.json"), "{}").unwrap();
        std::fs::write(dir.path().join("config.json"), "{}").unwrap();
        let all = find(dir.path());
        for scope in [
            "repository:../..:pull",
            "repository:../../r.example:pull",
            "../..",
            "",
        ] {
            let scopes = [scope.to_owned()];
            let chosen = choose(&all, &host("r.example"), &Scopes::parse(&scopes));
            assert!(chosen.is_none_or(|scoped| scoped.file == folder.join("config.json")));
        }
    }

    #[test]
    fn a_pipe_is_not_read_as_a_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("config/r.example");
        std::fs::create_dir_all(&folder).unwrap();
        let fifo = folder.join("config.json");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        let found = find(dir.path());
        assert!(found[0].read().is_unread());
    }
}
